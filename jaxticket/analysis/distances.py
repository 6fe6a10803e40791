"""How far apart two networks are: the angle between them, their distance, that of their masks."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket.analysis.comparable import check_alike
from jaxticket.masks.basic import apply, sizes
from jaxticket.masks.check import check
from jaxticket.masks.compare import check_masks, intersect
from jaxticket.types import Mask, Params


def angular_distance(
    first: Params, second: Params, first_mask: Mask, second_mask: Mask
) -> Float[Array, ""]:
    """Gives the angle between two networks where both keep weights: d = 2∠(θ₁ ⊙ m, θ₂ ⊙ m)/π.

    m = m₁ ⊙ m₂, and of the leaves only the prunable ones. 0 for the same direction, 1 for
    orthogonal ones, 2 for opposite ones.

    Args:
      first: θ₁, float leaves.
      second: θ₂, of the same shapes and dtypes.
      first_mask: m₁.
      second_mask: m₂.

    Returns:
      `float[]`; NaN where either is zero on all of m, so that there is no angle.

    Raises:
      TicketError: for networks or masks of other shapes.

    Example:
      >>> kept = {"w": jnp.ones(2, bool)}
      >>> first, second = {"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([1.0, 1.0])}
      >>> round(float(angular_distance(first, second, kept, kept)), 6)
      0.5

    Source: 2106.06955.
    """
    check_alike(first, second, "angular distance, first and second")
    check_masks("angular distance, first_mask and second_mask", first_mask, second_mask)
    check(first_mask, first)
    both = intersect(first_mask, second_mask)
    ours, theirs = (_prunable(apply(params, both), both) for params in (first, second))
    ours, theirs = (_scaled(leaves, 1 / _norm(leaves)) for leaves in (ours, theirs))
    # The arc cosine loses half of all digits where the angle is small; Kahan's form loses none.
    apart, along = (
        _norm([one + sign * other for one, other in zip(ours, theirs, strict=True)])
        for sign in (-1, 1)
    )
    return 4 / jnp.pi * jnp.arctan2(apart, along)


def l2_distance(first: Params, second: Params, mask: Mask = None) -> Float[Array, ""]:
    """Gives the Euclidean distance of two networks: ‖θ₁ − θ₂‖, over all weights or over a mask.

    Args:
      first: θ₁, float leaves.
      second: θ₂, of the same shapes and dtypes.
      mask: which weights count, those of leaves that are not prunable not among them; all leaves
        in full if `None`.

    Returns:
      `float[]`.

    Raises:
      TicketError: for networks of other shapes.

    Example:
      >>> first, second = {"w": jnp.array([3.0, 1.0])}, {"w": jnp.array([0.0, 5.0])}
      >>> mask = {"w": jnp.array([True, False])}
      >>> float(l2_distance(first, second)), float(l2_distance(first, second, mask))
      (5.0, 3.0)
    """
    return _distance(first, second, mask, "l2 distance, first and second")


def relative_distance(
    first: Params, second: Params, first_start: Params, second_start: Params, mask: Mask = None
) -> Float[Array, ""]:
    """Gives the distance of two trained networks in units of how far they travelled in the mean.

    ‖θ₁ − θ₂‖ / ½ (‖θ₁ − s₁‖ + ‖θ₂ − s₂‖) with s the weights that each was trained from.

    Args:
      first: θ₁, float leaves.
      second: θ₂, of the same shapes and dtypes.
      first_start: s₁, likewise.
      second_start: s₂, likewise.
      mask: as in `l2_distance`.

    Returns:
      `float[]`; √2 for travels of one length at right angles from one start; NaN or infinite
      where neither has travelled.

    Raises:
      TicketError: for networks of other shapes.

    Example:
      >>> at = lambda *w: {"w": jnp.array(w)}
      >>> round(float(relative_distance(at(1.0, 0.0), at(0.0, 1.0), at(0.0, 0.0), at(0.0, 0.0))), 4)
      1.4142

    Source: this project's definition, after the comparison of distances with travel in 1912.05671
    (unverified).
    """
    apart, *travelled = (
        _distance(one, other, mask, f"relative distance, {names}")
        for one, other, names in (
            (first, second, "first and second"),
            (first, first_start, "first and first_start"),
            (second, second_start, "second and second_start"),
        )
    )
    return 2 * apart / (travelled[0] + travelled[1])


def hamming_distance(first: Mask, second: Mask) -> Float[Array, ""]:
    """Gives the share of the prunable weights of which one mask keeps and the other does not.

    The intersection over union of two masks is `masks.overlap`.

    Args:
      first: a mask.
      second: a mask of the same structure.

    Returns:
      `float32[]`, 0 for equal masks, 1 for complements.

    Raises:
      MaskError: for masks of different structures or shapes, or without prunable weights.

    Example:
      >>> float(hamming_distance({"w": jnp.array([True, True])}, {"w": jnp.array([True, False])}))
      0.5
    """
    check_masks("hamming distance", first, second, some=True)
    differ = jax.tree.leaves(jax.tree.map(jnp.logical_xor, first, second))
    # Integers, since float32 counts exactly only up to 2^24.
    number = sum((jnp.sum(leaf, dtype=jnp.int32) for leaf in differ), start=jnp.int32(0))
    return number.astype(jnp.float32) / sum(sizes(first).values())


def _distance(first: Params, second: Params, mask: Mask, names: str) -> Array:
    check_alike(first, second, names)
    difference = jax.tree.map(jnp.subtract, first, second)
    if mask is None:
        return _norm(jax.tree.leaves(difference))
    check(mask, first)
    return _norm(_prunable(apply(difference, mask), mask))


def _prunable(params: Params, mask: Mask) -> list[Array]:
    chosen = jax.tree.map(lambda p, m: None if m is None else p, params, mask)
    return jax.tree.leaves(chosen)


def _scaled(leaves: list[Array], factor: Array) -> list[Array]:
    return [leaf * factor for leaf in leaves]


def _norm(leaves: list[Array]) -> Array:
    return jnp.sqrt(sum((jnp.sum(jnp.square(leaf)) for leaf in leaves), start=jnp.float32(0)))
