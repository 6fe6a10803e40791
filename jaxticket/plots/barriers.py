"""Barriers as figures: along the way, against the step k, between all, against lost accuracy."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from jaxticket.errors import TicketError
from jaxticket.plots import networks, style

if TYPE_CHECKING:
    import xarray

_STABLE = 2.0
_DASHED = (0, (4, 3))
_MARKERS = "os^vDPX*"


def barrier_curves(results: "xarray.Dataset") -> Figure:
    """Draws the test error on the way between two networks, a panel a choice of statistics.

    A line is the mean over replicates of one kind of pair, its band reaches from the least to the
    greatest of them. Where the error of some replicate is not finite there is a cross on the mean
    of the others; where that of none is, the line has a gap.

    Args:
      results: with `dense_curve` (kind, statistics, replicate, point) and `alpha` (point).

    Returns:
      The figure.

    Raises:
      TicketError: for results without these.

    Source: 1912.05671, figure 2.
    """
    curves = 100 * _needed(results, "dense_curve")
    names = [str(name) for name in curves["statistics"].values]
    kinds = [str(kind) for kind in curves["kind"].values]
    figure, panels = style.panels(len(names), 3.4 * len(names), 3.0)
    entries: dict[str, Any] = {}
    alpha = results["alpha"].values
    colours = style.depth_colours(len(kinds))
    for axes, name in zip(panels, names, strict=True):
        for kind, colour in zip(kinds, colours, strict=True):
            here = networks.over_replicates(curves.sel(statistics=name, kind=kind))
            axes.fill_between(alpha, here.low, here.high, color=colour, alpha=0.15, linewidth=0)
            (line,) = axes.plot(alpha, here.mean, color=colour, linewidth=1.4, label=kind)
            if np.isfinite(here.mean).any():
                entries[kind] = line
            entries |= style.mark_lost(axes, alpha, here)
        if not np.isfinite(curves.sel(statistics=name)).any():
            style.say_empty(axes)
        axes.set_title(f"batch statistics {name}", fontsize=style.TEXT)
        axes.set_xlabel("α, from the second network to the first")
        axes.set_ylim(0, 100)
    panels[0].set_ylabel("test error (%)")
    title = "mean, band from least to greatest"
    style.legend(figure, entries, max(1, len(entries)), "lower center", title)
    return figure


def barrier_against_step(results: "xarray.Dataset") -> Figure:
    """Draws the barrier between two data orders against the step k, a panel a level.

    Args:
      results: with `barrier` (search, relation, control, level, replicate), `begin` (search) and
        `search_density` (search, level); level 0 is the dense network's.

    Returns:
      The figure; the dashed line is at 2 %, below which training counts as stable.

    Raises:
      TicketError: for results without these.

    Source: 1912.05671, figures 3 and 5.
    """
    barrier = 100 * _needed(results, "barrier").sel(relation="copies")
    order = np.argsort(results["begin"].values, kind="stable")
    steps = results["begin"].values[order]
    density = results["search_density"].values[0]
    figure, panels = style.panels(len(density), max(5.4, 2.5 * len(density)), 3.0)
    entries: dict[str, Any] = {}
    for level, axes in enumerate(panels):
        controls = ["dense"] if level == 0 else [str(name) for name in barrier["control"].values]
        for control in controls:
            here = barrier.sel(control="ticket" if level == 0 else control).isel(level=level)
            looks = style.appearance(control)._asdict()
            entries |= style.line_over_replicates(
                axes, steps, here.isel(search=order), control, **looks
            )
        axes.axhline(_STABLE, color=style.GREY, linewidth=0.8, linestyle=_DASHED, zorder=1)
        title = "dense" if level == 0 else f"{density[level]:.1%} of weights"
        axes.set_title(title, fontsize=style.TEXT)
        axes.set_xlabel("step k")
        axes.set_xticks(np.unique(steps))
    top = max(axes.get_ylim()[1] for axes in panels)
    for axes in panels:
        axes.set_ylim(-0.02 * top, top)
    panels[0].set_ylabel("error barrier between\ntwo data orders (%)")
    if not entries:
        style.say_empty(panels[0])
    title = "mean, bars from least to greatest"
    style.legend(figure, entries, max(1, len(entries)), "lower center", title)
    return figure


def barrier_heat_map(results: "xarray.Dataset") -> Figure:
    """Draws the barriers between any two networks.

    Args:
      results: with `matrix` (network, other), fractions; what is not finite is left white.

    Returns:
      The figure.

    Raises:
      TicketError: for results without it.

    Source: this project's own.
    """
    matrix = _needed(results, "matrix")
    names = [str(name) for name in matrix["network"].values]
    size = 1.9 + 0.19 * len(names)
    figure, (axes,) = style.panels(1, size + 1.0, size)
    values = np.ma.masked_invalid(100 * matrix.values)
    image = axes.imshow(values, cmap="viridis", vmin=0, interpolation="nearest")
    axes.grid(False)
    if not np.isfinite(matrix).any():
        style.say_empty(axes)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(labelsize=style.TEXT - 2)
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03)
    bar.set_label("error barrier (%)", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.TEXT - 1, labelcolor=style.INK, width=0.6, length=3)
    return figure


def barrier_against_gap(results: "xarray.Dataset") -> Figure:
    """Draws what accuracy networks lose against dense over their barrier, a dot a network.

    Args:
      results: with `barrier` (search, relation, control, level, replicate) and `gap` (search,
        control, level, replicate), fractions.

    Returns:
      The figure; colours are controls, markers levels.

    Raises:
      TicketError: for results without these.

    Source: after 1912.05671, section 4, whose finding it shows.
    """
    barrier = 100 * _needed(results, "barrier").sel(relation="copies")
    gap = 100 * _needed(results, "gap").transpose(*barrier.dims)
    figure, (axes,) = style.panels(1, 5.8, 3.4)
    entries: dict[str, Any] = {}
    for control in [str(name) for name in barrier["control"].values]:
        for level in range(1, barrier.sizes["level"]):
            x, y = (
                one.sel(control=control).isel(level=level).values.ravel() for one in (barrier, gap)
            )
            density = results["search_density"].values[0, level]
            looks: dict[str, Any] = {"marker": _MARKERS[(level - 1) % len(_MARKERS)], "s": 20}
            dots = axes.scatter(
                x, y, color=style.appearance(control).colour, alpha=0.75, linewidths=0, **looks
            )
            if (np.isfinite(x) & np.isfinite(y)).any():
                entries[f"{control}, {density:.1%}"] = dots
    axes.axvline(_STABLE, color=style.GREY, linewidth=0.8, linestyle=_DASHED, zorder=1)
    axes.set_xlabel("error barrier between two data orders (%)")
    axes.set_ylabel("accuracy lost against\ndense (points)")
    if not entries:
        style.say_empty(axes)
    style.legend(figure, entries, 1)
    return figure


def _needed(results: "xarray.Dataset", name: str) -> "xarray.DataArray":
    if name not in results:
        raise TicketError(
            f"results: got no {name}, expected a run that measures connectivity, such as one of "
            "python -m experiments.connectivity"
        )
    return results[name]
