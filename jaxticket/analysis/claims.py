"""Claims: what a run must show, computed from its results and never tuned to them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxticket.analysis.statistics import Interval, mean_interval

if TYPE_CHECKING:
    import xarray


class Evidence(NamedTuple):
    """What the results say about a claim.

    Attributes:
      measured: the number, or a sentence where none can be computed.
      interval: its 95 % interval over replicates, `None` for exact claims.
      holds: the verdict; `None` where it cannot be computed from this run.
    """

    measured: float | str
    interval: Interval | None
    holds: bool | None


class Claim(NamedTuple):
    """A statement that results can hold or break.

    Attributes:
      id: a short name.
      statement: what is claimed, in words.
      source: where the claim comes from.
      expected: what counts as holding, decided beforehand.
      exact: whether it is exact, so that it must hold at any size of run.
      test: `test(results) -> Evidence`.
      paper: the paper's own number, `None` where it states none for this case.
    """

    id: str
    statement: str
    source: str
    expected: str
    exact: bool
    test: Callable[["xarray.Dataset"], Evidence]
    paper: str | None = None


def judge(claims: Iterable[Claim], results: "xarray.Dataset") -> list[dict[str, Any]]:
    """Computes every claim.

    Args:
      claims: the claims.
      results: from `jaxticket.runs`.

    Returns:
      One JSON-like dict a claim: `id`, `statement`, `source`, `paper`, `expected`, `exact`,
      `measured`, `interval` (low, high), `replicates` and `holds`.

    Example:
      >>> always = lambda results: Evidence(1.0, None, True)
      >>> judge([Claim("one", "1 = 1", "arithmetic", "equal", True, always)], None)[0]["holds"]
      True
    """
    return [_verdict(claim, claim.test(results)) for claim in claims]


def greater(difference: np.ndarray) -> Evidence:
    """Judges "first > second" by a paired difference: the whole interval is above zero.

    Args:
      difference: `float[replicates]`, first − second; NaN where a network is not valid.

    Returns:
      The evidence.

    Example:
      >>> greater(np.array([1.0, 1.1, 0.9])).holds
      True
    """
    return by_interval(difference, lambda interval: interval.low > 0)


def at_least(difference: np.ndarray, tolerance: float) -> Evidence:
    """Judges "first ≥ second" by a paired difference: the mean is above −tolerance.

    Args:
      difference: `float[replicates]`, first − second; NaN where a network is not valid.
      tolerance: what still counts as equal, in the same unit.

    Returns:
      The evidence.

    Example:
      >>> at_least(np.array([-0.0005, 0.0002]), tolerance=0.001).holds
      True
    """
    return by_interval(difference, lambda interval: interval.mean >= -tolerance)


def not_computable(reason: str) -> Evidence:
    """Says why a run cannot decide a claim.

    Args:
      reason: one line.

    Returns:
      Evidence without a verdict.

    Example:
      >>> not_computable("the run has one level").holds is None
      True
    """
    return Evidence(f"not computable: {reason}", None, None)


def by_interval(values: np.ndarray, holds: Callable[[Interval], bool]) -> Evidence:
    """Judges values over replicates by their mean and its interval.

    Args:
      values: `float[replicates]`, NaN where a network is not valid.
      holds: the verdict on an interval of two replicates or more.

    Returns:
      The evidence.

    Example:
      >>> by_interval(np.array([0.9, 1.1]), lambda interval: abs(interval.mean - 1) < 0.2).holds
      True
    """
    interval = mean_interval(values)
    if interval.number < 2:
        return not_computable(f"{interval.number} valid replicate(s), at least 2 are needed")
    return Evidence(interval.mean, interval, bool(holds(interval)))


def _verdict(claim: Claim, evidence: Evidence) -> dict[str, Any]:
    interval = evidence.interval
    return {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "paper": claim.paper,
        "expected": claim.expected,
        "exact": claim.exact,
        "measured": evidence.measured,
        "interval": None if interval is None else [interval.low, interval.high],
        "replicates": None if interval is None else interval.number,
        "holds": evidence.holds,
    }
