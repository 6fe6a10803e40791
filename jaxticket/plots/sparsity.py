"""Where the kept weights are: by layer, and by pixel of the input."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from jaxticket.errors import TicketError
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

COLUMNS = 5
"""Images in a row."""


def layer_densities(results: "xarray.Dataset", arm: str = "ticket") -> Figure:
    """Draws the percent of each layer's weights remaining against that of the whole network.

    A line is the mean over the replicates that are valid, with bars from the least to the
    greatest; above the dashed line a layer is kept more than the network. A layer that is
    empty has no place on the logarithmic axis, so its line ends.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      arm: whose masks.

    Returns:
      The figure, with one pair of axes.

    Raises:
      TicketError: for an arm that the results do not hold.
    """
    (arm,) = networks.choose_arms(results, [arm])
    percent = 100 * results["density"].values
    share = 100 * results["kept"].sel(arm=arm) / results["size"]
    share = share.where(results["valid"].sel(arm=arm) & (share > 0))
    layers = [str(layer) for layer in results["layer"].values]
    figure, (axes,) = style.panels(1, 5.8, max(3.3, 0.6 + 0.17 * len(layers)))
    entries: dict[str, Any] = {}
    # Later layers are thinner: where layers are kept alike, all of them show.
    sizes = np.linspace(1.0 + 0.5 * (len(layers) > 1), 0.8, len(layers))
    for layer, colour, size in zip(layers, style.depth_colours(len(layers)), sizes, strict=True):
        summary = networks.over_replicates(share.sel(layer=layer))
        looks: dict[str, Any] = {"colour": colour, "size": size, "marker": "o", "label": layer}
        entries[layer] = style.line_with_bars(axes, percent, summary, **looks)
    looks = {"color": style.GREY, "linewidth": 0.8, "linestyle": (0, (4, 3)), "zorder": 1}
    (entries["whole network"],) = axes.plot(percent, percent, **looks)
    scales.density_axis(axes, results["density"].values)
    scales.share_axis(axes, share.values)
    axes.set_ylabel(f"layer's weights remaining (%), {arm.replace('_', ' ')}")
    if not np.isfinite(share).any():
        style.say_empty(axes)
    style.legend(figure, entries)
    return figure


def mask_images(masks: Mapping[str, Any], image_shape: tuple[int, ...]) -> Figure:
    """Draws how many first-layer connections each pixel of the input keeps.

    Each image has its own scale, from 0 to its greatest count, since counts fall by orders of
    magnitude from level to level; the bar below it shows the counts.

    Args:
      masks: by title, e.g. one a level: `bool[inputs, units]`, or a mask pytree, whose first
        leaf with that many inputs is taken.
      image_shape: `(height, width)` or `(height, width, channels)` of one example; connections
        are summed over channels.

    Returns:
      The figure, with one image a mask, five in a row.

    Raises:
      TicketError: if there is no mask, or one without a leaf for that many inputs.

    Example:
      >>> figure = mask_images({"dense": np.ones((6, 3), bool)}, (2, 3))
      >>> figure.axes[0].get_images()[0].get_array().tolist()
      [[3, 3, 3], [3, 3, 3]]
    """
    if not masks:
        raise TicketError("masks: got none, expected at least one by its title")
    counts = [_connections(title, mask, image_shape) for title, mask in masks.items()]
    columns = min(COLUMNS, len(counts))
    rows = -(-len(counts) // columns)
    height = 1.65 * image_shape[0] / image_shape[1] + 0.6
    figure, axes = style.panels(columns, 1.75 * columns, 0.3 + height * rows, rows)
    figure.supxlabel("connections kept", fontsize=style.TEXT, color=style.INK)
    for each, title, image in zip(axes, masks, counts, strict=False):
        _draw_image(figure, each, title, image)
    for each in axes[len(counts) :]:
        each.set_axis_off()
    return figure


def _connections(title: str, mask: Any, image_shape: tuple[int, ...]) -> np.ndarray:
    """Counts kept connections by pixel, `int64[height, width]`."""
    import jax

    inputs = int(np.prod(image_shape))
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(mask)]
    for leaf in leaves:
        if leaf.ndim == 2 and leaf.shape[0] == inputs and len(image_shape) in (2, 3):
            kept = np.count_nonzero(leaf, axis=1).reshape(image_shape)
            return kept if kept.ndim == 2 else kept.sum(axis=2)
    shapes = ", ".join(str(leaf.shape) for leaf in leaves) or "none"
    raise TicketError(
        f"mask {title!r}: expected a leaf of shape ({inputs}, units) for images of shape "
        f"{image_shape}, got leaves of shape {shapes}"
    )


def _draw_image(figure: Figure, axes: Axes, title: str, counts: np.ndarray) -> None:
    looks = {"cmap": "viridis", "vmin": 0, "vmax": max(1, int(counts.max()))}
    image = axes.imshow(counts, interpolation="nearest", **looks)
    axes.set_title(title, fontsize=style.TEXT, color=style.INK)
    axes.grid(False)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=axes, location="bottom", fraction=0.06, pad=0.03)
    bar.outline.set_visible(False)
    looks = {"labelsize": style.TEXT - 1, "labelcolor": style.INK, "color": style.GREY}
    bar.ax.tick_params(width=0.6, length=2, **looks)
    bar.locator = MaxNLocator(3, integer=True)
    bar.update_ticks()
