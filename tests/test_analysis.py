"""Laws of intervals, early stopping and verdicts, against SciPy and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from scipy import stats

from experiments.common import lottery
from jaxticket import TicketError
from jaxticket.analysis import (
    Claim,
    at_early_stop,
    early_stop_step,
    error_barrier,
    judge,
    mean_interval,
    paired_interval,
)
from jaxticket.analysis.claims import Evidence, at_least, greater


@pytest.mark.parametrize("number", [2, 5, 30])
def test_intervals_are_scipys(number):
    first, second = np.random.default_rng(number).normal(size=(2, number))
    wanted = stats.ttest_rel(first, second).confidence_interval(0.95)
    interval = paired_interval(first, second)
    np.testing.assert_allclose([interval.low, interval.high], wanted)
    wanted = stats.ttest_1samp(first, 0).confidence_interval(0.9)
    interval = mean_interval(first, confidence=0.9)
    np.testing.assert_allclose([interval.low, interval.high], wanted)
    assert interval.number == number


def test_intervals_leave_out_what_is_not_valid():
    values = np.array([1.0, np.nan, 3.0])
    assert mean_interval(values) == mean_interval(np.array([1.0, 3.0]))
    assert mean_interval(np.array([np.nan, 2.0]))[:3] == (2.0, -np.inf, np.inf)
    assert mean_interval(np.array([np.nan])).number == 0


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(2000, 5))
    intervals = [mean_interval(row) for row in draws]
    covered = np.mean([i.low <= 0 <= i.high for i in intervals])
    assert abs(covered - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 2000)


def test_the_early_stop_step_is_the_first_minimum_among_finite_losses():
    loss = xarray.DataArray(
        [[3.0, 1.0, 1.0], [np.nan, 2.0, 0.5], [np.nan] * 3, [np.inf, np.nan, 4.0]],
        {"step": [0, 10, 20]},
        dims=("replicate", "step"),
    )
    assert early_stop_step(loss).values.tolist() == [10, 20, -1, 20]


def results(accuracy, early_stop=None, density=(1.0, 0.5, 0.135, 0.036), arms=("ticket", "reinit")):
    """Results whose accuracies (arm, level, replicate) at early stop are given."""
    accuracy = np.asarray(accuracy, float)
    shape = accuracy.shape
    stop = np.full(shape, 10) if early_stop is None else np.asarray(early_stop)
    dims = ("arm", "level", "replicate")
    curves = np.where(np.arange(3)[:, None, None, None] * 10 == stop, accuracy, 0.0)
    return xarray.Dataset(
        {
            "test_accuracy": (("step", *dims), curves),
            "early_stop_step": (dims, stop),
            "valid": (dims, np.ones(shape, bool)),
        },
        coords={
            "arm": list(arms),
            "step": [0, 10, 20],
            "density": ("level", list(density[: shape[1]])),
        },
    )


def test_metrics_are_read_at_each_networks_own_early_stop():
    dataset = results([[[0.8, 0.9]]], [[[10, 20]]], arms=("ticket",))
    assert at_early_stop(dataset, "test_accuracy").values.tolist() == [[[0.8, 0.9]]]
    dataset["valid"][:] = [[[True, False]]]
    assert np.isnan(at_early_stop(dataset, "test_accuracy").values[0, 0, 1])


NOISE = np.array([0.001, -0.001, 0.0])
TICKET = [0.8 + NOISE, 0.81 + NOISE, 0.82 + NOISE, 0.79 + NOISE]
REINIT = [0.8 + NOISE, 0.79 - NOISE, 0.78 - NOISE, 0.77 - NOISE]


def verdict(claim, dataset):
    return judge([claim], dataset)[0]


def test_the_claims_hold_for_a_winning_ticket_and_break_for_a_losing_one():
    winning, losing = results([TICKET, REINIT]), results([REINIT, TICKET])
    for claim in (lottery.matches_dense(13.5), lottery.beats("reinit", 13.5)):
        assert verdict(claim, winning)["holds"] is True
        assert verdict(claim, losing)["holds"] is False
    measured = verdict(lottery.beats("reinit", 13.5), winning)
    assert measured["measured"] == pytest.approx(0.04)
    low, high = measured["interval"]
    assert low < 0.04 < high
    assert measured["replicates"] == 3


def test_a_difference_within_noise_is_no_win():
    close = [0.8 + NOISE, 0.8 + NOISE, 0.8 + 3 * NOISE, 0.8 + NOISE]
    dataset = results([close, [0.8 - NOISE] * 4])
    assert verdict(lottery.beats("reinit", 13.5), dataset)["holds"] is False


def test_falling_below_dense_is_counted_in_levels():
    claim = lottery.falls_below_later(2)
    found = verdict(claim, results([TICKET, REINIT]))
    assert (found["measured"], found["holds"]) == (2.0, True)
    assert verdict(claim, results([REINIT, TICKET]))["measured"] == -2.0
    assert verdict(lottery.falls_below_later(3), results([TICKET, REINIT]))["measured"].startswith(
        "not computable: needs 5 levels"
    )


def test_early_stopping_is_compared_in_pairs():
    stop = np.full((2, 4, 3), 20)
    stop[0, 2] = [10, 0, 10]
    dataset = results([TICKET, TICKET], stop)
    assert verdict(lottery.stops_before("ticket", 0, 13.5), dataset)["measured"] == 40 / 3
    assert verdict(lottery.stops_before("reinit", None, 13.5), dataset)["holds"] is False
    stop[0, 2] = [10, 9, 10]
    assert verdict(lottery.stops_before("reinit", None, 13.5), dataset)["holds"] is True


def test_what_a_run_cannot_show_is_undecided_with_the_reason():
    dataset = results([TICKET[:2]], arms=("ticket",))
    for claim, reason in (
        (lottery.matches_dense(13.5), "a level at 13.5 %"),
        (lottery.beats("reinit", 50.0), "the arm reinit"),
        (lottery.beats_oneshot(5.0), "the arm oneshot"),
        (lottery.falls_below_later(3), "5 levels"),
    ):
        found = verdict(claim, dataset)
        assert found["holds"] is None
        assert reason in found["measured"]


def test_one_replicate_decides_nothing_statistical():
    assert greater(np.array([1.0])).holds is None
    assert at_least(np.array([np.nan, np.nan]), 0.1).holds is None


def test_exact_claims_count_violations():
    dataset = xarray.Dataset({"nonzero_pruned": ("level", [0, 0]), "regrown": ("level", [0, 3])})
    assert verdict(lottery.exact_zeros(), dataset)["holds"] is True
    assert verdict(lottery.nested_masks(), dataset)["holds"] is False
    kept = xarray.DataArray(
        np.array([[[[4, 4]], [[2, 3]]], [[[4, 4]], [[4, 4]]]]),
        {"arm": ["ticket", "dense"], "layer": ["a", "b"]},
        dims=("arm", "level", "replicate", "layer"),
    )
    for total, in_layer, holds in (
        ([8, 5], [[4, 4], [2, 3]], True),
        ([8, 5], [[4, 4], [3, 2]], False),
        ([8, 5], [[-1, -1], [-1, -1]], True),
        ([8, 6], [[-1, -1], [-1, -1]], False),
    ):
        scheduled = {
            "kept": kept,
            "scheduled": ("level", total),
            "scheduled_in_layer": (("level", "layer"), in_layer),
        }
        assert verdict(lottery.density_schedule(), xarray.Dataset(scheduled))["holds"] is holds


def test_a_verdict_says_where_the_claim_comes_from():
    claim = Claim("a", "b", "c", "d", False, lambda results: Evidence(1.0, None, False))
    assert judge([claim], xarray.Dataset()) == [
        {
            "id": "a",
            "statement": "b",
            "source": "c",
            "paper": None,
            "expected": "d",
            "exact": False,
            "measured": 1.0,
            "interval": None,
            "replicates": None,
            "holds": False,
            "p_value": None,
            "p_value_corrected": None,
            "holds_corrected": None,
        }
    ]


def test_intervals_are_over_replicates_alone(unchecked):
    for values in (np.arange(15.0).reshape(3, 5), np.float64(1.0)):
        with pytest.raises(TicketError, match=r"values: got shape .*, expected \[replicates\]"):
            mean_interval(values)
    for other in (np.arange(5.0)[:, None], np.arange(1.0), np.arange(4.0)):
        with pytest.raises(TicketError, match=r"pairs: got shapes \[5\] and .*, expected \[repl"):
            paired_interval(np.arange(5.0), other)


def test_a_barrier_is_that_of_a_list_too():
    assert error_barrier([0.25, 0.5, 0.25]) == 0.25
    assert error_barrier(((0.25, 0.5, 0.25), (0.5, 0.5, 0.0))).tolist() == [0.25, 0.25]
    assert jax.jit(error_barrier)(jnp.array([0.25, 0.5, 0.25])) == 0.25
