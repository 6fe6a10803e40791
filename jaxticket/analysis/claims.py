"""Claims: what a run must show, computed from its results and never tuned to them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxticket.analysis.statistics import Interval, holm, mean_interval, p_above

if TYPE_CHECKING:
    import xarray


LEVEL = 0.05
"""Below which a p value counts, as 95 % intervals do."""


class Evidence(NamedTuple):
    """What the results say about a claim.

    Attributes:
      measured: the number, or a sentence where none can be computed.
      interval: its 95 % interval over replicates, `None` for exact claims.
      holds: the verdict; `None` where it cannot be computed from this run.
      p_value: of the test that the verdict is, `None` where it is none: exact claims, and those
        that a mean decides.
    """

    measured: float | str
    interval: Interval | None
    holds: bool | None
    p_value: float | None = None


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
    """Computes every claim, and corrects those that are tests for how many they are.

    The family is all tests of the run, whatever their densities: `holds` is the verdict that was
    stated beforehand, test by test, and `holds_corrected` that of Holm's procedure, under which
    the chance that any of the run's tests holds falsely is below 5 %.

    Args:
      claims: the claims.
      results: from `jaxticket.runs`.

    Returns:
      One JSON-like dict a claim: `id`, `statement`, `source`, `paper`, `expected`, `exact`,
      `measured`, `interval` (low, high), `replicates`, `holds`, `p_value`, `p_value_corrected`
      and `holds_corrected`, the last three `None` for what is no test.

    Example:
      >>> always = lambda results: Evidence(1.0, None, True)
      >>> judge([Claim("one", "1 = 1", "arithmetic", "equal", True, always)], None)[0]["holds"]
      True
    """
    verdicts = [_verdict(claim, claim.test(results)) for claim in claims]
    tests = [verdict for verdict in verdicts if verdict["p_value"] is not None]
    for test, p_value in zip(tests, holm([test["p_value"] for test in tests]), strict=True):
        test["p_value_corrected"] = p_value
        test["holds_corrected"] = test["holds"] and p_value < LEVEL
    return verdicts


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
    return above(difference, 0.0)


def above(values: np.ndarray, threshold: float) -> Evidence:
    """Judges "values > threshold": the whole interval is above it.

    Args:
      values: `float[replicates]`, NaN where a network is not valid.
      threshold: what they are compared with.

    Returns:
      The evidence, with the p value of that test.

    Example:
      >>> above(np.array([1.0, 1.1, 0.9]), 0.5).holds
      True
    """
    found = by_interval(values, lambda interval: interval.low > threshold)
    return _tested(found, lambda interval: p_above(interval, threshold))


def below(values: np.ndarray, threshold: float) -> Evidence:
    """Judges "values < threshold": the whole interval is below it.

    Args:
      values: `float[replicates]`, NaN where a network is not valid.
      threshold: what they are compared with.

    Returns:
      The evidence, with the p value of that test.

    Example:
      >>> below(np.array([1.0, 1.1, 0.9]), 0.5).holds
      False
    """
    found = by_interval(values, lambda interval: interval.high < threshold)
    return _tested(found, lambda interval: p_above(_mirrored(interval), -threshold))


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


def _tested(evidence: Evidence, p_value: Callable[[Interval], float]) -> Evidence:
    """Adds the p value of the test whose interval the evidence shows."""
    if evidence.holds is None or evidence.interval is None:
        return evidence
    return evidence._replace(p_value=p_value(evidence.interval))


def _mirrored(interval: Interval) -> Interval:
    return Interval(-interval.mean, -interval.high, -interval.low, interval.number)


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
        "p_value": evidence.p_value,
        "p_value_corrected": None,
        "holds_corrected": None,
    }
