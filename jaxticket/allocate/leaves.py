"""What allocations do with leaves: find them by path, map them, lay them out in a row."""

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool

from jaxticket.errors import MaskError, TicketError
from jaxticket.masks.prunable import matching, path_string
from jaxticket.types import Mask, Scores

Value = TypeVar("Value")


def by_path(
    what: str, values: Mapping[str, Value], paths: Iterable[str], *, every: bool = True
) -> dict[str, Value]:
    """Gives each leaf the value of the last pattern that matches its path.

    Args:
      what: what the values are called where the user wrote them.
      values: by shell-style pattern of the leaf's path.
      paths: the prunable leaves.
      every: whether each leaf must have a value.

    Returns:
      The values by path.

    Raises:
      TicketError: for patterns that match no leaf and, if `every`, leaves without a pattern.

    Example:
      >>> by_path("rates", {"*": 0.2, "output/*": 0.1}, ["hidden/kernel", "output/kernel"])
      {'hidden/kernel': 0.2, 'output/kernel': 0.1}
    """
    paths = list(paths)
    found = {p: v for p in paths for pattern, v in values.items() if matching(pattern)(p, None)}
    idle = [pattern for pattern in values if not any(matching(pattern)(p, None) for p in paths)]
    unmatched = [path for path in paths if every and path not in found]
    if unmatched or idle:
        raise TicketError(
            f"{what} {dict(values)}: no pattern for {unmatched}, no layer for {idle}; "
            f"the prunable leaves are {paths}"
        )
    return found


def map_prunable(function: Callable[[str, Any, Any], Any], scores: Scores, mask: Mask) -> Mask:
    """Makes a mask leaf by leaf.

    Args:
      function: `function(path, scores, mask) -> mask` of one leaf.
      scores: float leaves; those of leaves that are not prunable are ignored.
      mask: what is kept now.

    Returns:
      The new mask, `None` where the old one is.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, s, m: None if m is None else function(path_string(path), s, m), scores, mask
    )


class Leaf(NamedTuple):
    """A prunable leaf on its way through a selection."""

    path: str
    scores: Array
    mask: Array


def prunable_leaves(scores: Scores, mask: Mask) -> list[Leaf]:
    """Lists the prunable leaves in their order.

    Args:
      scores: float leaves; those of leaves that are not prunable are left out.
      mask: what is kept now.

    Returns:
      Path, scores and mask of each.

    Raises:
      MaskError: if there is none.
    """
    leaves: list[Leaf] = []

    def add(path: str, score: Any, kept: Any) -> Any:
        leaves.append(Leaf(path, score, kept))
        return kept

    map_prunable(add, scores, mask)
    if not leaves:
        raise MaskError("select: got a mask without prunable weights; make one with masks.ones")
    return leaves


def split(row: Bool[Array, " n"], like: Mask) -> Mask:
    """Cuts a row of all leaves, one after the other, back into a mask.

    Args:
      row: `bool[n]`, the flat leaves in their order.
      like: a mask of the shapes that are wanted.

    Returns:
      The mask.

    Example:
      >>> split(jnp.array([True, False, True]), {"a": jnp.ones(1), "b": jnp.ones((2, 1))})["b"]
      Array([[False],
             [ True]], dtype=bool)
    """
    leaves, structure = jax.tree.flatten(like)
    ends = list(itertools.accumulate(leaf.size for leaf in leaves))
    parts = jnp.split(row, ends[:-1])
    return jax.tree.unflatten(
        structure, [part.reshape(leaf.shape) for part, leaf in zip(parts, leaves, strict=True)]
    )
