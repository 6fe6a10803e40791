"""How far apart two flows are, told from how far apart replicates of one flow are."""

import numpy as np

from jaxticket.analysis.flow.exponents import check_exponents
from jaxticket.analysis.statistics import Interval, t_quantile
from jaxticket.errors import TicketError


def flow_distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Gives the distance of every replicate of one flow from every one of another.

    D_rs = √(mean_i (σ_ri − σ'_si)²): the root mean square over layers, so that networks of other
    depths are on one scale. Between replicates of one flow, `flow_distances(x, x)` off its
    diagonal, it is the spread within; between two, it is the spread between them.

    Args:
      first: `float[replicates, layers]`, σ_i.
      second: `float[others, layers]`, of the same layers or blocks in the same order.

    Returns:
      `float64[replicates, others]`; NaN where either has no exponent for a layer.

    Raises:
      TicketError: for flows over other numbers of layers.

    Example:
      >>> flow_distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
      [[3.5355339059327378, 0.0]]

    Source: this project's definition.
    """
    first, second = _check(first, second)
    return np.sqrt(((first[:, None] - second[None]) ** 2).mean(axis=-1))


def flow_distance(
    first: np.ndarray, second: np.ndarray, *, paired: bool = False, confidence: float = 0.95
) -> Interval:
    """Gives the squared distance between two flows' expected exponents, unbiased by their noise.

    Δ = mean_i (E σ_i − E σ'_i)². The distance between two means of few replicates is never zero,
    and larger the fewer there are; each replicate's own noise is therefore taken out:

    Δ̂ = mean_i [(σ̄_i − σ̄'_i)² − s_i²/n − s'_i²/n'],

    which may be negative where there is no distance. Paired, replicates r of both flows share
    their initialisation and the noise is that of their differences δ_r: Δ̂ = mean_i [δ̄_i² −
    s²(δ_i)/n]. Both are U-statistics, whose interval is that of the jackknife over replicates with
    a Student t quantile; near Δ = 0, where the statistic is degenerate, it is approximate.

    Args:
      first: `float[replicates, layers]`, σ_i.
      second: `float[others, layers]`, of the same layers in the same order.
      paired: whether replicates of both belong together, by their place.
      confidence: coverage of the interval.

    Returns:
      Δ̂ with its interval, in units of σ²; infinite with 2 replicates, of which the jackknife
      leaves too few, NaN with fewer, or where a flow has no exponent for a layer.

    Raises:
      TicketError: for other numbers of layers, or of replicates where they are paired.

    Example:
      >>> sigma = np.array([[0.5, -0.2], [0.6, -0.3], [0.4, -0.1]])
      >>> round(flow_distance(sigma, sigma + 1.0, paired=True).mean, 6)
      1.0

    Source: this project's definition; the jackknife of U-statistics is that of Arvesen 1969
    (unverified).
    """
    first, second = _check(first, second)
    if paired and len(first) != len(second):
        raise TicketError(
            f"flow distance: got {len(first)} and {len(second)} replicates, expected as many of "
            "both where they are paired"
        )
    samples = [first - second] if paired else [first, second]
    least = min(len(sample) for sample in samples)
    value = _unbiased(samples)
    number = sum(len(sample) for sample in samples)
    if least < 3:
        return Interval(value, -np.inf, np.inf, number) if least == 2 else _nothing(number)
    variance = sum(_jackknife(samples, place) for place in range(len(samples)))
    half = t_quantile(0.5 + confidence / 2, least - 1) * float(np.sqrt(variance))
    return Interval(value, value - half, value + half, number)


def _unbiased(samples: list[np.ndarray]) -> float:
    """The squared difference of the means (or the mean itself), less the noise of each mean."""
    means = [sample.mean(axis=0) for sample in samples]
    gap = means[0] if len(samples) == 1 else means[0] - means[1]
    if min(map(len, samples)) < 2:
        return float("nan")
    noise = [sample.var(axis=0, ddof=1) / len(sample) for sample in samples]
    return float((gap**2 - sum(noise)).mean())


def _jackknife(samples: list[np.ndarray], place: int) -> float:
    """The variance that one sample gives the estimate, from leaving its replicates out in turn."""
    chosen = samples[place]
    without = [
        _unbiased([*samples[:place], np.delete(chosen, row, axis=0), *samples[place + 1 :]])
        for row in range(len(chosen))
    ]
    return (len(chosen) - 1) * float(np.var(without))


def _nothing(number: int) -> Interval:
    return Interval(float("nan"), float("nan"), float("nan"), number)


def _check(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = check_exponents(first), check_exponents(second)
    if first.shape[1] != second.shape[1]:
        raise TicketError(
            f"flows: got {first.shape[1]} and {second.shape[1]} layers, expected the same ones; "
            "compare networks of other depths by blocks, as magnitude_shares(blocks=...) names them"
        )
    return first, second
