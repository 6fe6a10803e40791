"""The volume of the basin that a network lies in, by Monte Carlo over random directions."""

import math
from typing import NamedTuple

import numpy as np

from jaxticket.analysis.radii import Radii


class Volume(NamedTuple):
    """The volume of a basin, and how far it can be trusted; leading axes are networks.

    Attributes:
      log_volume: log V, `float64[...]`; a lower bound where directions never left.
      standard_error: of log V, to first order, `float64[...]`; it means nothing where the
        effective sample size is small, since then the largest radii were not drawn.
      mean_log_radius: d times it is a lower bound of log E r^d, `float64[...]`.
      median_log_radius: `float64[...]`.
      effective_sample_size: (Σ w)² / Σ w² for the weights w = r^d, `float64[...]`, at most K.
      never_left: how many directions stayed inside up to the largest radius, `int64[...]`.
      directions: K.
      dimension: d, `int64[...]`.
      reliable: whether the effective sample size is large enough, `bool[...]`.
    """

    log_volume: np.ndarray
    standard_error: np.ndarray
    mean_log_radius: np.ndarray
    median_log_radius: np.ndarray
    effective_sample_size: np.ndarray
    never_left: np.ndarray
    directions: int
    dimension: np.ndarray
    reliable: np.ndarray

    def describe(self) -> str:
        """Says the volume of one network in words, with all that speaks against it."""
        size = float(self.effective_sample_size)
        of = f"effective sample size {size:.3g} of {self.directions} directions"
        radius = f"median radius {math.exp(float(self.median_log_radius)):.4g}"
        if self.reliable:
            error = f"{float(self.log_volume):.6g} ± {float(self.standard_error):.2g}"
            words = f"log volume {error} in {int(self.dimension)} dimensions ({of}), {radius}"
        else:
            words = (
                f"no volume: {of} in {int(self.dimension)} dimensions is too small, the estimate "
                f"{float(self.log_volume):.6g} of log V is that of the largest radii; {radius}"
            )
        if self.never_left:
            words += f"; {int(self.never_left)} never left the basin, so all is a lower bound"
        return words


def basin_volume(found: Radii, *, least_effective: float = 10.0) -> Volume:
    """Estimates the volume of a basin: V = ω_d E r(φ)^d, with ω_d = π^{d/2} / Γ(d/2 + 1).

    In logs, log V = log ω_d + logsumexp_k (d log r_k) − log K, on the host in float64. E r^d is
    that of the largest radii: in the dimensions of a network a few directions hold all of it, and
    the effective sample size says so. Radii that are off by a relative tolerance put log V off by
    up to d times that. Volumes of different d are not comparable.

    Args:
      found: from `basin_radii`; leading axes are kept.
      least_effective: the effective sample size below which the volume is not reliable.

    Returns:
      The volume; its log is −inf where the loss was above the cut-off at once everywhere.

    Example:
      >>> found = Radii(np.array([1.0, 2.0, 3.0]), np.zeros(3, bool), np.array(2), np.array(0.0))
      >>> volume = basin_volume(found)  # π (1² + 2² + 3²) / 3
      >>> round(float(np.exp(volume.log_volume) / np.pi), 4), bool(volume.reliable)
      (4.6667, False)
      >>> print(volume.describe())
      no volume: effective sample size 2 of 3 directions in 2 dimensions is too small, the \
estimate 2.68517 of log V is that of the largest radii; median radius 2

    Source: 1906.03291, section 4 (unverified); the effective sample size is Kish's (unverified),
    and that it decides is this project's definition.
    """
    from scipy.special import gammaln, logsumexp

    with np.errstate(divide="ignore"):
        logs = np.log(np.asarray(found.radii, np.float64))
    number, d = logs.shape[-1], np.asarray(found.dimension, np.float64)
    weights = d[..., None] * logs
    total, squares = logsumexp(weights, axis=-1), logsumexp(2 * weights, axis=-1)
    with np.errstate(invalid="ignore"):
        # At most K, but for rounding.
        effective = np.minimum(np.exp(2 * total - squares), number)
        error = np.sqrt((number / effective - 1) / max(1, number - 1))
    ball = d / 2 * math.log(math.pi) - gammaln(d / 2 + 1)
    scale = np.asarray(found.log_scale, np.float64)
    return Volume(
        log_volume=ball + total - math.log(number) + scale,
        standard_error=error if number > 1 else np.full_like(error, np.nan),
        mean_log_radius=logs.mean(-1),
        median_log_radius=np.median(logs, axis=-1),
        effective_sample_size=effective,
        never_left=np.sum(found.never_left, axis=-1),
        directions=number,
        dimension=np.asarray(found.dimension, np.int64),
        reliable=effective >= least_effective,
    )
