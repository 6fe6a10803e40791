"""The exponents of a flow, with the quality of the fit and the signs they have for certain."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from jaxticket.analysis.statistics import Interval, mean_interval
from jaxticket.errors import TicketError

Sign = Literal["relevant", "irrelevant", "marginal", "emptied", "undecided"]
"""What becomes of a layer's share; emptied and undecided where no exponent says."""

SIGNS: tuple[Sign, ...] = get_args(Sign)


class Flow(NamedTuple):
    """A fitted flow.

    Attributes:
      eigenvalues: `float64[..., layers]`, λ_i, for one level of the mean scale factor.
      exponents: `float64[..., layers]`, σ_i; NaN where the layer is emptied within the window, and
        in all layers where a share is NaN, as those of a network that diverged are.
      intercepts: `float64[..., layers]`, ln M_i of the fit at the window's first level.
      r_squared: `float64[..., layers]`, the share of the variance of ln M_i that the fit explains;
        NaN for a share that does not move, and low for a marginal layer however well it fits.
      residuals: `float64[..., layers]`, the root mean square of ln M_i about the fit.
      emptied: `int64[..., layers]`, the first level at which the layer keeps nothing; −1 if none.
      scale: c, the factor of one level, in the geometric mean of the window.
    """

    eigenvalues: np.ndarray
    exponents: np.ndarray
    intercepts: np.ndarray
    r_squared: np.ndarray
    residuals: np.ndarray
    emptied: np.ndarray
    scale: float


def fit_flow(
    shares: np.ndarray, densities: np.ndarray, window: tuple[int, int] | None = None
) -> Flow:
    """Fits M_i(n) ∝ λ_i^n with λ_i = c^σ_i by least squares of ln M_i.

    The regressor is the logarithm of the scale, x_n = −ln d_n with d_n the density at level n, so
    that σ_i is the slope of ln M_i on x and levels may differ in how much they prune. Where every
    level prunes the share p, x_n = n ln c with c = 1/(1 − p), and ln λ_i = σ_i ln c is the slope
    of ln M_i on n. How well the line fits says whether M_i is an eigenfunction at all. A share
    that is a sum over few weights fluctuates, and the mean of its logarithm then lies below the
    logarithm of its mean, by half its relative variance: a layer that is nearly empty seems to
    shrink.

    Args:
      shares: `float[..., levels, layers]`, M_i(n), as `magnitude_shares` gives them.
      densities: `float[levels]`, falling.
      window: the first level and the one past the last that are fitted; all if `None`.

    Returns:
      The flow.

    Raises:
      TicketError: for fewer than 2 levels in the window, densities that do not fall from at most
        1, or shapes that do not fit.

    Example:
      >>> levels = np.arange(4)
      >>> shares = np.stack([0.2 * 1.25**levels, 1 - 0.2 * 1.25**levels], axis=1)
      >>> flow = fit_flow(shares, 0.8**levels)
      >>> round(float(flow.eigenvalues[0]), 6), round(float(flow.exponents[0]), 6)
      (1.25, 1.0)

    Source: this project's definition of c, σ and the estimate; λ and σ as in 2110.03210, from
    memory (unverified).
    """
    shares, densities = np.asarray(shares, np.float64), np.asarray(densities, np.float64)
    _check(shares, densities)
    first, last = window or (0, len(densities))
    x = -np.log(densities[first:last])
    if not 0 <= first < last <= len(densities) or len(x) < 2:
        raise TicketError(
            f"window: got {(first, last)}, expected at least 2 of the {len(densities)} levels"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.log(shares[..., first:last, :])
        centred = (x - x.mean())[:, None]
        slopes = (centred * y).sum(axis=-2) / (centred**2).sum()
        # A line through ln 0 would have a slope of -inf or NaN by where it is empty.
        slopes = np.where(np.isfinite(y).all(axis=-2), slopes, np.nan)
        means = y.mean(axis=-2)
        left = y - means[..., None, :] - slopes[..., None, :] * centred
        spread = ((y - means[..., None, :]) ** 2).sum(axis=-2)
        # Sums of squares that rounding alone makes say nothing about a fit.
        moves = spread > len(x) * (1e-12 * np.maximum(1, np.abs(means))) ** 2
        r_squared = np.where(moves, 1 - (left**2).sum(axis=-2) / spread, np.nan)
        intercepts = means + slopes * centred[0]
    residuals = np.sqrt((left**2).mean(axis=-2))
    scale = float(np.exp((x[-1] - x[0]) / (len(x) - 1)))
    empty = shares == 0
    emptied = np.where(empty.any(axis=-2), empty.argmax(axis=-2), -1)
    return Flow(scale**slopes, slopes, intercepts, r_squared, residuals, emptied, scale)


def flow_intervals(values: np.ndarray, confidence: float = 0.95) -> tuple[Interval, ...]:
    """Gives each layer's mean exponent or eigenvalue with its Student t interval over replicates.

    Replicates without the number, since the layer is emptied or the network diverged, are left out,
    which `Interval.number` says; `sign_pattern` calls such a layer emptied or undecided.

    Args:
      values: `float[replicates, layers]`, σ_i or λ_i of all layers, such as `Flow.exponents`.
      confidence: of each layer's interval alone, not of all together.

    Returns:
      An interval a layer, as `mean_interval` gives it.

    Raises:
      TicketError: for values without replicates and layers.

    Example:
      >>> for one in flow_intervals(np.array([[0.5, 1.0], [0.6, 2.0], [0.7, 3.0]])):
      ...     print(one)
      0.6 [0.3516, 0.8484] (n = 3)
      2 [-0.4841, 4.484] (n = 3)

    Source: this project's definition.
    """
    return tuple(mean_interval(layer, confidence) for layer in check_exponents(values).T)


def sign_pattern(exponents: np.ndarray, confidence: float = 0.95) -> tuple[Sign, ...]:
    """Says of each layer which sign its exponent has for certain.

    `relevant` where the interval over replicates is above 0, `irrelevant` where it is below,
    `marginal` where 0 is in it: not told from 0 by so many replicates. `emptied` where a replicate
    lacks the exponent of this layer but not of all, since its layer keeps nothing; `undecided` with
    fewer than 2 replicates, or where one lacks every exponent: its shares are not numbers, as those
    of a network that diverged.

    Args:
      exponents: `float[replicates, layers]`, σ_i of all layers.
      confidence: of each layer's interval alone, not of the whole pattern.

    Returns:
      A word a layer.

    Raises:
      TicketError: for exponents without replicates and layers.

    Example:
      >>> sign_pattern(np.array([[0.5, -0.2, 0.1], [0.6, -0.3, -0.1]]), 0.8)
      ('relevant', 'irrelevant', 'marginal')

    Source: this project's definition.
    """
    exponents = check_exponents(exponents)
    # Shares sum to one, so that emptying never takes the exponents of all layers.
    defined = exponents[np.isfinite(exponents).any(axis=1)]
    emptied = [not np.isfinite(layer).all() for layer in defined.T]
    layers = zip(exponents.T, emptied, strict=True)
    return tuple("emptied" if gone else _sign(layer, confidence) for layer, gone in layers)


def check_exponents(exponents: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    """Checks that exponents have replicates and layers.

    Args:
      exponents: `float[replicates, layers]`.

    Returns:
      The same as `float64`.

    Raises:
      TicketError: for any other shape.

    Example:
      >>> check_exponents([[0.5, -0.1]]).shape
      (1, 2)
    """
    exponents = np.asarray(exponents, np.float64)
    if exponents.ndim != 2 or not exponents.size:
        raise TicketError(
            f"exponents: got shape {list(exponents.shape)}, expected [replicates, layers], as of "
            "fit_flow(shares[replicates, levels, layers], densities).exponents"
        )
    return exponents


def _sign(values: np.ndarray, confidence: float) -> Sign:
    interval = mean_interval(values, confidence)
    if interval.number < max(2, len(values)):
        return "undecided"
    if interval.low > 0:
        return "relevant"
    return "irrelevant" if interval.high < 0 else "marginal"


def _check(shares: np.ndarray, densities: np.ndarray) -> None:
    if shares.ndim < 2 or densities.ndim != 1 or shares.shape[-2] != len(densities):
        raise TicketError(
            f"flow: got shares {list(shares.shape)} and densities {list(densities.shape)}, "
            "expected [..., levels, layers] and [levels]"
        )
    if not ((np.diff(densities) < 0).all() and densities[-1] > 0 and densities[0] <= 1):
        raise TicketError(
            f"densities: got {densities.tolist()}, expected numbers in (0, 1], each below the one "
            "before"
        )
