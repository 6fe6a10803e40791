"""Geometry as figures: jumps and barriers, stages, spectra of the Hessian, radii, planes."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from jaxticket.errors import TicketError
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

_LOOKS = {
    "init": style.Appearance(style.GREY, "x"),
    "pruned": style.Appearance("#882255", "d"),
    "smallest": style.Appearance("#0072b2", "o"),
    "random": style.Appearance("#009e73", "^"),
    "largest": style.Appearance("#d55e00", "s"),
    "reinit and ticket": style.Appearance("#882255", "d"),
}
"""What no arm has a look for."""

_NAMES = {"ticket": "trained (ticket)", "init": "initial weights", "pruned": "just pruned"}


def jumps_and_barriers(results: "xarray.Dataset") -> Figure:
    """Draws what pruning does to the loss, and the barriers to the network that was pruned.

    Left, the rise of the training loss before anything is retrained, by which weights go, dotted
    its prediction to second order; right, the barriers between trained networks and the one that
    they were pruned from.

    Args:
      results: with `jump_jump` and its terms (removal, level, replicate), `barrier` (pair, level,
        replicate) and `density` (level).

    Returns:
      The figure.

    Raises:
      TicketError: for results without jumps.
    """
    _needs(results, "jump_jump")
    figure, (left, right) = style.panels(2, 9.0, 4.1)
    percent = 100 * np.atleast_2d(results["density"].values)[0][1:]
    later = results.isel(level=slice(1, None))
    predicted = later["jump_linear"] + later["jump_quadratic"]
    entries: dict[str, Any] = {}
    for name in _present(later["jump_jump"], "removal"):
        line = _line(left, percent, later["jump_jump"].sel(removal=name), name)
        entries[f"removed: {name}"] = line
        mean = networks.over_replicates(predicted.sel(removal=name)).mean
        looks = {"color": _look(name).colour, "linestyle": ":", "linewidth": 1.2}
        (entries["second-order prediction"],) = left.plot(percent, mean, **looks)
    for name in ("ticket", "reinit", "shuffle", "oneshot"):
        if name in _present(later["barrier"], "pair"):
            line = _line(right, percent, later["barrier"].sel(pair=name), name)
            entries[f"barrier: {name}"] = line
    left.set_yscale("symlog", linthresh=0.01)
    left.set_ylabel("rise of the training loss by pruning")
    right.set_yscale("symlog", linthresh=0.01)
    right.set_ylabel("barrier of the training loss to the\nnetwork before (oneshot: the dense one)")
    for axes in (left, right):
        scales.density_axis(axes, percent / 100)
    style.legend(figure, entries, 4, "lower center", _title(results))
    return figure


def stages_against_density(results: "xarray.Dataset") -> Figure:
    """Draws loss, largest eigenvalue, trace and median radius of all stages against density.

    Args:
      results: with `train_subset_loss`, `trace`, `median_log_radius` (stage, examined, replicate)
        and `eigenvalue` (stage, examined, replicate, place).

    Returns:
      The figure, four panels.

    Raises:
      TicketError: for results without stages.
    """
    _needs(results, "train_subset_loss")
    measures = {
        "training loss": results["train_subset_loss"],
        "largest eigenvalue": results["eigenvalue"].isel(place=0),
        "trace of the Hessian": results["trace"],
        "median radius of the basin": np.exp(results["median_log_radius"]),
    }
    figure, panels = style.panels(2, 8.4, 6.2, 2)
    percent, entries = 100 * results["examined_density"].values, {}
    for axes, (name, values) in zip(panels, measures.items(), strict=True):
        for stage in _present(values, "stage"):
            entries[_NAMES.get(stage, stage)] = _line(axes, percent, values.sel(stage=stage), stage)
        scales.density_axis(axes, percent / 100)
        signed = float(values.min()) <= 0
        axes.set_yscale("symlog" if signed else "log", **({"linthresh": 1.0} if signed else {}))
        axes.set_ylabel(name)
    style.legend(figure, entries, 3, "lower center", _title(results))
    return figure


def hessian_spectra(results: "xarray.Dataset") -> Figure:
    """Draws the largest eigenvalues of trained tickets as stems, and their spectral densities.

    Args:
      results: with `eigenvalue` (stage, examined, replicate, place) and
        `density_of_eigenvalues` (stage, examined, replicate, at).

    Returns:
      The figure: stems at the left, densities at the right, a colour a level.

    Raises:
      TicketError: for results without eigenvalues.
    """
    _needs(results, "eigenvalue")
    ticket = results.sel(stage="ticket")
    levels, entries = ticket["examined"].values, {}
    figure, (left, right) = style.panels(2, 9.0, 3.9)
    places = np.arange(1, ticket.sizes["place"] + 1)
    colours = style.depth_colours(len(levels))
    for n, (level, colour) in enumerate(zip(levels, colours, strict=True)):
        here = ticket.sel(examined=level)
        at = places + 0.6 * ((n + 0.5) / len(levels) - 0.5)
        summary = networks.over_replicates(here["eigenvalue"])
        left.vlines(at, 0, summary.mean, color=colour, linewidth=1.0)
        looks = {"colour": colour, "marker": "o", "linestyle": "none"}
        name = f"{scales.percent(float(here['examined_density']))} %"
        entries[name] = style.line_with_bars(left, at, summary, **looks)
        mean = here["density_of_eigenvalues"].mean("replicate").values
        right.plot(results["at"].values, np.where(mean > 0, mean, np.nan), color=colour)
    left.set_xticks(places)
    left.set_ylim(bottom=0)
    left.set_xlabel("place in the order")
    left.set_ylabel("eigenvalue of the Hessian")
    right.set_yscale("log")
    top = np.nanmax(ticket["density_of_eigenvalues"].values)
    right.set_ylim(top * 1e-7, top * 3)
    right.set_xlabel("eigenvalue")
    right.set_ylabel("density")
    style.legend(figure, entries, len(entries), "lower center", f"weights; {_title(results)}")
    return figure


def radius_histogram(results: "xarray.Dataset") -> Figure:
    """Draws how far the basin of each stage reaches in random directions, at the last level.

    Args:
      results: with `radius` (stage, examined, replicate, direction).

    Returns:
      The figure: a histogram of all replicates' radii a stage, in one panel each.

    Raises:
      TicketError: for results without radii.
    """
    _needs(results, "radius")
    last = results["radius"].isel(examined=-1).where(results["radius"].isel(examined=-1) > 0)
    stages = _present(last, "stage")
    figure, panels = style.panels(1, 6.2, 0.8 + 0.75 * len(stages), len(stages))
    known = last.values[np.isfinite(last.values)]
    low, high = np.log10([known.min() / 1.1, known.max() * 1.1])
    bins = np.logspace(low, high, 41)
    for axes, stage in zip(panels, stages, strict=True):
        here = last.sel(stage=stage).values.ravel()
        axes.hist(here[np.isfinite(here)], bins=bins, color=_look(stage).colour, alpha=0.85)
        axes.axvline(np.nanmedian(here), color=style.INK, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_xscale("log")
        axes.set_xlim(bins[0], bins[-1])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylabel(_NAMES.get(stage, stage).replace(" (", "\n("), rotation=0, ha="right")
        if axes is not panels[-1]:
            axes.tick_params(labelbottom=False)
    density = scales.percent(float(results["examined_density"].values[-1]))
    panels[-1].set_xlabel(f"radius of the basin at {density} % of the weights; dashed: median")
    return figure


def loss_plane(results: "xarray.Dataset", replicate: int = 0) -> Figure:
    """Draws the training loss in the plane through a network, the same pruned, and retrained.

    Args:
      results: with `plane_loss` (replicate, row, column), its axes and `plane_points`.
      replicate: which.

    Returns:
      The figure; distances along both axes have one unit.

    Raises:
      TicketError: for results without a plane.
    """
    _needs(results, "plane_loss")
    here = results.sel(replicate=replicate)
    figure, (axes,) = style.panels(1, 5.8, 4.4)
    x, y = here["plane_first"].values, here["plane_second"].values
    loss = np.where(np.isfinite(here["plane_loss"].values), here["plane_loss"].values, np.nan)
    low, high = np.nanmin(loss), np.nanmax(loss)
    levels = np.geomspace(max(low, high * 1e-4), high * (1 + 1e-6), 15)
    norm = LogNorm(levels[0], levels[-1])
    field = axes.contourf(x, y, np.maximum(loss, levels[0]), levels, cmap="viridis_r", norm=norm)
    axes.contour(x, y, loss, levels, colors="white", linewidths=0.4)
    for place, name, marker in zip(
        here["plane_points"].values, here["point"].values, "osD", strict=True
    ):
        looks = {"color": "white", "markeredgecolor": style.INK, "linestyle": "none"}
        axes.plot(*place, marker=marker, markersize=7, label=str(name), zorder=3, **looks)
    axes.set_aspect("equal")
    axes.grid(False)
    axes.set_xlabel("distance from the trained towards the pruned network")
    axes.set_ylabel("distance across")
    bar = figure.colorbar(field, ax=axes, format="%.2g")
    bar.set_label("training loss", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.TEXT - 1, labelcolor=style.INK)
    entries = {str(line.get_label()): line for line in axes.lines}
    style.legend(figure, entries, 3, "lower center")
    return figure


def _look(name: str) -> style.Appearance:
    return _LOOKS.get(name) or style.appearance(name)


def _line(axes: Axes, x: np.ndarray, values: "xarray.DataArray", name: str) -> Any:
    looks = {"label": name, **_look(name)._asdict()}
    return style.line_with_bars(axes, x, networks.over_replicates(values), **looks)


def _present(values: "xarray.DataArray", dim: str) -> list[str]:
    """Lists what was measured along a dimension, in its order."""
    return [str(n) for n in values[dim].values if np.isfinite(values.sel({dim: n})).any()]


def _title(results: "xarray.Dataset") -> str:
    return f"mean of {results.sizes['replicate']} replicates, bars from least to greatest"


def _needs(results: "xarray.Dataset", name: str) -> None:
    if name not in results:
        raise TicketError(f"results: got no {name}, expected those of the experiment geometry")
