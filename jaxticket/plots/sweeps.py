"""Sweeps as figures: a panel an arm, a line a variant."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from jaxticket.errors import unknown
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

_MARKERS = "os^vDPX*<>ph"
_COLUMNS = 3


def variants_against_density(
    results: "xarray.Dataset",
    metric: str | None = "test_accuracy",
    *,
    arms: Sequence[str] | None = None,
    step: str = "early_stop",
) -> Figure:
    """Draws a metric against the percent of weights remaining, a panel an arm, a line a variant.

    A line is the mean over the replicates that are valid, its bars reach from the least to the
    greatest of them.

    Args:
      results: from `jaxticket.runs.to_dataset`, of a sweep.
      metric: any curve of the results; `None` for the early-stop step itself.
      arms: which arms, all of them unless given.
      step: where curves are read: `early_stop`, at each network's own step of lowest validation
        loss; `start`, before training; `end`, after it.

    Returns:
      The figure.

    Raises:
      TicketError: for an arm or a metric that the results do not hold.

    Example:
      `variants_against_density(jaxticket.runs.load(directory).results, arms=["ticket"])`
    """
    chosen = networks.choose_arms(results, arms)
    label = _label(results, metric, step)
    names = [str(name) for name in results["variant"].values]
    columns = min(len(chosen), _COLUMNS)
    rows = -(-len(chosen) // columns)
    height = 2.7 * rows + 0.4 + 0.17 * (len(names) // columns)
    figure, panels = style.panels(columns, max(5.4, 3.6 * columns), height, rows)
    colours = style.depth_colours(len(names))
    entries: dict[str, Any] = {}
    for axes, arm in zip(panels, chosen, strict=False):
        for place, name in enumerate(names):
            here = results.sel(variant=name)
            summary = networks.over_replicates(networks.read(here, metric, step).sel(arm=arm))
            looks: dict[str, Any] = {
                "colour": colours[place],
                "marker": _MARKERS[place % len(_MARKERS)],
            }
            percent = 100 * here["density"].values
            entries[name] = style.line_with_bars(axes, percent, summary, label=name, **looks)
        axes.set_title(arm.replace("_", " "), fontsize=style.TEXT)
        scales.density_axis(axes, np.unique(results["density"].values)[::-1])
    for axes in panels[::columns]:
        axes.set_ylabel(label)
    # One scale, so that arms can be compared across panels.
    limits = [axes.get_ylim() for axes in panels[: len(chosen)]]
    for axes in panels[: len(chosen)]:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
    for axes in panels[len(chosen) :]:
        axes.set_visible(False)
    number = results.sizes["replicate"]
    title = f"mean of {number} replicates, bars from least to greatest" if number > 1 else ""
    style.legend(figure, entries, max(columns, -(-len(names) // 5)), "lower center", title)
    return figure


def _label(results: "xarray.Dataset", metric: str | None, step: str) -> str:
    if metric is None:
        return "early-stop step"
    if step not in WHERE:
        raise unknown("step", step, WHERE)
    return f"{networks.metric_label(networks.choose_metric(results, metric))}\n{WHERE[step]}"


def instability_against_density(results: "xarray.Dataset") -> Figure:
    """Draws the error barrier of tickets against the weights remaining, a line a variant.

    Args:
      results: with `instability` (variant, level, replicate); that of level 0 is the dense
        network's.

    Returns:
      The figure; the dashed line is at 2 %, below which a network counts as stable.

    Source: 1912.05671, figure 5.
    """
    names = [str(name) for name in results["variant"].values]
    figure, (axes,) = style.panels(1, 5.4, 3.4 + 0.1 * len(names))
    colours, entries = style.depth_colours(len(names)), {}
    for place, name in enumerate(names):
        here = results.sel(variant=name)
        summary = networks.over_replicates(100 * here["instability"])
        looks: dict[str, Any] = {
            "colour": colours[place],
            "marker": _MARKERS[place % len(_MARKERS)],
        }
        percent = 100 * here["density"].values
        entries[name] = style.line_with_bars(axes, percent, summary, label=name, **looks)
    axes.axhline(2.0, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    scales.density_axis(axes, np.unique(results["density"].values)[::-1])
    axes.set_ylabel("error barrier between two\ndata orders (%)")
    style.legend(figure, entries, 2, "lower center", "mean, bars from least to greatest")
    return figure


WHERE = {
    "early_stop": "at the early-stop step",
    "start": "before training",
    "end": "after training",
}
"""Where a curve is read, in words, by the name of the step."""
