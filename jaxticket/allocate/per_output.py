"""Budgets of every output unit: weights compete only with those that lead to the same unit."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxticket.allocate.base import Allocation, Counts, totals
from jaxticket.allocate.groups import Shape, block_shape, select_in_groups, to_groups
from jaxticket.allocate.leaves import by_path
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.errors import MaskError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask


def per_output(rate: Rate, output_axes: int | Mapping[str, int] = 1) -> Allocation:
    """Prunes the weights to every output unit by the same share.

    Of the k weights that lead to a unit, k − round(p k) stay, for every unit of a layer.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on.
      output_axes: how many of a leaf's last axes are its outputs, or numbers by shell-style
        pattern of the leaf's path, the last pattern that matches counts. 1 is right for Flax's
        dense and convolutional kernels, 2 for a kernel that leads to several heads.

    Returns:
      The allocation; its counts are by leaf path.

    Raises:
      TicketError: for a rate outside (0, 1); later, when a schedule is made, for leaves without so
        many axes.
      MaskError: when a schedule is made, for a mask that keeps more weights of one output than of
        another.

    Example:
      >>> import jax.numpy as jnp
      >>> scores = {"kernel": jnp.array([[4.0, 0.1], [1.0, 0.2], [3.0, 0.4], [2.0, 0.3]])}
      >>> allocation = per_output(0.5)
      >>> counts = allocation.schedule({"kernel": np.ones((4, 2), bool)}, 2)[1]
      >>> kept = allocation.select(scores, {"kernel": jnp.ones((4, 2), bool)}, counts)["kernel"]
      >>> kept.T.astype(int).tolist()
      [[1, 0, 1, 0], [0, 0, 1, 1]]

    Source: 2306.11695, section 3, which compares weights so, whatever they are scored by.
    """
    check_rates("prune rate", rate)

    def groups_of(mask: Mask) -> dict[str, Shape]:
        shapes = {path: leaf.shape for path, leaf in leaves_by_path(mask)}
        given = {"*": output_axes} if isinstance(output_axes, int) else output_axes
        axes = by_path("output_axes", given, shapes)
        return {path: _group(path, shape, axes[path]) for path, shape in shapes.items()}

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        kept = _kept_by_group(mask, groups_of(mask))
        following = {path: totals(rate, each, levels) for path, (_, each) in kept.items()}
        return [
            {path: kept[path][0] * left[level] for path, left in following.items()}
            for level in range(levels)
        ]

    return Allocation(schedule, select_in_groups(groups_of))


def _group(path: str, shape: Shape, axes: int) -> Shape:
    """Gives the shape of the weights to one output: one wide along the last axes."""
    inputs = max(len(shape) - axes, 0)
    return block_shape("per_output", path, shape, (*[None] * inputs, *[1] * axes))


def _kept_by_group(mask: Mask, shapes: Mapping[str, Shape]) -> dict[str, tuple[int, int]]:
    """Counts the outputs of each leaf and the weights that each of them keeps."""
    kept: dict[str, Any] = {
        path: to_groups(np.asarray(leaf), shapes[path]).sum(axis=1)
        for path, leaf in leaves_by_path(mask)
    }
    uneven = [path for path, each in kept.items() if (each != each[:1]).any()]
    if uneven:
        raise MaskError(
            f"per_output: got a mask that keeps more weights of some outputs than of others in "
            f"{', '.join(uneven)}, expected as many of each; begin with the dense mask"
        )
    return {path: (len(each), int(each[:1].sum())) for path, each in kept.items()}
