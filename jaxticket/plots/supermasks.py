"""Learned masks as a figure: accuracy against the share that is kept, and against width."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from jaxticket.plots import networks, style

if TYPE_CHECKING:
    import xarray


def accuracy_against_share(results: "xarray.Dataset") -> Figure:
    """Draws accuracy against the share of weights that a learned mask keeps, and against width.

    A line is a kind of frozen weights: the mean over replicates, bars from least to greatest.

    Args:
      results: with `share_accuracy` (weights, share, replicate) and `width_accuracy` (weights,
        width, replicate), fractions.

    Returns:
      The figure: share at the left, width at the right.

    Source: 1911.13299, figures 3 and 5 (unverified).
    """
    figure, panels = style.panels(2, 9.0, 3.4)
    names = [str(name) for name in results["weights"].values]
    colours, entries = style.depth_colours(len(names)), {}
    for axes, axis in zip(panels, ("share", "width"), strict=True):
        values = 100 * results[f"{axis}_accuracy"].transpose("weights", axis, "replicate")
        for place, name in enumerate(names):
            looks: dict[str, Any] = {"colour": colours[place], "marker": "os^v"[place % 4]}
            summary = networks.over_replicates(values.sel(weights=name))
            places = np.asarray(results[axis].values, float) * (100 if axis == "share" else 1)
            entries[name] = style.line_with_bars(axes, places, summary, label=name, **looks)
        axes.set_ylabel("test accuracy (%)")
    panels[0].set_xlabel("weights kept (%)")
    panels[1].set_xlabel("width of hidden layers, times the network's")
    number = results.sizes["replicate"]
    title = f"mean of {number} replicates, bars from least to greatest" if number > 1 else ""
    style.legend(figure, entries, 2, "lower center", title)
    return figure
