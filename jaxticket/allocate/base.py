"""What an allocation is, and the exact selection that all of them share."""

import itertools
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Num, Shaped

from jaxticket.allocate.rates import Rate, as_number, check_rates
from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.masks.selection import first_highest
from jaxticket.types import Mask, Scores

AnyArray = Array | np.ndarray

Counts = dict[str, Any]
"""How many weights are kept: Python integers on the host, by leaf path, or `{"*": total}`; or what
they cost, `{"cost": total}`."""

Select = Callable[[Scores, Mask, Counts], Mask]
"""`select(scores, mask, counts) -> mask`, a subset of `mask`."""


def count_kept(mask: Mask) -> Counts:
    """Counts what a mask keeps, in the terms of every allocation that counts weights.

    Args:
      mask: `bool` leaves, possibly traced.

    Returns:
      `int32[]` by leaf path, and their sum as `"*"`.

    Example:
      >>> kept = count_kept({"a": jnp.ones(3, bool), "b": jnp.zeros(2, bool), "c": None})
      >>> {name: int(number) for name, number in kept.items()}
      {'a': 3, 'b': 0, '*': 3}
    """
    by_path = {path: jnp.sum(leaf, dtype=jnp.int32) for path, leaf in leaves_by_path(mask)}
    return by_path | {"*": sum(by_path.values(), start=jnp.int32(0))}


class Allocation(NamedTuple):
    """How many weights go at each level, and from where.

    Attributes:
      schedule: `schedule(mask, levels) -> list of counts`, what each level keeps, beginning with
        what `mask` keeps: integers on the host, in this allocation's terms.
      select: `select(scores, mask, counts) -> mask`, pure; `counts` may be traced, so that one
        compilation serves all levels.
      kept: `kept(mask) -> counts`, what a mask keeps in this allocation's terms, traced; other
        terms may be among them.
      exact: whether masks keep what the schedule says, and not merely at most that.
    """

    schedule: Callable[[Mask, int], list[Counts]]
    select: Select
    kept: Callable[[Mask], Counts] = count_kept
    exact: bool = True


def totals(rate: Rate, kept: int, levels: int) -> list[int]:
    """Lists how many weights each level keeps in all.

    Args:
      rate: the share that goes at each level, or the density of every level from level 1 on.
      kept: what level 0 keeps, of which densities are fractions.
      levels: how many, level 0 included.

    Returns:
      One integer a level, exact: rates and densities are read as the decimals that were written.

    Raises:
      TicketError: for a number outside (0, 1) or none at all, fewer densities than levels, or a
        density that does not fall.

    Example:
      >>> totals(0.2, 1000, 3), totals((0.5, 0.05), 1000, 3)
      ([1000, 800, 640], [1000, 500, 50])
    """
    check_rates("prune rate", rate)
    share = as_number(rate)
    if share is not None:
        return list(itertools.islice(_shrinking(share, kept), levels))
    given: Any = rate
    densities = [1.0, *given]
    if len(densities) < levels:
        raise TicketError(
            f"densities: got {len(given)}, expected {levels - 1}, one for every level after the "
            "dense one"
        )
    falling = all(before > after > 0 for before, after in itertools.pairwise(densities))
    if not falling:
        raise TicketError(
            f"densities: got {list(given)}, expected numbers between 0 and 1, each below the one "
            "before"
        )
    return [round(Fraction(str(density)) * kept) for density in densities[:levels]]


def _shrinking(rate: float | Fraction, kept: int) -> Iterator[int]:
    while True:
        yield kept
        kept = remaining(kept, rate)


def remaining(kept: int, rate: float | Fraction) -> int:
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


def keep_highest(
    scores: Num[AnyArray, " n"], mask: Bool[AnyArray, " n"], keep: Int[Array, ""] | int
) -> Bool[Array, " n"]:
    """Keeps exactly the `keep` highest scores among what the mask keeps.

    Ties break by the lower index; NaN ranks lowest. The count is exact whatever the scores.

    Args:
      scores: `float[n]`, JAX or NumPy; whole numbers as `ordered_bits` takes them.
      mask: `bool[n]`; pruned weights stay pruned.
      keep: how many, possibly traced; at most what the mask keeps.

    Returns:
      `bool[n]`.

    Example:
      >>> keep_highest(jnp.array([1.0, 3.0, 3.0, 9.0]), jnp.array([True, True, True, False]), 1)
      Array([False,  True, False, False], dtype=bool)
    """
    ranks = jnp.where(mask, ordered_bits(scores), 0)
    return first_highest(ranks, keep) & mask


def ordered_bits(scores: Num[AnyArray, " n"]) -> Shaped[Array, " n"]:
    """Maps numbers to unsigned integers of the same order, NaN to 1.

    Args:
      scores: `float[n]`, JAX or NumPy, in the precision that JAX gives them: float32 without
        `jax.enable_x64`. Whole numbers are made floats of that precision, in which those beyond
        2^24 (2^53) can tie.

    Returns:
      `uint32[n]`, `uint64[n]` for `float64`; never 0 nor the greatest number, which stay free.

    Example:
      >>> ordered_bits(jnp.array([2.0, -1.0, 0.0, -0.0, jnp.nan])).argsort().tolist()
      [4, 1, 2, 3, 0]
    """
    # The bits of what is no float, or of NumPy's float64, are not those that are shifted below.
    scores = jnp.asarray(scores)
    if not jnp.issubdtype(scores.dtype, jnp.floating):
        scores = scores.astype(jnp.result_type(float))
    if scores.dtype.itemsize < 4:
        scores = scores.astype(jnp.float32)
    unsigned = jnp.uint64 if scores.dtype.itemsize == 8 else jnp.uint32
    # Adding zero makes -0.0 the 0.0 that it ties with.
    bits = jax.lax.bitcast_convert_type(scores + jnp.zeros((), scores.dtype), unsigned)
    top = jnp.asarray(1, unsigned) << (8 * scores.dtype.itemsize - 1)
    ordered = jnp.where(bits >= top, ~bits, bits | top)
    return jnp.where(jnp.isnan(scores), jnp.asarray(1, unsigned), ordered)
