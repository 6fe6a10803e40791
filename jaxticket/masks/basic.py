"""What one does with one mask: make, apply, count, shuffle."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray

from jaxticket.errors import MaskError
from jaxticket.keys import derive
from jaxticket.masks.prunable import Prunable, kernels, path_string
from jaxticket.masks.selection import first_highest
from jaxticket.types import Mask, Params


def ones(params: Params, prunable: Prunable = kernels) -> Mask:
    """Makes the dense mask: everything prunable is kept.

    Args:
      params: a pytree of arrays (or of anything with `shape` and `ndim`).
      prunable: which leaves may be pruned, by path.

    Returns:
      The mask; `None` where `prunable` is False.

    Raises:
      MaskError: if nothing is prunable.

    Example:
      >>> params = {"hidden": {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}}
      >>> ones(params)["hidden"]["bias"] is None
      True
    """
    mask = jax.tree_util.tree_map_with_path(
        lambda path, leaf: (
            jnp.ones(leaf.shape, bool) if prunable(path_string(path), leaf) else None
        ),
        params,
    )
    if not jax.tree.leaves(mask):
        raise MaskError(
            f"prunable: no leaf of {_paths(params)} is prunable; "
            "give a predicate such as masks.matching('*/kernel')"
        )
    return mask


def apply(params: Params, mask: Mask) -> Params:
    """Sets pruned weights to exactly zero: m ⊙ θ, also where θ is not finite.

    Args:
      params: float leaves.
      mask: `bool` leaves of the same shapes, or `None`.

    Returns:
      The masked params, dtypes unchanged.

    Example:
      >>> apply({"w": jnp.array([1.0, jnp.nan])}, {"w": jnp.array([True, False])})["w"].tolist()
      [1.0, 0.0]
    """
    return jax.tree.map(
        lambda p, m: p if m is None else jnp.where(m, p, jnp.zeros((), p.dtype)), params, mask
    )


def counts(mask: Mask) -> dict[str, int]:
    """Counts what each prunable leaf keeps, as Python integers on the host.

    Args:
      mask: concrete (not traced) `bool` leaves.

    Returns:
      Kept weights by path.

    Example:
      >>> counts({"w": jnp.array([True, False, True]), "b": None})
      {'w': 2}
    """
    return {path: int(np.count_nonzero(leaf)) for path, leaf in leaves_by_path(mask)}


def sizes(mask: Mask) -> dict[str, int]:
    """Counts what each prunable leaf could keep.

    Args:
      mask: leaves with a shape.

    Returns:
      Number of weights by path.

    Example:
      >>> sizes({"w": jnp.array([True, False, True]), "b": None})
      {'w': 3}
    """
    return {path: math.prod(leaf.shape) for path, leaf in leaves_by_path(mask)}


def density(mask: Mask) -> float:
    """Gives the fraction kept of what is prunable: ‖m‖₀ / |m|.

    Args:
      mask: concrete `bool` leaves.

    Returns:
      The density, between 0 and 1, exact to float64.

    Raises:
      MaskError: if no leaf is prunable.

    Example:
      >>> density({"w": jnp.array([True, False, True, True]), "b": None})
      0.75
    """
    total = sum(sizes(mask).values())
    if total == 0:
        raise MaskError("density: got a mask without prunable weights; make one with masks.ones")
    return sum(counts(mask).values()) / total


def shuffle(key: PRNGKeyArray, mask: Mask) -> Mask:
    """Shuffles each leaf of a mask: the layerwise random mask with the same counts.

    Args:
      key: a typed key.
      mask: `bool` leaves.

    Returns:
      A mask with as many kept weights in each leaf, at uniformly random places.

    Example:
      >>> mask = {"w": jnp.arange(100).reshape(10, 10) < 7}
      >>> counts(shuffle(jax.random.key(0), mask))
      {'w': 7}

    Source: the "random sparsity" control of 1803.03635, appendix; "layerwise rearrange" of
    2009.08576, section 5.
    """

    def permuted(path: tuple[Any, ...], leaf: Array) -> Array:
        chance = jax.random.bits(derive(key, path_string(path)), (leaf.size,), jnp.uint32)
        return first_highest(chance, jnp.sum(leaf, dtype=jnp.int32)).reshape(leaf.shape)

    return jax.tree_util.tree_map_with_path(permuted, mask)


def leaves_by_path(tree: Any, *, keep_none: bool = False) -> list[tuple[str, Any]]:
    """Lists leaves with their paths, `None` leaves too if `keep_none`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(
        tree, is_leaf=(lambda leaf: leaf is None) if keep_none else None
    )
    return [(path_string(path), leaf) for path, leaf in leaves]


def _paths(tree: Any) -> str:
    return ", ".join(path for path, _ in leaves_by_path(tree)) or "an empty tree"
