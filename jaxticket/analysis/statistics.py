"""Intervals over replicates, the tests that they are, and many tests together."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxticket.errors import TicketError


class Interval(NamedTuple):
    """A mean with its confidence interval.

    Attributes:
      mean: the mean over replicates.
      low: lower end.
      high: upper end.
      number: replicates that took part.
    """

    mean: float
    low: float
    high: float
    number: int

    def __str__(self) -> str:
        """Writes mean and interval."""
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}] (n = {self.number})"


def mean_interval(values: np.ndarray, confidence: float = 0.95) -> Interval:
    """Gives the mean of independent replicates with its Student t interval.

    x̄ ± t_{n−1} s / √n, with s the sample standard deviation. Values that are NaN (networks
    that are not valid) are left out.

    Args:
      values: `float[replicates]`.
      confidence: coverage of the interval.

    Returns:
      The interval; infinite with one replicate, NaN with none.

    Raises:
      TicketError: for values of another shape.

    Example:
      >>> print(mean_interval(np.array([1.0, 2.0, 3.0])))
      2 [-0.4841, 4.484] (n = 3)
    """
    kept = np.asarray(values, np.float64)
    if kept.ndim != 1:
        raise TicketError(
            f"values: got shape {list(kept.shape)}, expected [replicates]; give one interval's "
            "replicates at a time"
        )
    kept = kept[~np.isnan(kept)]
    if len(kept) == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    if len(kept) == 1:
        return Interval(float(kept[0]), -np.inf, np.inf, 1)
    mean, low, high = (float(end) for end in t_intervals(kept, confidence))
    return Interval(mean, low, high, len(kept))


def t_intervals(values: np.ndarray, confidence: float = 0.95) -> Float[np.ndarray, "3 ..."]:
    """Gives Student t intervals over the last axis, of many samples at once.

    Args:
      values: `float64[..., n]`, n at least 2, all finite.
      confidence: coverage of each interval.

    Returns:
      Means, lower and upper ends.

    Example:
      >>> t_intervals(np.array([[1.0, 2.0, 3.0]])).round(4).ravel().tolist()
      [2.0, -0.4841, 4.4841]
    """
    number = values.shape[-1]
    mean = values.mean(axis=-1)
    error = values.std(axis=-1, ddof=1) / number**0.5
    half = t_quantile(0.5 + confidence / 2, number - 1) * error
    return np.stack([mean, mean - half, mean + half])


def paired_interval(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> Interval:
    """Gives the mean of first − second with its paired Student t interval.

    Args:
      first: `float[replicates]`.
      second: the same replicates under the other condition.
      confidence: coverage of the interval.

    Returns:
      The interval of the difference; pairs with a NaN are left out.

    Raises:
      TicketError: for other shapes, or two that differ.

    Example:
      >>> print(paired_interval(np.array([2.0, 3.0]), np.array([1.0, 2.0])))
      1 [1, 1] (n = 2)
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise TicketError(
            f"pairs: got shapes {list(first.shape)} and {list(second.shape)}, expected "
            "[replicates] twice; give the same replicates under both conditions"
        )
    return mean_interval(first - second, confidence)


@functools.cache
def t_quantile(probability: float, degrees_of_freedom: int) -> float:
    """Gives a quantile of Student's t distribution; SciPy is imported when it is first asked for.

    Args:
      probability: below the quantile.
      degrees_of_freedom: of the distribution.

    Returns:
      The quantile.

    Example:
      >>> round(t_quantile(0.975, 4), 3)
      2.776
    """
    from scipy import stats

    return float(stats.t.ppf(probability, degrees_of_freedom))


def p_above(interval: Interval, threshold: float = 0.0, confidence: float = 0.95) -> float:
    """Gives the p value of "the mean is above a threshold" from its Student t interval.

    min(1, 2 P(T_{n−1} ≥ (x̄ − c) √n / s)): below 0.05 where the whole 95 % interval is above c, and
    1 where the mean is not.

    Args:
      interval: of two replicates or more, from `mean_interval`.
      threshold: c.
      confidence: of the interval.

    Returns:
      The p value; NaN for an interval that is not finite.

    Example:
      >>> round(p_above(mean_interval(np.array([1.0, 2.0, 3.0]))), 4)
      0.0742
    """
    from scipy import stats

    distance = interval.mean - threshold
    if not np.isfinite(interval.low):
        return float("nan")
    if interval.low == interval.mean:
        return 0.0 if distance > 0 else 1.0
    error = (interval.mean - interval.low) / t_quantile(0.5 + confidence / 2, interval.number - 1)
    return float(min(1.0, 2 * stats.t.sf(distance / error, interval.number - 1)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p values for how many they are: the chance of any false one stays below the level.

    p̃_(i) = max_{j ≤ i} min(1, (m − j + 1) p_(j)), sorted from the least on. It needs no
    independence: claims at several densities share their replicates.

    Args:
      p_values: of one family of tests.

    Returns:
      The corrected ones, in the same order.

    Example:
      >>> holm([0.04, 0.01, 0.03])
      [0.06, 0.03, 0.06]

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.minimum(1, factors * np.asarray(p_values, np.float64)[order])
    corrected = np.empty(len(p_values))
    corrected[order] = np.maximum.accumulate(stepped)
    return corrected.tolist()
