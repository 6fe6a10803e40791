"""Masks that are made while a network trains, as a figure."""

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from jaxticket.plots import networks, style

if TYPE_CHECKING:
    import xarray


def overlap_over_training(results: "xarray.Dataset", mask: str, other: str) -> Figure:
    """Draws how much two masks overlap over training, and what the pruned networks know.

    Args:
      results: with `overlap` (mask, other, time, replicate), `pruned_accuracy` (mask, time,
        replicate) and `chance`.
      mask: one mask.
      other: the other.

    Returns:
      The figure; the dashed line is the overlap of random masks.

    Source: after 2110.14856.
    """
    figure, (left, right) = style.panels(2, 7.6, 3.4)
    steps = results["time"].values
    both = networks.over_replicates(results["overlap"].sel(mask=mask, other=other))
    style.line_with_bars(left, steps, both, colour=style.depth_colours(2)[0], marker="o")
    left.axhline(float(results["chance"]), color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)))
    left.set_ylabel(f"intersection over union of\n{mask} and {other} masks")
    left.set_ylim(0, 1.05)
    names = [str(name) for name in results["mask"].values]
    entries = {}
    for name, colour, marker in zip(names, style.depth_colours(len(names)), "os^", strict=False):
        summary = networks.over_replicates(100 * results["pruned_accuracy"].sel(mask=name))
        entries[name] = style.line_with_bars(right, steps, summary, colour=colour, marker=marker)
    right.set_ylabel("test accuracy (%),\npruned, not trained again")
    for axes in (left, right):
        axes.set_xscale("log")
        axes.set_xlabel("training step at which the network is pruned")
    style.legend(figure, entries, 3, "lower center", "mean, bars from least to greatest")
    return figure
