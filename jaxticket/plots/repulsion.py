"""Searches that are repelled from their earlier solutions: how accurate, and how far apart."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxticket.errors import TicketError
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

_MARKERS = "os^vDPX*"
_DASHES = {0: "-", 1: (0, (4, 2)), 2: (0, (1, 1.5))}


def strengths_against_density(
    results: "xarray.Dataset", metric: str = "test_accuracy", *, step: str = "early_stop"
) -> Figure:
    """Draws a metric against the weights remaining, a panel a search, a line a strength.

    Args:
      results: from `jaxticket.runs.to_dataset`, of a sweep, with `search` and `strength`
        (variant).
      metric: any curve of the results.
      step: where curves are read: `early_stop`, `start` or `end`.

    Returns:
      The figure, its panels on one scale; lines are means over valid replicates, bars reach from
      the least to the greatest.

    Raises:
      TicketError: for results without searches and strengths, or without the metric.

    Source: 2106.06955.
    """
    searches, strengths = _axes_of(results)
    curve = networks.choose_metric(results, metric)
    figure, panels = style.panels(len(searches), 3.5 * len(searches) + 0.6, 3.4)
    colours = style.depth_colours(len(strengths))
    entries: dict[str, Any] = {}
    for axes, search in zip(panels, searches, strict=True):
        drawn: dict[str, Any] = {}
        for place, strength in enumerate(strengths):
            here = _one(results, search, strength)
            if here is None:
                continue
            values = networks.read(here, metric, step).sel(arm="ticket")
            looks: dict[str, Any] = {"colour": colours[place], "marker": _MARKERS[place]}
            percent = 100 * here["density"].values
            name = _label(strength)
            drawn |= style.line_over_replicates(axes, percent, values, name, **looks)
        if not drawn:
            style.say_empty(axes)
        entries |= drawn
        axes.set_title(search, fontsize=style.TEXT)
        scales.density_axis(axes, np.unique(results["density"].values)[::-1])
    _one_scale(panels)
    panels[0].set_ylabel(networks.metric_label(curve))
    style.legend(figure, entries, max(1, len(entries)), "lower center", _MEAN)
    return figure


def successive_against_density(results: "xarray.Dataset") -> Figure:
    """Draws what lies between successive solutions: their angle, and their error barrier.

    Args:
      results: with `angle` and `barrier` (variant, level, replicate), of a level and the one
        before, and `search` and `strength` (variant).

    Returns:
      The figure; a line a variant, at the density of the later level; at an angle of 1 two
      solutions are orthogonal.

    Raises:
      TicketError: for results without searches and strengths.

    Source: 2106.06955.
    """
    searches, strengths = _axes_of(results)
    figure, panels = style.panels(2, 7.6, 3.9)
    colours = style.depth_colours(len(strengths))
    entries: dict[str, Any] = {}
    quantities = {"angle": ("angle to the\nsolution before, 2∠/π", 1.0)}
    quantities["barrier"] = ("error barrier to the\nsolution before (%)", 100.0)
    for axes, (quantity, (label, unit)) in zip(panels, quantities.items(), strict=True):
        drawn: dict[str, Any] = {}
        for row, search in enumerate(searches):
            for place, strength in enumerate(strengths):
                here = _one(results, search, strength)
                if here is None:
                    continue
                values = unit * here[quantity].isel(level=slice(1, None))
                looks: dict[str, Any] = {
                    "colour": colours[place],
                    "marker": _MARKERS[place],
                    "linestyle": _DASHES[row % len(_DASHES)],
                    "markerfacecolor": "white" if row else colours[place],
                }
                percent = 100 * here["density"].values[1:]
                name = f"{search}, {_label(strength)}"
                drawn |= style.line_over_replicates(axes, percent, values, name, **looks)
        if not drawn:
            style.say_empty(axes)
        entries |= drawn
        scales.density_axis(axes, np.unique(results["density"].values[..., 1:])[::-1])
        axes.set_ylabel(label)
        axes.set_ylim(bottom=0)
    panels[0].axhline(1.0, color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
    style.legend(figure, entries, len(searches), "lower center", _MEAN)
    return figure


_MEAN = "mean of replicates, bars from least to greatest"


def _label(strength: float) -> str:
    what = "repelled" if strength > 0 else "attracted" if strength < 0 else "left alone"
    return f"{what} (λ = {strength:g})".replace("-", "\N{MINUS SIGN}")


def _axes_of(results: "xarray.Dataset") -> tuple[list[str], list[float]]:
    """Lists searches as they come, and strengths in their order."""
    if "search" not in results or "strength" not in results:
        raise TicketError(
            "results: there are no search and strength, which say what each variant is; give those "
            "of experiments.regurgitation"
        )
    searches = list(dict.fromkeys(str(name) for name in results["search"].values))
    return searches, sorted({float(value) for value in results["strength"].values})


def _one(results: "xarray.Dataset", search: str, strength: float) -> "xarray.Dataset | None":
    """Takes the variant of a search and a strength, if there is one."""
    found = (results["search"].values == search) & (results["strength"].values == strength)
    return results.isel(variant=int(np.flatnonzero(found)[0])) if found.any() else None


def _one_scale(panels: list[Axes]) -> None:
    limits = [axes.get_ylim() for axes in panels]
    for axes in panels:
        axes.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
