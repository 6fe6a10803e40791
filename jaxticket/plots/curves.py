"""Learning curves of networks at a few densities."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from jaxticket.arms import ARMS
from jaxticket.errors import TicketError, unknown
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

PAPER_DENSITIES = (1.0, 0.513, 0.211, 0.07, 0.036)
"""Those whose curves 1803.03635 draws in its figure 3, as fractions."""


def learning_curves(
    results: "xarray.Dataset",
    levels: Sequence[int] | None = None,
    metric: str | None = None,
    arm: str = "ticket",
) -> Figure:
    """Draws a curve against the training step, at a few densities.

    A line is the mean over the replicates that are valid, the band around it reaches from the
    least to the greatest. If the results hold the arm with the same masks and new weights
    (`reinit` for the ticket), it is dashed, in the same colours and without bands. The first
    tenth of training may leave the axes, since the start would otherwise flatten all the rest.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      levels: which levels; those nearest to 100, 51.3, 21.1, 7.0 and 3.6 % unless given.
      metric: any curve of the results that was measured at every evaluation; `test_accuracy` if
        that was and `validation_accuracy` otherwise, unless given.
      arm: whose curves.

    Returns:
      The figure, with one pair of axes.

    Raises:
      TicketError: for an arm, a metric or a level that the results do not hold, and for a metric
        that was measured where networks begin, stop early and end only.

    Source: 1803.03635, figure 3.
    """
    (arm,) = networks.choose_arms(results, [arm])
    curve = _choose_curve(results, metric).where(results["valid"])
    chosen = _choose_levels(results, levels)
    control = _control(results, arm)
    figure, (axes,) = style.panels(1, 5.8, 3.3)
    ranges = []
    entries: dict[str, Any] = {}
    for level, colour in zip(chosen, _colours(chosen), strict=True):
        ranges.append(_draw(axes, curve.sel(arm=arm, level=level), colour, band=True))
        # The dense network is the same one in all arms.
        if control is not None and level != 0:
            ranges.append(_draw(axes, curve.sel(arm=control, level=level), colour, band=False))
        density = float(results["density"].sel(level=level))
        entries[f"{scales.percent(density)} % remaining"] = Line2D([], [], color=colour)
    _finish(axes, curve, ranges)
    if control is not None:
        entries[arm.replace("_", " ")] = Line2D([], [], color=style.INK)
        entries[control.replace("_", " ")] = Line2D([], [], color=style.INK, linestyle="--")
    style.legend(figure, entries)
    return figure


def _choose_curve(results: "xarray.Dataset", metric: str | None) -> "xarray.DataArray":
    usual, instead = "test_accuracy", "validation_accuracy"
    chosen = networks.choose_metric(results, metric or usual)
    if networks.has_curve(results, chosen):
        return chosen
    if metric is None and instead in results:
        return results[instead]
    raise TicketError(
        f"metric: got {chosen.name!r}, which was measured only where networks begin, stop early "
        f"and end; choose e.g. metric={instead!r}, or train with test_curves=True (--test-curves)"
    )


def _choose_levels(results: "xarray.Dataset", levels: Sequence[int] | None) -> list[int]:
    present = [int(level) for level in results["level"].values]
    if levels is not None:
        for level in levels:
            if level not in present:
                raise unknown("level", level, map(str, present))
        if not levels:
            raise TicketError(f"levels: got none, expected some of {', '.join(map(str, present))}")
        return [int(level) for level in dict.fromkeys(levels)]
    distances = np.abs(np.log(results["density"].values[:, None] / np.array(PAPER_DENSITIES)))
    return [present[place] for place in sorted(set(distances.argmin(axis=0).tolist()))]


def _control(results: "xarray.Dataset", arm: str) -> str | None:
    """Finds the arm that differs in its weights alone, which are new, if the results hold it."""
    if arm not in ARMS:
        return None
    wanted = ARMS[arm]._replace(weights="reinit", question="")
    for other in networks.choose_arms(results, None):
        if other != arm and other in ARMS and ARMS[other]._replace(question="") == wanted:
            return other
    return None


def _colours(levels: list[int]) -> list[str]:
    """Grey for the dense network, the rest from dark to light as they get sparser."""
    pruned = iter(style.depth_colours(len(levels) - (0 in levels)))
    return [style.GREY if level == 0 else next(pruned) for level in levels]


def _draw(axes: Axes, curve: "xarray.DataArray", colour: str, *, band: bool) -> networks.Range:
    summary = networks.over_replicates(curve)
    known = np.isfinite(summary.mean)
    steps = curve["step"].values[known]
    axes.plot(steps, summary.mean[known], color=colour, linewidth=1.3, ls="-" if band else "--")
    if band:
        edges = (summary.low[known], summary.high[known])
        axes.fill_between(steps, *edges, color=colour, alpha=0.18, linewidth=0)
    return summary


def _finish(axes: Axes, curve: "xarray.DataArray", ranges: list[networks.Range]) -> None:
    """Labels the axes and fits y to what comes after the first tenth of training."""
    steps = curve["step"].values
    axes.set_xlabel("training step")
    axes.set_ylabel(networks.metric_label(curve))
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.margins(x=0.01)
    late = steps >= steps[0] + 0.1 * (steps[-1] - steps[0])
    values = np.concatenate([ends[late] for each in ranges for ends in (each.low, each.high)])
    values = values[np.isfinite(values)]
    if not values.size:
        style.say_empty(axes)
    elif values.min() < values.max():
        margin = 0.05 * (values.max() - values.min())
        axes.set_ylim(values.min() - margin, values.max() + margin)
