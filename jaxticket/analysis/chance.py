"""The overlap of two masks against that of independent ones, with its exact interval."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.masks.compare import check_masks
from jaxticket.types import Mask

NEGLIGIBLE = 1e-12
"""Probability that is left out at either end of a leaf's distribution."""


class ChanceOverlap(NamedTuple):
    """How many weights two masks share, and how many independent ones of their counts would.

    Attributes:
      names: of the prunable leaves, and last `total`.
      shared: `int64[*pairs, leaves + 1]`, |m₁ ∧ m₂|.
      expected: `float64[*pairs, leaves + 1]`, its mean by chance.
      low: `int64[*pairs, leaves + 1]`, the lower end of the interval by chance.
      high: `int64[*pairs, leaves + 1]`, the upper end, which is inside.
    """

    names: tuple[str, ...]
    shared: Int[np.ndarray, "*pairs rows"]
    expected: Float[np.ndarray, "*pairs rows"]
    low: Int[np.ndarray, "*pairs rows"]
    high: Int[np.ndarray, "*pairs rows"]


def overlap_against_chance(
    first: Mask, second: Mask, confidence: float = 0.95, *, axes: int = 0
) -> ChanceOverlap:
    """Compares the overlap of two masks with that of masks drawn independently of each other.

    Of two masks that keep K₁ and K₂ of a leaf's N weights, independent and uniformly random, the
    number of shared weights is hypergeometric: P(x) = C(K₁, x) C(N − K₁, K₂ − x) / C(N, K₂). The
    total is the sum over leaves with the counts of each leaf as they are, whose distribution is
    the convolution of theirs: two masks that prune the same layers are not alike by that alone.
    Intervals are central: at most (1 − confidence)/2 lies beyond either end, so that, for whole
    numbers, they hold at least `confidence`. Masks of which one was made from the other, such as
    those of two levels of one ticket, are not independent and share all that they can.

    Args:
      first: concrete `bool[*pairs, ...]` leaves, of one network or of many; the law is SciPy's, on
        the host.
      second: a mask of the same structure.
      confidence: that the interval holds at least, in (0, 1).
      axes: how many leading axes are those of pairs, such as levels and replicates.

    Returns:
      A row for every leaf and for the total.

    Raises:
      MaskError: for masks of different structures or shapes, or without prunable weights.
      TicketError: for a confidence outside (0, 1).

    Example:
      >>> first, second = np.arange(100) < 50, np.arange(100) % 2 < 1
      >>> found = overlap_against_chance({"w": first}, {"w": second})
      >>> found.shared.tolist(), found.expected.tolist(), found.low.tolist(), found.high.tolist()
      ([25, 25], [25.0, 25.0], [20, 20], [30, 30])

    Source: this project's definition; the law is exact, but for rounding (1e-9) and `NEGLIGIBLE`.
    """
    check_masks("overlap against chance", first, second, some=True)
    if not 0 < confidence < 1:
        raise TicketError(f"confidence: got {confidence}, expected a number in (0, 1)")
    leaves = {
        path: (_flat(ours, axes), _flat(theirs, axes))
        for (path, ours), (_, theirs) in zip(
            leaves_by_path(first), leaves_by_path(second), strict=True
        )
    }
    number = len(next(iter(leaves.values()))[0])
    tail = (1 - confidence) / 2
    each = [_of_pair([(a[n], b[n]) for a, b in leaves.values()], tail) for n in range(number)]
    population = np.shape(jax.tree.leaves(first)[0])[:axes]
    columns = (np.array(of).reshape(*population, -1) for of in zip(*each, strict=True))
    return ChanceOverlap((*leaves, "total"), *columns)


def _flat(leaf: Any, axes: int) -> np.ndarray:
    """Puts the pairs of a population on one axis, and all weights of a leaf on another."""
    leaf = np.asarray(leaf)
    return leaf.reshape(math.prod(leaf.shape[:axes]), math.prod(leaf.shape[axes:]))


def _of_pair(leaves: Sequence[tuple[np.ndarray, np.ndarray]], tail: float) -> list[tuple[Any, ...]]:
    """Compares one pair, leaf by leaf: the columns of `ChanceOverlap`."""
    rows, total = [], _Law(0, np.ones(1))
    for ours, theirs in leaves:
        size, kept, others = ours.size, int(ours.sum()), int(theirs.sum())
        law = _hypergeometric(size, kept, others)
        rows.append(
            (int((ours & theirs).sum()), kept * others / max(size, 1), *_central(law, tail))
        )
        total = _sum(total, law)
    shared, expected, *_ = zip(*rows, strict=True)
    rows.append((sum(shared), sum(expected), *_central(total, tail)))
    return list(zip(*rows, strict=True))


class _Law(NamedTuple):
    """Probabilities of consecutive whole numbers, from the least one on."""

    least: int
    probabilities: np.ndarray


def _hypergeometric(size: int, kept: int, others: int) -> _Law:
    from scipy import stats

    if size == 0:
        return _Law(0, np.ones(1))
    numbers = np.arange(max(0, kept + others - size), min(kept, others) + 1)
    # SciPy's pmf takes minutes where its logarithm takes milliseconds, which rounds to 1e-9.
    probabilities = np.exp(stats.hypergeom.logpmf(numbers, size, kept, others))
    probabilities /= probabilities.sum()
    inside = np.cumsum(probabilities) > NEGLIGIBLE
    inside &= np.cumsum(probabilities[::-1])[::-1] > NEGLIGIBLE
    return _Law(int(numbers[inside][0]), probabilities[inside])


def _sum(first: _Law, second: _Law) -> _Law:
    from scipy import signal

    summed = signal.fftconvolve(first.probabilities, second.probabilities)
    return _Law(first.least + second.least, np.maximum(summed, 0))


def _central(law: _Law, tail: float) -> tuple[int, int]:
    """Gives the first number up to which more than the tail lies, and the last from which."""
    below = np.cumsum(law.probabilities)
    above = np.cumsum(law.probabilities[::-1])[::-1]
    return law.least + int((below > tail).argmax()), law.least + int(
        np.flatnonzero(above > tail)[-1]
    )
