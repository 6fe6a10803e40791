"""Geometry as figures: jumps and barriers, stages, the plane through three networks."""

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
    # Paler than what becomes of them.
    "reinit_init": style.Appearance("#f2b48f", "X"),
    "shuffle_init": style.Appearance("#8fd0bb", "P"),
    "oneshot_pruned": style.Appearance("#c9a6d6", "D"),
}
"""What no arm has a look for."""

_NAMES = {
    "ticket": "trained (ticket)",
    "init": "initial weights",
    "pruned": "just pruned",
    "reinit_init": "initial (reinit)",
    "shuffle_init": "initial (shuffle)",
    "oneshot_pruned": "just pruned (oneshot)",
}


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
    needs(results, "jump_jump")
    figure, (left, right) = style.panels(2, 9.0, 4.1)
    percent = 100 * np.atleast_2d(results["density"].values)[0][1:]
    later = results.isel(level=slice(1, None))
    predicted = later["jump_linear"] + later["jump_quadratic"]
    jumped: dict[str, Any] = {}
    apart: dict[str, Any] = {}
    for name in present(later["jump_jump"], "removal"):
        what = f"without the {name}" if name != "oneshot" else "one-shot, from dense"
        jumped |= _line(left, percent, later["jump_jump"].sel(removal=name), name, what)
        mean = networks.over_replicates(predicted.sel(removal=name)).mean
        left.plot(percent, mean, color=stage_look(name).colour, linestyle=":", linewidth=1.2)
    if not jumped:
        style.say_empty(left)
    grey = {"color": style.GREY, "linestyle": ":", "linewidth": 1.2}
    (jumped["predicted to second order"],) = left.plot([], [], **grey)
    for name in ("ticket", "reinit", "shuffle", "oneshot"):
        if name in present(later["barrier"], "pair"):
            apart |= _line(right, percent, later["barrier"].sel(pair=name), name)
    if not apart:
        style.say_empty(right)
    left.set_yscale("symlog", linthresh=0.01)
    left.set_ylabel("rise of the training loss by pruning")
    right.set_yscale("symlog", linthresh=0.01)
    right.set_ylabel("barrier of the training loss to the\nnetwork before (oneshot: the dense one)")
    for axes in (left, right):
        scales.density_axis(axes, percent / 100)
    style.legend(figure, jumped, 2, "lower left", title(results))
    style.legend(figure, apart, 2, "lower right", "between trained networks")
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
    needs(results, "train_subset_loss")
    # A network without a loss has no basin: its radius is not 0.
    radius = results["median_log_radius"].where(np.isfinite(results["train_subset_loss"]))
    measures = {
        "training loss": results["train_subset_loss"],
        "largest eigenvalue": results["eigenvalue"].isel(place=0),
        "trace of the Hessian": results["trace"],
        "median radius of the basin": np.exp(radius),
    }
    figure, panels = style.panels(2, 8.4, 6.2, 2)
    percent = 100 * results["examined_density"].values
    entries: dict[str, Any] = {}
    for axes, (name, values) in zip(panels, measures.items(), strict=True):
        stages = present(values, "stage")
        for stage in stages:
            entries |= _line(axes, percent, values.sel(stage=stage), stage, stage_name(stage))
        if not stages:
            style.say_empty(axes)
        scales.density_axis(axes, percent / 100)
        signed = not stages or float(values.min()) <= 0
        axes.set_yscale("symlog" if signed else "log", **({"linthresh": 1.0} if signed else {}))
        axes.tick_params(axis="y", which="both", labelsize=style.TEXT - 1)
        axes.set_ylabel(name)
    style.legend(figure, entries, 3, "lower center", title(results))
    return figure


def loss_plane(results: "xarray.Dataset", replicate: int | None = None) -> Figure:
    """Draws the training loss in the plane through a network, the same pruned, and retrained.

    Args:
      results: with `plane_loss` (replicate, row, column), its axes and `plane_points`.
      replicate: which; if `None`, the first one of those with the most finite losses.

    Returns:
      The figure, which says which replicate it shows; distances along both axes have one unit, and
      crosses stand where the loss is not finite.

    Raises:
      TicketError: for results without a plane.
    """
    needs(results, "plane_loss")
    finite = results["plane_loss"].where(np.isfinite).count(["row", "column"])
    shown = int(finite["replicate"][finite.values.argmax()]) if replicate is None else replicate
    here = results.sel(replicate=shown)
    figure, (axes,) = style.panels(1, 5.8, 4.4)
    axes.set_title(f"replicate {shown}", fontsize=style.TEXT)
    axes.set_xlabel("distance from the trained towards the pruned network")
    axes.set_ylabel("distance across")
    axes.grid(False)
    if not finite.sel(replicate=shown):
        style.say_empty(axes)
        return figure
    entries = _points(axes, here) | _field(figure, axes, here)
    axes.set_aspect("equal")
    style.legend(figure, entries, 3, "lower center")
    return figure


def _field(figure: Figure, axes: Axes, here: "xarray.Dataset") -> dict[str, Any]:
    """Draws the losses of one plane, and crosses where there are none."""
    x, y, loss = (here[f"plane_{name}"].values for name in ("first", "second", "loss"))
    loss = np.where(np.isfinite(loss), np.float64(loss), np.nan)
    low, high = np.nanmin(loss), np.nanmax(loss)
    levels = np.geomspace(max(low, high * 1e-4), high * (1 + 1e-6), 15)
    norm = LogNorm(levels[0], levels[-1])
    field = axes.contourf(x, y, np.maximum(loss, levels[0]), levels, cmap="viridis_r", norm=norm)
    axes.contour(x, y, loss, levels, colors="white", linewidths=0.4)
    bar = figure.colorbar(field, ax=axes, format="%.3g")
    bar.set_label("training loss", fontsize=style.TEXT, color=style.INK)
    bar.ax.tick_params(labelsize=style.TEXT - 1, labelcolor=style.INK)
    rows, columns = np.nonzero(np.isnan(loss))
    if not len(rows):
        return {}
    looks: dict[str, Any] = {"color": style.INK, "marker": "x", "linewidths": 0.6, "zorder": 3}
    name = "loss not finite"
    return {name: axes.scatter(x[columns], y[rows], 8, label=name, **looks)}


def _points(axes: Axes, here: "xarray.Dataset") -> dict[str, Any]:
    """Draws the three networks that a plane contains."""
    for place, name, marker in zip(
        here["plane_points"].values, here["point"].values, "osD", strict=True
    ):
        looks: dict[str, Any] = {"color": "white", "markeredgecolor": style.INK}
        axes.plot(
            *place, marker=marker, markersize=7, label=str(name), ls="none", zorder=3, **looks
        )
    return {str(line.get_label()): line for line in axes.lines}


def stage_look(name: str) -> style.Appearance:
    """Looks a stage, an arm or an order of removal up."""
    return _LOOKS.get(name) or style.appearance(name)


def _line(
    axes: Axes, x: np.ndarray, values: "xarray.DataArray", name: str, what: str = ""
) -> dict[str, Any]:
    looks = stage_look(name)._asdict()
    return style.line_over_replicates(axes, x, values, what or name, **looks)


def present(values: "xarray.DataArray", dim: str) -> list[str]:
    """Lists what was measured along a dimension, in its order."""
    return [str(n) for n in values[dim].values if np.isfinite(values.sel({dim: n})).any()]


def title(results: "xarray.Dataset") -> str:
    """Says of what the points are means."""
    return f"mean of {results.sizes['replicate']} replicates, bars from least to greatest"


def stage_name(name: str) -> str:
    """Names a stage for people."""
    return _NAMES.get(name, name)


def needs(results: "xarray.Dataset", name: str) -> None:
    """Checks that results are of the experiment geometry."""
    if name not in results:
        raise TicketError(f"results: got no {name}, expected those of the experiment geometry")
