"""Intervals over replicates."""

import functools
from typing import NamedTuple

import numpy as np


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

    Example:
      >>> print(mean_interval(np.array([1.0, 2.0, 3.0])))
      2 [-0.4841, 4.484] (n = 3)
    """
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    if len(kept) == 0:
        return Interval(np.nan, np.nan, np.nan, 0)
    mean = float(kept.mean())
    if len(kept) == 1:
        return Interval(mean, -np.inf, np.inf, 1)
    error = float(kept.std(ddof=1)) / len(kept) ** 0.5
    half = t_quantile(0.5 + confidence / 2, len(kept) - 1) * error
    return Interval(mean, mean - half, mean + half, len(kept))


def paired_interval(first: np.ndarray, second: np.ndarray, confidence: float = 0.95) -> Interval:
    """Gives the mean of first − second with its paired Student t interval.

    Args:
      first: `float[replicates]`.
      second: the same replicates under the other condition.
      confidence: coverage of the interval.

    Returns:
      The interval of the difference; pairs with a NaN are left out.

    Example:
      >>> print(paired_interval(np.array([2.0, 3.0]), np.array([1.0, 2.0])))
      1 [1, 1] (n = 2)
    """
    return mean_interval(np.asarray(first, np.float64) - np.asarray(second, np.float64), confidence)


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
