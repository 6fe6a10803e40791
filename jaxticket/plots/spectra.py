"""Singular values of Jacobians as figures."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure

from jaxticket.errors import TicketError
from jaxticket.plots import style

if TYPE_CHECKING:
    import xarray

_COLUMNS = 4


def jacobian_spectra(results: "xarray.Dataset") -> Figure:
    """Draws the singular values of Jacobians in their order, a panel a variant, a line a stage.

    A line is the mean over replicates, its band reaches from the least to the greatest of them.

    Args:
      results: with `spectrum` (variant, stage, replicate, place), of which zeros are left out.

    Returns:
      The figure, its values on a logarithmic scale.

    Raises:
      TicketError: for results without a spectrum.

    Source: 2105.05916 shows their means; that they are drawn in their order is our choice.
    """
    if "spectrum" not in results:
        raise TicketError("results: got no spectrum, expected a run that measures Jacobians")
    values = results["spectrum"].where(results["spectrum"] > 0)
    names = [str(name) for name in values["variant"].values]
    columns = min(len(names), _COLUMNS)
    rows = -(-len(names) // columns)
    figure, panels = style.panels(columns, max(5.4, 2.5 * columns), 2.3 * rows + 0.5, rows)
    stages = [str(stage) for stage in values["stage"].values]
    places = np.arange(1, values.sizes["place"] + 1)
    entries = {}
    for axes, name in zip(panels, names, strict=False):
        for stage, colour in zip(stages, style.depth_colours(len(stages)), strict=True):
            here = values.sel(variant=name, stage=stage).transpose("replicate", "place").values
            known = np.isfinite(here).all(axis=0)
            where, here = places[known], here[:, known]
            axes.fill_between(where, here.min(axis=0), here.max(axis=0), color=colour, alpha=0.2)
            (entries[stage],) = axes.plot(where, here.mean(axis=0), color=colour, label=stage)
        axes.set_yscale("log")
        axes.set_title(name, fontsize=style.TEXT)
        axes.set_xlabel("place in the order")
    for axes in panels[::columns]:
        axes.set_ylabel("singular value")
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    style.legend(figure, entries, len(stages), "lower center", "mean, band from least to greatest")
    return figure
