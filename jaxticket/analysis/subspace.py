"""The subspace that a mask leaves: its dimension, random directions in it, the scale of filters.

Everywhere here a mask says which coordinates are free: `bool` leaves, True = free; `None`, where
all of a leaf is. Weights that are not prunable, such as biases, are `None` in a network's own mask
and so take part; `kept_only` leaves them out.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxticket import masks
from jaxticket.analysis.projection import dot
from jaxticket.types import Mask, Params


def dimension(params: Params, mask: Mask) -> Int[Array, ""]:
    """Counts the free coordinates: d.

    Args:
      params: leaves with a shape.
      mask: which coordinates are free.

    Returns:
      `int32[]`.

    Example:
      >>> params = {"kernel": jnp.zeros((2, 2)), "bias": jnp.zeros(2)}
      >>> int(dimension(params, {"kernel": jnp.eye(2) > 0, "bias": None}))
      4
    """
    free = jax.tree.map(
        lambda p, m: jnp.int32(math.prod(p.shape)) if m is None else jnp.sum(m, dtype=jnp.int32),
        params,
        mask,
    )
    return jnp.sum(jnp.stack(jax.tree.leaves(free)), dtype=jnp.int32)


def kept_only(params: Params, mask: Mask) -> Mask:
    """Makes a mask in which what is not prunable is not free either.

    Args:
      params: leaves with a shape.
      mask: with `None` where a leaf is not prunable.

    Returns:
      The mask, `bool` everywhere.

    Example:
      >>> kept_only({"b": jnp.ones(2)}, {"b": None})["b"].tolist()
      [False, False]
    """
    return jax.tree.map(lambda p, m: jnp.zeros(p.shape, bool) if m is None else m, params, mask)


def random_signs(key: PRNGKeyArray, params: Params, mask: Mask) -> Params:
    """Draws a vector of independent signs, ±1 on free coordinates and 0 elsewhere (Rademacher).

    Args:
      key: a typed key.
      params: float leaves, for their shapes and dtypes.
      mask: which coordinates are free.

    Returns:
      A tree as the params.

    Example:
      >>> drawn = random_signs(jax.random.key(0), {"w": jnp.ones(3)}, {"w": jnp.arange(3) > 0})
      >>> jnp.abs(drawn["w"]).tolist()
      [0.0, 1.0, 1.0]
    """
    return _draw(jax.random.rademacher, key, params, mask)


def random_direction(key: PRNGKeyArray, params: Params, mask: Mask) -> Params:
    """Draws a unit vector, uniform on the sphere of the free coordinates.

    Args:
      key: a typed key.
      params: float leaves, for their shapes and dtypes.
      mask: which coordinates are free, at least one.

    Returns:
      A tree as the params, of length 1; NaN if nothing is free.

    Example:
      >>> drawn = random_direction(jax.random.key(0), {"w": jnp.ones(3)}, {"w": jnp.arange(3) > 1})
      >>> jnp.abs(drawn["w"]).round(3).tolist()
      [0.0, 0.0, 1.0]
    """
    drawn = _draw(jax.random.normal, key, params, mask)
    return scaled(drawn, 1 / norm(drawn))


def filter_scales(params: Params, mask: Mask) -> Params:
    """Gives each weight the root mean square of its filter's free weights.

    A filter is what leads into one unit: everything at one place of a leaf's last axis. Leaves
    with fewer than two axes have no filters: their scale is 0, so that nothing moves them. A
    direction whose coordinates are independent, times these scales, has in every filter the
    filter's own norm, in its mean square; the normalisation of 1712.09913 makes it so in each
    draw, which would leave no measure in which the volume is exact.

    Args:
      params: θ, zero where pruned.
      mask: which coordinates are free.

    Returns:
      Scales as the params; 0 where not free, and for filters without a weight that is not zero.

    Example:
      >>> params = {"kernel": jnp.array([[1.0, 2.0], [7.0, 0.0]]), "bias": jnp.ones(2)}
      >>> found = filter_scales(params, {"kernel": jnp.array([[1, 1], [1, 0]]) > 0, "bias": None})
      >>> found["kernel"].tolist(), found["bias"].tolist()
      ([[5.0, 2.0], [5.0, 0.0]], [0.0, 0.0])

    Source: this project's definition, after 1712.09913, section 4 (unverified).
    """

    def of_leaf(leaf: Array, free: Array | None) -> Array:
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        free = jnp.ones(leaf.shape, bool) if free is None else free
        axes = tuple(range(leaf.ndim - 1))
        squares = jnp.sum(jnp.where(free, leaf * leaf, 0), axes, keepdims=True)
        number = jnp.maximum(jnp.sum(free, axes, keepdims=True, dtype=jnp.int32), 1)
        return jnp.where(free, jnp.sqrt(squares / number.astype(leaf.dtype)), 0)

    return jax.tree.map(of_leaf, params, mask)


def along(params: Params, direction: Params, step: Any) -> Params:
    """Gives a point of a ray: θ + s φ.

    Args:
      params: θ.
      direction: φ, of the same structure.
      step: s, `float[]`.

    Returns:
      The params there, dtypes unchanged.

    Example:
      >>> along({"w": jnp.ones(2)}, {"w": jnp.array([1.0, 0.0])}, 3.0)["w"].tolist()
      [4.0, 1.0]
    """
    return jax.tree.map(lambda p, v: p + jnp.asarray(step, p.dtype) * v, params, direction)


def scaled(vector: Params, factor: Any) -> Params:
    """Multiplies a vector by a number, dtypes unchanged.

    Args:
      vector: float leaves.
      factor: `float[]`.

    Returns:
      The product.

    Example:
      >>> scaled({"w": jnp.ones(2)}, 3.0)["w"].tolist()
      [3.0, 3.0]
    """
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(factor, leaf.dtype), vector)


def norm(vector: Params) -> Float[Array, ""]:
    """Gives the length of a vector: ‖v‖ over all leaves.

    Args:
      vector: float leaves.

    Returns:
      `float[]`.

    Example:
      >>> float(norm({"a": jnp.array([3.0]), "b": jnp.array([4.0])}))
      5.0
    """
    return jnp.sqrt(dot(vector, vector))


def _draw(how: Any, key: PRNGKeyArray, params: Params, mask: Mask) -> Params:
    # One draw for all leaves, since compiling random draws takes long.
    flat, unravel = ravel_pytree(params)
    return masks.apply(unravel(how(key, flat.shape, flat.dtype)), mask)
