"""What an allocation is, and the exact selection that all of them share."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Shaped

from jaxticket.errors import TicketError
from jaxticket.masks.selection import first_highest
from jaxticket.types import Mask, Scores

Counts = dict[str, Any]
"""How many weights are kept: Python integers on the host, by leaf path, or `{"*": total}`."""


class Allocation(NamedTuple):
    """How many weights go at each level, and from where.

    Attributes:
      start: `start(mask) -> counts`, what a mask keeps, in this allocation's terms.
      following: `following(counts) -> counts`, what the next level keeps; integers on the host.
      select: `select(scores, mask, counts) -> mask`, pure; `counts` may be traced, so that one
        compilation serves all levels.
    """

    start: Callable[[Mask], Counts]
    following: Callable[[Counts], Counts]
    select: Callable[[Scores, Mask, Counts], Mask]


def remaining(kept: int, rate: float) -> int:
    """Gives what is left when a share of the kept weights goes: k − round(p k), exactly.

    The rate is read as the decimal that the user wrote (0.2 is 1/5, not the nearest binary
    fraction), halves round to even, and no float takes part.

    Args:
      kept: weights kept now.
      rate: share that goes, in (0, 1).

    Returns:
      Weights kept next.

    Example:
      >>> remaining(235_200, 0.2), remaining(25, 0.1)
      (188160, 23)
    """
    return kept - round(Fraction(str(rate)) * kept)


def check_rate(name: str, rate: float) -> None:
    """Checks that a rate is a share.

    Args:
      name: what the rate is called where the user wrote it.
      rate: the rate.

    Raises:
      TicketError: outside (0, 1).

    Example:
      >>> check_rate("prune rate", 0.2)
    """
    if not 0 < rate < 1:
        raise TicketError(
            f"{name}: got {rate}, expected a share of the remaining weights between 0 and 1, "
            "both excluded, such as 0.2"
        )


def keep_highest(
    scores: Float[Array, " n"], mask: Bool[Array, " n"], keep: Int[Array, ""] | int
) -> Bool[Array, " n"]:
    """Keeps exactly the `keep` highest scores among what the mask keeps.

    Ties break by the lower index; NaN ranks lowest. The count is exact whatever the scores.

    Args:
      scores: `float[n]`.
      mask: `bool[n]`; pruned weights stay pruned.
      keep: how many, possibly traced; at most what the mask keeps.

    Returns:
      `bool[n]`.

    Example:
      >>> keep_highest(jnp.array([1.0, 3.0, 3.0, 9.0]), jnp.array([True, True, True, False]), 1)
      Array([False,  True, False, False], dtype=bool)
    """
    ranks = jnp.where(mask, _ordered_bits(scores), 0)
    return first_highest(ranks, keep) & mask


def _ordered_bits(scores: Float[Array, " n"]) -> Shaped[Array, " n"]:
    """Maps floats to unsigned integers of the same order, NaN to 1; 0 stays free."""
    if scores.dtype.itemsize < 4:
        scores = scores.astype(jnp.float32)
    unsigned = jnp.uint64 if scores.dtype.itemsize == 8 else jnp.uint32
    # Adding zero makes -0.0 the 0.0 that it ties with.
    bits = jax.lax.bitcast_convert_type(scores + jnp.zeros((), scores.dtype), unsigned)
    top = jnp.asarray(1, unsigned) << (8 * scores.dtype.itemsize - 1)
    ordered = jnp.where(bits >= top, ~bits, bits | top)
    return jnp.where(jnp.isnan(scores), jnp.asarray(1, unsigned), ordered)
