"""The papers' main figures: accuracy and early-stop step against the weights remaining."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from jaxticket.arms import ARMS
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray


def accuracy_against_density(
    results: "xarray.Dataset",
    metric: str = "test_accuracy",
    *,
    arms: Sequence[str] | None = None,
) -> Figure:
    """Draws accuracy at the early-stop step against the percent of weights remaining.

    A line is the mean over the replicates that are valid, its bars reach from the least to the
    greatest of them, and a cross at the bottom marks a density where some replicate diverged. A
    point is hollow where some replicate is of no use: not above chance, or with an empty layer.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      metric: any curve of the results.
      arms: which arms, all of them unless given.

    Returns:
      The figure, with one pair of axes.

    Raises:
      TicketError: for an arm or a metric that the results do not hold, or results without
        early-stop steps.

    Example:
      `accuracy_against_density(jaxticket.runs.load(directory).results, arms=["ticket", "reinit"])`

    Source: 1803.03635, figures 1 and 4.
    """
    return _figure(results, [metric], arms)


def early_stop_against_density(
    results: "xarray.Dataset", *, arms: Sequence[str] | None = None
) -> Figure:
    """Draws the early-stop step against the percent of weights remaining.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      arms: which arms, all of them unless given.

    Returns:
      The figure, with one pair of axes, drawn as in `accuracy_against_density`.

    Raises:
      TicketError: for an arm that the results do not hold, or results without early-stop steps.

    Source: 1803.03635, figures 1 and 4.
    """
    return _figure(results, [None], arms)


def both_against_density(
    results: "xarray.Dataset",
    metric: str = "test_accuracy",
    *,
    arms: Sequence[str] | None = None,
) -> Figure:
    """Draws `accuracy_against_density` and `early_stop_against_density` side by side.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      metric: any curve of the results.
      arms: which arms, all of them unless given.

    Returns:
      The figure: accuracy at the left, early-stop step at the right, one legend.

    Raises:
      TicketError: as `accuracy_against_density`.
    """
    return _figure(results, [metric, None], arms)


def _figure(
    results: "xarray.Dataset", metrics: list[str | None], arms: Sequence[str] | None
) -> Figure:
    chosen = networks.choose_arms(results, arms)
    rows = -(-(len(chosen) + 1) // len(metrics))
    width = 5.4 if len(metrics) == 1 else 9.0
    figure, panels = style.panels(len(metrics), width, 3.3 + 0.17 * rows)
    entries: dict[str, Any] = {}
    for axes, metric in zip(panels, metrics, strict=True):
        entries = _draw(axes, results, metric, chosen)
    style.legend(figure, entries, len(metrics), "lower center", _title(results, chosen))
    return figure


def _draw(
    axes: Axes, results: "xarray.Dataset", metric: str | None, arms: list[str]
) -> dict[str, Any]:
    """Fills one pair of axes; returns what the legend shows, by label."""
    curve = None if metric is None else networks.choose_metric(results, metric)
    values = networks.stopped(results, metric)
    entries = {}
    percent = 100 * results["density"].values
    for place, arm in enumerate(arms):
        summary = networks.over_replicates(values.sel(arm=arm))
        # Earlier arms lie over later ones: the ticket, which comes first, is never hidden.
        looks = {"zorder": 3 - place / 100, "label": arm, **style.appearance(arm)._asdict()}
        entries[_label(results, arm)] = style.line_with_bars(axes, percent, summary, **looks)
        useless = networks.useless_somewhere(results, arm)
        if useless.any():
            points = percent[useless], summary.mean[useless]
            drawn = _draw_hollow(axes, *points, arm, looks["zorder"])
            entries["hollow: of no use in some replicate"] = drawn
    entries["dense network"] = _draw_dense(axes, values.sel(arm=arms[0]).isel(level=[0]))
    scales.density_axis(axes, results["density"].values)
    if curve is None:
        axes.set_ylabel("early-stop step")
        axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    else:
        label = networks.metric_label(curve)
        axes.set_ylabel(f"{label}\nat the early-stop step")
    _mark_diverged(axes, results, arms)
    if not np.isfinite(values.sel(arm=arms)).any():
        style.say_empty(axes)
    return entries


def _draw_hollow(
    axes: Axes, percent: np.ndarray, means: np.ndarray, arm: str, zorder: float
) -> Any:
    """Empties the markers of means that some network of no use takes part in."""
    looks = style.appearance(arm)
    (drawn,) = axes.plot(
        percent,
        means,
        color=looks.colour,
        marker=looks.marker,
        markerfacecolor="white",
        markersize=4.5,
        linestyle="none",
        zorder=zorder + 0.005,
    )
    return drawn


def _mark_diverged(axes: Axes, results: "xarray.Dataset", arms: list[str]) -> None:
    """Marks densities with networks left out by crosses at the bottom, one row an arm."""
    lost = {arm: networks.invalid_counts(results, arm)[0] > 0 for arm in arms}
    rows = [arm for arm in arms if lost[arm].any()]
    bottom, top = axes.get_ylim()
    # Room for the crosses, below all that is drawn.
    axes.set_ylim(bottom - 0.05 * len(rows) * (top - bottom), top)
    for row, arm in enumerate(reversed(rows)):
        percent = 100 * results["density"].values[lost[arm]]
        axes.plot(
            percent,
            np.full(len(percent), 0.03 + 0.045 * row),
            transform=axes.get_xaxis_transform(),
            color=style.appearance(arm).colour,
            marker="x",
            markersize=4.5,
            linestyle="none",
        )


def _draw_dense(axes: Axes, values: "xarray.DataArray") -> Any:
    """Draws the dense networks' mean across all densities."""
    mean = float(networks.over_replicates(values).mean[0])
    return axes.axhline(mean, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)


def _label(results: "xarray.Dataset", arm: str) -> str:
    question = f": {ARMS[arm].question}" if arm in ARMS else ""
    _, lost = networks.invalid_counts(results, arm)
    note = f" (× {lost} of {results.sizes['replicate']} diverged)" if lost else ""
    return arm.replace("_", " ") + question + note


def _title(results: "xarray.Dataset", arms: list[str]) -> str:
    """Says of what the points are means; nothing where there is one replicate."""
    number = results.sizes["replicate"]
    if number == 1:
        return ""
    whole = bool(results["valid"].sel(arm=arms).all())
    of = f"{number} replicates" if whole else "the replicates that did not diverge"
    return f"mean of {of}, bars from least to greatest"
