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

    The threshold is found bit by bit, a pass over the values for each of theirs, and so is the
    place at which ties at it are cut. On a CPU that takes a third to a half of the time of sorting
    the values, and less of that of sorting pairs of value and index.

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
    threshold = _threshold(values, number, 8 * values.dtype.itemsize)
    above, at = values > threshold, values == threshold
    missing = number - jnp.sum(above, dtype=jnp.int32)
    return jax.lax.cond(
        jnp.sum(at, dtype=jnp.int32) == missing,
        lambda: above | at,
        lambda: above | _first(at, missing),
    )


def _first(marked: Bool[Array, " n"], number: Int[Array, ""]) -> Bool[Array, " n"]:
    """Marks the first `number` of what is marked.

    Not by a running count, which XLA unrolls into as many stages as the length has bits: that took
    most of the time of compiling a program that prunes.
    """
    size = marked.shape[0]
    # The earlier a place the higher, so that these are the highest again, and none of them tie.
    places = jnp.where(marked, size - jnp.arange(size, dtype=jnp.uint32), 0).astype(jnp.uint32)
    # Of so many bits that the threshold of none at all is beyond every place.
    return marked & (places >= _threshold(places, number, (size + 1).bit_length()))


def _threshold(
    values: UInt[Array, " n"], number: Int[Array, ""] | int, bits: int
) -> UInt[Array, ""]:
    """Finds the largest t of so many bits that at least `number` values reach."""

    def pass_over(index: Array, threshold: Array) -> Array:
        bit = jnp.asarray(1, values.dtype) << (bits - 1 - index).astype(values.dtype)
        higher = threshold | bit
        reached = jnp.sum(values >= higher, dtype=jnp.int32) >= number
        return jnp.where(reached, higher, threshold)

    return jax.lax.fori_loop(0, bits, pass_over, jnp.zeros((), values.dtype))
