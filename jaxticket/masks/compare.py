"""Two masks of one network: what both keep, whether one holds the other, how alike they are."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxticket.errors import MaskError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask


def intersect(first: Mask, second: Mask) -> Mask:
    """Keeps what both masks keep.

    Args:
      first: a mask.
      second: a mask of the same structure.

    Returns:
      The elementwise `and`.

    Raises:
      MaskError: for masks of different structures or shapes.

    Example:
      >>> intersect({"w": jnp.array([True, True])}, {"w": jnp.array([True, False])})["w"].tolist()
      [True, False]
    """
    check_masks("intersect", first, second)
    return jax.tree.map(jnp.logical_and, first, second)


def is_subset(inner: Mask, outer: Mask) -> bool:
    """Says whether everything that `inner` keeps is kept by `outer` too.

    Args:
      inner: a mask.
      outer: a mask of the same structure.

    Returns:
      True if nested.

    Raises:
      MaskError: for masks of different structures or shapes.

    Example:
      >>> is_subset({"w": jnp.array([True, False])}, {"w": jnp.array([True, True])})
      True
    """
    check_masks("is_subset", inner, outer)
    excess = jax.tree.map(lambda i, o: bool(np.any(np.asarray(i) & ~np.asarray(o))), inner, outer)
    return not any(jax.tree.leaves(excess))


def overlap(first: Mask, second: Mask) -> Float[Array, ""]:
    """Gives the intersection over union of two masks: |a ∧ b| / |a ∨ b|.

    Args:
      first: a mask.
      second: a mask of the same structure.

    Returns:
      `float32[]`, 1 for equal masks; 1 also if both keep nothing.

    Raises:
      MaskError: for masks of different structures or shapes.

    Example:
      >>> float(overlap({"w": jnp.array([True, True])}, {"w": jnp.array([True, False])}))
      0.5
    """
    check_masks("overlap", first, second)
    pairs = list(zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))

    def total(combine: Any) -> Array:
        # Integers, since float32 counts exactly only up to 2^24.
        return sum((jnp.sum(combine(a, b), dtype=jnp.int32) for a, b in pairs), start=jnp.int32(0))

    union = total(jnp.logical_or)
    both = total(jnp.logical_and)
    return jnp.where(union == 0, 1.0, both / jnp.maximum(union, 1)).astype(jnp.float32)


def check_masks(who: str, first: Mask, second: Mask, *, some: bool = False) -> None:
    """Checks that two masks are of one network.

    Args:
      who: what compares them, for the message.
      first: a mask.
      second: another.
      some: whether there must be a prunable weight too.

    Raises:
      MaskError: if their structures or shapes differ, or nothing is prunable where `some` must be.

    Example:
      >>> check_masks("overlap", {"w": jnp.ones(2, bool)}, {"w": jnp.zeros(2, bool)})
    """
    ours, theirs = (
        {path: np.shape(leaf) for path, leaf in leaves_by_path(mask)} for mask in (first, second)
    )
    whole = [jax.tree.structure(mask) for mask in (first, second)]
    if ours != theirs or whole[0] != whole[1]:
        # Where only leaves that are not prunable differ, the others say nothing.
        shown = [shapes or "nothing" for shapes in (ours, theirs)] if ours != theirs else whole
        raise MaskError(
            f"{who}: got masks over {shown[0]} and over {shown[1]}, expected the same prunable "
            "leaves, of the same shapes; compare masks of one network"
        )
    if some and not any(math.prod(shape) for shape in ours.values()):
        raise MaskError(f"{who}: got masks without prunable weights; make them with masks.ones")
