"""Weights in groups: a leaf cut into blocks of one shape, and put together again."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Shaped

from jaxticket.allocate.base import Counts, Select, keep_highest
from jaxticket.allocate.leaves import map_prunable
from jaxticket.errors import MaskError, TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Scores

Shape = tuple[int, ...]

ShapeOf = Callable[[str, Shape], Shape]
"""`shape_of(path, shape) -> block`, the shape of a leaf's groups, with as many axes."""


def block_shape(who: str, path: str, shape: Shape, block: Sequence[int | None]) -> Shape:
    """Gives a leaf's blocks their full shape and checks that they fill the leaf.

    Args:
      who: the allocation's name, for messages.
      path: the leaf's path.
      shape: the leaf's shape.
      block: sizes along the last axes, `None` for the whole axis; 1 along the axes before.

    Returns:
      Sizes along all axes.

    Raises:
      TicketError: naming the leaf and the axis, where a size does not divide the axis or there
        are more sizes than axes.

    Example:
      >>> block_shape("blocks", "kernel", (3, 3, 8, 16), (4, None))
      (1, 1, 4, 16)
    """
    if len(block) > len(shape):
        raise TicketError(
            f"{who}: got {len(block)} sizes {tuple(block)} for {path}, expected at most "
            f"{len(shape)}, one for each axis of {shape}"
        )
    before = len(shape) - len(block)
    given = [1] * before + list(block)
    # Of an axis without weights no block is made, whatever its size.
    whole = tuple(max(n, 1) if size is None else size for n, size in zip(shape, given, strict=True))
    for axis, (length, size) in enumerate(zip(shape, whole, strict=True)):
        if length % size:
            raise TicketError(
                f"{who}: {size} does not divide the {length} weights of {path} along axis {axis} "
                f"of {shape}; choose a size that does, or leave {path} out of what is prunable"
            )
    return whole


def to_groups(leaf: Shaped[Any, "..."], block: Shape) -> Shaped[Any, "groups size"]:
    """Lays the blocks of a leaf out one after the other.

    Args:
      leaf: any array.
      block: the shape of a block, which divides the leaf's.

    Returns:
      `[groups, size]`, blocks and the weights in them in row-major order.

    Example:
      >>> to_groups(np.arange(8).reshape(2, 4), (2, 2)).tolist()
      [[0, 1, 4, 5], [2, 3, 6, 7]]
    """
    axes = range(leaf.ndim)
    grid = tuple(n // size for n, size in zip(leaf.shape, block, strict=True))
    cut = leaf.reshape([n for pair in zip(grid, block, strict=True) for n in pair])
    moved = cut.transpose([2 * axis for axis in axes] + [2 * axis + 1 for axis in axes])
    return moved.reshape(math.prod(grid), math.prod(block))


def from_groups(groups: Shaped[Any, "groups size"], shape: Shape, block: Shape) -> Any:
    """Puts the blocks of a leaf together again: the inverse of `to_groups`.

    Args:
      groups: `[groups, size]`.
      shape: the leaf's shape.
      block: the shape of a block.

    Returns:
      The leaf.

    Example:
      >>> leaf = np.arange(8).reshape(2, 4)
      >>> from_groups(to_groups(leaf, (2, 2)), (2, 4), (2, 2)).tolist()
      [[0, 1, 2, 3], [4, 5, 6, 7]]
    """
    grid = tuple(n // size for n, size in zip(shape, block, strict=True))
    order = [n for axis in range(len(shape)) for n in (axis, len(shape) + axis)]
    return groups.reshape(grid + block).transpose(order).reshape(shape)


def select_in_groups(groups_of: Callable[[Mask], Mapping[str, Shape]]) -> Select:
    """Makes a selection that keeps the highest scores of every group, as many in each.

    Args:
      groups_of: the shape of each leaf's groups, by path.

    Returns:
      `select(scores, mask, counts)`, with counts by leaf path.

    Example:
      >>> import jax.numpy as jnp
      >>> scores, mask = {"w": jnp.array([4.0, 3.0, 1.0, 2.0])}, {"w": jnp.ones(4, bool)}
      >>> select_in_groups(lambda mask: {"w": (2,)})(scores, mask, {"w": 2})["w"].tolist()
      [True, False, False, True]
    """

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        blocks = groups_of(mask)

        def chosen(path: str, score: Any, kept: Any) -> Any:
            rows, here = (to_groups(leaf, blocks[path]) for leaf in (score, kept))
            if not kept.size:
                return kept
            # In the midst of rounds a count need not be whole groups: it is rounded up.
            number = -(-counts[path] // here.shape[0])
            best = jax.vmap(lambda s, k: keep_highest(s, k, number))(rows, here)
            return from_groups(best, kept.shape, blocks[path])

        return map_prunable(chosen, scores, mask)

    return select


def group_counts(who: str, mask: Mask, shape_of: ShapeOf) -> dict[str, tuple[int, int]]:
    """Counts the groups that each leaf keeps, and the weights of one.

    Args:
      who: the allocation's name, for messages.
      mask: concrete `bool` leaves.
      shape_of: the shape of each leaf's groups.

    Returns:
      Groups kept and weights a group, by path.

    Raises:
      MaskError: naming leaves with groups that are kept in part.

    Example:
      >>> mask = {"w": np.array([[True, True], [False, False]])}
      >>> group_counts("units", mask, lambda path, shape: (1, 2))
      {'w': (1, 2)}
    """
    counts, partial = {}, []
    for path, leaf in leaves_by_path(mask):
        groups = to_groups(np.asarray(leaf), shape_of(path, leaf.shape))
        kept = groups.any(axis=1)
        counts[path] = int(kept.sum()), groups.shape[1]
        if not groups[kept].all():
            partial.append(path)
    if partial:
        raise MaskError(
            f"{who}: got a mask that keeps parts of groups in {', '.join(partial)}, expected "
            "whole ones; begin with the dense mask"
        )
    return counts
