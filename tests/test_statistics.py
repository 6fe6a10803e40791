"""Laws of tests and of many of them, against SciPy and against their definitions."""

import itertools
from typing import Any

import numpy as np
import pytest
import xarray
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from experiments.common import instability, lottery
from experiments.universality import flow_claims
from jaxticket.analysis import Claim, Interval, judge, mean_interval
from jaxticket.analysis.claims import Evidence, above, at_least, below, greater
from jaxticket.analysis.flow import flow_distance
from jaxticket.analysis.statistics import holm, p_above, t_intervals

SAMPLES = st.lists(st.floats(-5, 5).map(lambda x: round(x, 3)), min_size=2, max_size=9)


def scipys(values: np.ndarray, threshold: float, alternative: str) -> float:
    found: Any = stats.ttest_1samp(values, threshold, alternative=alternative)
    return min(1.0, 2 * float(found.pvalue))


@given(SAMPLES, st.floats(-3, 3))
def test_p_values_are_scipys(sample, threshold):
    values = np.array(sample)
    if np.ptp(values) < 1e-9:
        return
    for judged, alternative in ((above, "greater"), (below, "less")):
        evidence = judged(values, threshold)
        wanted = scipys(values, threshold, alternative)
        assert evidence.p_value == pytest.approx(wanted, rel=1e-6, abs=1e-12)
        if abs(wanted - 0.05) > 1e-6:
            assert evidence.holds is (wanted < 0.05)


@pytest.mark.parametrize("number", [2, 3, 5, 15])
def test_a_paired_difference_has_the_paired_tests_p_value(number):
    first, second = np.random.default_rng(number).normal([[0.3], [0.0]], size=(2, number))
    found: Any = stats.ttest_rel(first, second, alternative="greater")
    assert greater(first - second).p_value == pytest.approx(min(1, 2 * found.pvalue))


def test_p_values_of_what_has_no_spread_or_no_interval():
    assert above(np.array([1.0, 1.0]), 0.5).p_value == 0
    assert above(np.array([1.0, 1.0]), 1.0).p_value == 1
    assert np.isnan(p_above(mean_interval(np.array([1.0]))))
    assert above(np.array([1.0]), 0.0).p_value is None
    assert at_least(np.array([1.0, 1.1]), 0.0).p_value is None


def test_intervals_of_many_samples_are_those_of_each():
    values = np.random.default_rng(0).normal(size=(4, 3, 5))
    mean, low, high = t_intervals(values)
    for place in np.ndindex(4, 3):
        one = mean_interval(values[place])
        assert (one.mean, one.low, one.high) == (mean[place], low[place], high[place])
        assert one.number == 5


def closed_testing(p_values):
    """Holm from what it is: a test counts if all intersections with it do, by Bonferroni."""
    places = range(len(p_values))
    corrected = []
    for place in places:
        families = (
            chosen
            for size in range(1, len(p_values) + 1)
            for chosen in itertools.combinations(places, size)
            if place in chosen
        )
        least = (len(f) * min(p_values[one] for one in f) for f in families)
        corrected.append(min(1.0, max(least)))
    return corrected


@given(st.lists(st.sampled_from([0, 1e-4, 0.004, 0.01, 0.02, 0.03, 0.2, 1.0]), max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values):
    assert holm(p_values) == pytest.approx(closed_testing(p_values))


def claim(name, evidence):
    return Claim(name, "", "", "", exact=False, test=lambda results: evidence)


def test_the_family_is_all_tests_of_a_run_and_holds_stays_what_was_stated():
    made = {
        "sure": Evidence(1.0, None, True, 0.001),
        "alone": Evidence(1.0, None, True, 0.04),
        "fails": Evidence(1.0, None, False, 0.5),
        "half": Evidence(1.0, None, False, 0.001),
        "mean": Evidence(1.0, None, True),
        "undecided": Evidence("not computable", None, None),
    }
    found = judge([claim(name, each) for name, each in made.items()], xarray.Dataset())
    verdicts = {one["id"]: one for one in found}
    assert [one["holds"] for one in found] == [True, True, False, False, True, None]
    assert [one["holds_corrected"] for one in found] == [True, False, False, False, None, None]
    corrected = {n: v["p_value_corrected"] for n, v in verdicts.items() if v["p_value"] is not None}
    assert corrected == pytest.approx({"sure": 0.004, "half": 0.004, "alone": 0.08, "fails": 0.5})


@pytest.mark.parametrize("number", [3, 5])
def test_bootstrap_intervals_are_scipys(number):
    """The same generator draws the same replicates again, so the ends are equal."""
    values = np.random.default_rng(number).normal(size=(2, 4, number))

    def statistic(drawn):
        return float(np.median(drawn.mean(axis=-1)))

    rows: Any = (np.arange(number),)
    wanted = stats.bootstrap(
        rows,
        lambda chosen: statistic(values[..., chosen]),
        n_resamples=10_000,
        vectorized=False,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = lottery._bootstrap(statistic, values)
    np.testing.assert_allclose([found.low, found.high], [wanted.low, wanted.high])


@pytest.mark.parametrize("correlate", [instability, flow_claims])
def test_rank_correlations_are_scipys(correlate):
    generator = np.random.default_rng(1)
    first, second = generator.integers(0, 6, (2, 12)).astype(float)
    wanted: Any = stats.spearmanr(first[1:], second[1:])
    first[0] = np.nan
    assert correlate._rank_correlation(first, second) == pytest.approx(wanted.statistic)


def test_the_jackknife_of_one_mean_is_students_interval():
    """Of a linear statistic the jackknife's variance is s²/n: Δ is nearly linear far from 0."""
    generator = np.random.default_rng(2)
    first = 1e4 + generator.normal(size=(6, 1))
    found = flow_distance(first, np.zeros((6, 1)), paired=True)
    wanted: Any = stats.ttest_1samp(first[:, 0] ** 2, 0).confidence_interval(0.95)
    assert found.high - found.low == pytest.approx(wanted.high - wanted.low, rel=1e-3)
    assert isinstance(found, Interval)
