"""Successive levels of pruning as figures: barriers, jumps, angles and the flow of the shares."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

MARKERS = "os^vDPX*"
DASHED = (0, (4, 3))


def barriers_between_levels(results: "xarray.Dataset") -> Figure:
    """Draws the barrier between each level and the one before, above how well the level does.

    Args:
      results: with `barrier`, `strange_barrier` and `gap` (level, replicate), `matching`, and
        `density` (level).

    Returns:
      The figure; levels that match the dense network are on the grey ground, and the dashed line
      of the barriers is at 2 %, below which networks count as connected.

    Source: after 2210.03044.
    """
    figure, (above, below) = style.panels(1, 5.6, 5.0, 2)
    percent = 100 * results["density"].values
    colours = style.depth_colours(3)
    kinds = {"barrier": "to the level before", "strange_barrier": "to another replicate"}
    entries: dict[str, Any] = {}
    for (name, label), colour, marker in zip(kinds.items(), colours, MARKERS, strict=False):
        looks: dict[str, Any] = {"colour": colour, "marker": marker}
        entries |= style.line_over_replicates(above, percent, 100 * results[name], label, **looks)
    if not entries:
        style.say_empty(above)
    above.axhline(2.0, color=style.GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    above.set_ylabel("error barrier (%)")
    looks = {"colour": style.INK, "marker": "o"}
    gap = style.line_over_replicates(below, percent, 100 * results["gap"], "gap", **looks)
    if not gap:
        style.say_empty(below)
    entries |= {name: artist for name, artist in gap.items() if name == style.LOST}
    below.axhline(0.0, color=style.GREY, linewidth=0.8, linestyle=DASHED, zorder=1)
    below.set_ylabel("test accuracy\nless the dense one (%)")
    for axes in (above, below):
        scales.density_axis(axes, results["density"].values)
        _matching(axes, results)
    above.set_xlabel("")
    style.legend(figure, entries, 2, "lower center", _GROUND)
    return figure


def jumps_of_steps(results: "xarray.Dataset") -> Figure:
    """Draws how the loss jumps where a share of what is left is pruned at once.

    Args:
      results: with `jump` (level, share, replicate), `matching`, `density`.

    Returns:
      The figure, a line a share; jumps on a scale that is linear near zero, so that falls show.

    Source: after 2210.03044.
    """
    figure, (axes,) = style.panels(1, 5.6, 3.9)
    percent = 100 * results["density"].values
    shares = results["share"].values
    entries: dict[str, Any] = {}
    for share, colour, marker in zip(
        shares, style.depth_colours(len(shares)), MARKERS, strict=False
    ):
        looks: dict[str, Any] = {"colour": colour, "marker": marker}
        label, here = f"{share:.0%} of the weights", results["jump"].sel(share=share)
        entries |= style.line_over_replicates(axes, percent, here, label, **looks)
    if not entries:
        style.say_empty(axes)
    axes.set_yscale("symlog", linthresh=_threshold(results["jump"].values))
    scales.density_axis(axes, results["density"].values)
    _matching(axes, results)
    axes.set_ylabel("jump of the training loss by pruning")
    style.legend(figure, entries, 2, "lower center", "pruned at once, from what the level trained")
    return figure


def angles_over_levels(results: "xarray.Dataset") -> Figure:
    """Draws the angles between all levels of a ticket, and what two replicates share.

    Args:
      results: with `angle` (level, other_level, replicate), `strange_angle` (level, replicate),
        `lift` and `chance` (level, replicate, part), `density`.

    Returns:
      The figure: angles in units of a right angle as a picture, and the number of weights that the
      masks of two replicates share over the number that chance gives, in each layer; where they
      share none there is no place on the logarithmic axis.

    Source: the angle is that of 2106.06955.
    """
    figure, (left, right) = style.panels(2, 8.4, 3.7)
    angle = networks.over_replicates(results["angle"]).mean
    greatest = np.max(angle, where=np.isfinite(angle), initial=1.0)
    image = left.imshow(angle, cmap="viridis", vmin=0, vmax=greatest, origin="lower")
    left.grid(False)
    ticks = np.unique(np.linspace(0, len(angle) - 1, 5).round().astype(int))
    labels = [scales.percent(float(results["density"].values[tick])) for tick in ticks]
    left.set(xticks=ticks, yticks=ticks, xticklabels=labels, yticklabels=labels)
    left.set_xlabel("weights remaining (%)")
    left.set_ylabel("weights remaining (%)")
    bar = figure.colorbar(image, ax=left, fraction=0.05)
    bar.set_label("angle where both keep weights\n(right angles)", fontsize=style.TEXT)
    bar.ax.tick_params(labelsize=style.TEXT - 1)
    percent = 100 * results["density"].values
    lift = results["lift"].where(np.isfinite(results["lift"]))
    parts = [str(part) for part in results["part"].values]
    entries: dict[str, Any] = {}
    for part, colour, marker in zip(
        parts, style.depth_colours(len(parts)), MARKERS * 9, strict=False
    ):
        looks: dict[str, Any] = {"colour": colour, "marker": marker}
        entries |= style.line_over_replicates(right, percent, lift.sel(part=part), part, **looks)
    chance = networks.over_replicates(results["chance"].sel(part="total")).high
    right.fill_between(percent, 1, chance, color=style.GREY, alpha=0.3, linewidth=0)
    if not np.isfinite(angle).any():
        style.say_empty(left)
    if (lift > 0).any():
        _plain_logarithms(right)
    else:
        style.say_empty(right)
    scales.density_axis(right, results["density"].values)
    right.set_ylabel("weights shared by two replicates\n(times chance)")
    style.legend(figure, entries, min(4, len(parts)), "lower center", _CHANCE)
    return figure


def flow_diagram(results: "xarray.Dataset") -> Figure:
    """Draws the layers' shares of the magnitude over levels, with their fits, beside both nulls.

    Args:
      results: with `magnitude_share` (flow, replicate, level, layer), `exponent` and `intercept`
        (flow, replicate, layer), `fitted_levels`, `density`.

    Returns:
      The figure, a panel a flow, one scale for all; the lines are the fitted flows of exponents σ.

    Source: the observable is that of 2110.03210 (unverified).
    """
    flows = [str(flow) for flow in results["flow"].values]
    layers = [str(layer) for layer in results["layer"].values]
    figure, panels = style.panels(len(flows), 2.9 * len(flows), 3.7)
    density = results["density"].values
    entries: dict[str, Any] = {}
    share = 100 * results["magnitude_share"].where(results["magnitude_share"] > 0)
    least = float(np.min(share.values, where=np.isfinite(share.values), initial=100.0))
    for axes, flow in zip(panels, flows, strict=True):
        for layer, colour, marker in zip(
            layers, style.depth_colours(len(layers)), MARKERS * 9, strict=False
        ):
            here = {"flow": flow, "layer": layer}
            looks: dict[str, Any] = {"colour": colour, "marker": marker, "linestyle": ""}
            entries |= style.line_over_replicates(
                axes, 100 * density, share.sel(here), layer, size=0.8, **looks
            )
            slope, start = (
                networks.over_replicates(results[name].sel(here)).mean
                for name in ("exponent", "intercept")
            )
            within = density[: int(results["fitted_levels"])]
            axes.plot(100 * within, 100 * np.exp(start) * within**-slope, color=colour, lw=0.9)
        axes.set_title(_TITLES.get(flow, flow), fontsize=style.TEXT)
        scales.density_axis(axes, density)
        scales.share_axis(axes, share.values)
        axes.set_ylim(0.8 * least, 110)
        if not np.isfinite(share.sel(flow=flow)).any():
            style.say_empty(axes)
    panels[0].set_ylabel("share of the remaining magnitude (%)")
    style.legend(figure, entries, min(4, len(layers)), "lower center", "line: the fitted flow")
    return figure


_CHANCE = "grey: from what chance expects to the upper end of its 95 %, total"
_GROUND = "mean, bars from least to greatest; grey ground: matches the dense network"
_TITLES = {
    "trained": "iterative pruning",
    "random": "random, untrained",
    "magnitude": "by magnitude, untrained",
}


def _matching(axes: Axes, results: "xarray.Dataset") -> None:
    """Marks the levels that match the dense network."""
    percent, last = 100 * results["density"].values, int(results["matching"])
    edge = np.sqrt(percent[last] * percent[min(last + 1, len(percent) - 1)])
    axes.axvspan(percent[0] * 2, edge, color=style.GREY, alpha=0.12, linewidth=0, zorder=0)


def _plain_logarithms(axes: Axes) -> None:
    """Makes y logarithmic, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _threshold(jumps: np.ndarray) -> float:
    """Where the scale becomes linear: at the size of the smallest median of any line."""
    finite = (np.abs(share[np.isfinite(share)]) for share in np.moveaxis(jumps, 1, 0))
    sizes = np.array([np.median(share) for share in finite if len(share)])
    least = float(np.min(sizes[sizes > 0], initial=1.0))
    return 10.0 ** np.floor(np.log10(least))
