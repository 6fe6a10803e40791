"""Exact selection of the highest of many numbers, fast where sorting pairs is not."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, UInt

from jaxticket.errors import TicketError


# The loop and the condition are new functions in each call, for which JAX would compile each time.
@functools.partial(jax.jit, inline=True)
def first_highest(values: UInt[Array, " n"], number: Int[Array, ""] | int) -> Bool[Array, " n"]:
    """Marks the `number` highest values, the lower index first among equal ones.

    The threshold is found bit by bit, a pass over the values for each of theirs, and a running
    count settles the ties at it. On a CPU that takes a third of the time of sorting the values,
    and less of that of sorting pairs of value and index.

    Args:
      values: unsigned integers.
      number: how many, 0 to n, possibly traced.

    Returns:
      `bool[n]` with exactly `number` true.

    Raises:
      TicketError: for values of another type.

    Example:
      >>> first_highest(jnp.array([5, 7, 5, 5], jnp.uint32), 3).tolist()
      [True, True, True, False]
    """
    if not jnp.issubdtype(values.dtype, jnp.unsignedinteger):
        raise TicketError(
            f"first_highest: got {values.dtype}, expected unsigned integers; "
            "allocate.keep_highest selects by any numbers"
        )
    threshold = _threshold(values, number)
    above, at = values > threshold, values == threshold
    missing = number - jnp.sum(above, dtype=jnp.int32)
    # The running count costs as much as all passes together, and is only needed where ties are cut.
    return jax.lax.cond(
        jnp.sum(at, dtype=jnp.int32) == missing,
        lambda: above | at,
        lambda: above | (at & (_running_count(at) <= missing)),
    )


def _running_count(marked: Bool[Array, " n"]) -> Int[Array, " n"]:
    """Counts what is marked up to each place.

    `jnp.cumsum` is the same on CPUs and GPUs; for TPUs it becomes windows of all sizes, whose
    arithmetic XLA's analysis (`costs.flops_of`) counts as the square of the length.
    """
    return jax.lax.associative_scan(jnp.add, marked.astype(jnp.int32))


def _threshold(values: UInt[Array, " n"], number: Int[Array, ""] | int) -> UInt[Array, ""]:
    """Finds the largest t that at least `number` values reach."""
    bits = 8 * values.dtype.itemsize

    def pass_over(index: Array, threshold: Array) -> Array:
        bit = jnp.asarray(1, values.dtype) << (bits - 1 - index).astype(values.dtype)
        higher = threshold | bit
        reached = jnp.sum(values >= higher, dtype=jnp.int32) >= number
        return jnp.where(reached, higher, threshold)

    return jax.lax.fori_loop(0, bits, pass_over, jnp.zeros((), values.dtype))
