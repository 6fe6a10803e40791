"""Basins as figures: spectra of the Hessian, and how far basins reach."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from jaxticket.plots import networks, scales, style
from jaxticket.plots.geometry import needs, present, stage_look, stage_name, title

if TYPE_CHECKING:
    import xarray


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
    needs(results, "eigenvalue")
    ticket = results.sel(stage="ticket")
    levels = ticket["examined"].values
    figure, (left, right) = style.panels(2, 9.0, 3.9)
    places = np.arange(1, ticket.sizes["place"] + 1)
    colours = style.depth_colours(len(levels))
    entries: dict[str, Any] = {}
    highest = np.zeros(results.sizes["at"])
    for n, (level, colour) in enumerate(zip(levels, colours, strict=True)):
        here = ticket.sel(examined=level)
        at = places + 0.6 * ((n + 0.5) / len(levels) - 0.5)
        name = f"{scales.percent(float(here['examined_density']))} %"
        looks: dict[str, Any] = {"colour": colour, "marker": "o", "linestyle": "none"}
        entries |= style.line_over_replicates(left, at, here["eigenvalue"], name, **looks)
        stems = networks.over_replicates(here["eigenvalue"]).mean
        left.vlines(at, 0, stems, color=colour, linewidth=1.0)
        density = networks.over_replicates(here["density_of_eigenvalues"])
        right.plot(
            results["at"].values, np.where(density.mean > 0, density.mean, np.nan), color=colour
        )
        highest = np.fmax(highest, density.high)
    left.set_xticks(places)
    left.set_ylim(bottom=0)
    left.set_xlabel("place in the order")
    left.set_ylabel("eigenvalue of the Hessian")
    _fit_densities(right, results["at"].values, highest)
    right.set_xlabel("eigenvalue")
    right.set_ylabel("density")
    if not entries:
        style.say_empty(left)
    style.legend(figure, entries, len(levels), "lower center", f"weights; {title(results)}")
    return figure


def _fit_densities(axes: Axes, at: np.ndarray, highest: np.ndarray) -> None:
    """Makes the axis of densities logarithmic, and fits both to what is drawn."""
    top = highest.max()
    if not top > 0:
        style.say_empty(axes)
        return
    axes.set_yscale("log")
    axes.set_ylim(top * 1e-7, top * 3)
    # The grid also holds the eigenvalues of other stages.
    shown = at[highest > top * 1e-7]
    axes.set_xlim(shown[0], shown[-1])


def radius_histogram(results: "xarray.Dataset") -> Figure:
    """Draws how far the basin of each stage reaches in random directions, at the last level.

    Args:
      results: with `radius` (stage, examined, replicate, direction).

    Returns:
      The figure: a histogram of all replicates' radii a stage, in one panel each.

    Raises:
      TicketError: for results without radii.
    """
    needs(results, "radius")
    last = results["radius"].isel(examined=-1)
    last = last.where(np.isfinite(last) & (last > 0))
    stages = present(last, "stage")
    rows = max(1, len(stages))
    figure, panels = style.panels(1, 6.2, 0.8 + 0.75 * rows, rows)
    density = scales.percent(float(results["examined_density"].values[-1]))
    panels[-1].set_xlabel(f"radius of the basin at {density} % of the weights; dashed: median")
    if not stages:
        style.say_empty(panels[0])
        return figure
    known = last.values[np.isfinite(last.values)]
    bins = np.geomspace(known.min() / 1.1, known.max() * 1.1, 41)
    for axes, stage in zip(panels, stages, strict=True):
        here = last.sel(stage=stage)
        axes.hist(here.values.ravel(), bins=bins, color=stage_look(stage).colour, alpha=0.85)
        axes.axvline(np.nanmedian(here), color=style.INK, linewidth=0.9, linestyle=(0, (3, 2)))
        axes.set_xscale("log")
        axes.set_xlim(bins[0], bins[-1])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        lost = int((here.count("direction") == 0).sum())
        axes.set_ylabel(_label(stage, lost), rotation=0, ha="right")
        axes.tick_params(which="both", labelsize=style.TEXT - 1, labelbottom=axes is panels[-1])
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    return figure


def _label(stage: str, lost: int) -> str:
    """Names a stage, and how many replicates have no radius, if any."""
    name = stage_name(stage).replace(" (", "\n(")
    return f"{name}\nwithout {lost} replicate{'s' if lost > 1 else ''}" if lost else name
