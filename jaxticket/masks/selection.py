"""Exact selection of the highest of many numbers, fast where sorting pairs is not."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt


def first_highest(values: UInt[Array, " n"], number: Int[Array, ""] | int) -> Bool[Array, " n"]:
    """Marks the `number` highest values, the lower index first among equal ones.

    One array is sorted, not pairs of value and index, which on a CPU is several times faster:
    the sorted array gives the threshold, and a running count settles the ties at it.

    Args:
      values: unsigned integers.
      number: how many, 0 to n, possibly traced.

    Returns:
      `bool[n]` with exactly `number` true.

    Example:
      >>> first_highest(jnp.array([5, 7, 5, 5], jnp.uint32), 3).tolist()
      [True, True, True, False]
    """
    size = values.shape[0]
    place = jnp.clip(size - jnp.asarray(number, jnp.int32), 0, size - 1)
    threshold = jnp.sort(values)[place]
    above, at = values > threshold, values == threshold
    missing = number - jnp.sum(above, dtype=jnp.int32)
    return above | (at & (jnp.cumsum(at, dtype=jnp.int32) <= missing))
