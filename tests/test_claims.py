"""Claims about sweeps, computed from made-up results whose answers are known."""

import numpy as np
import pytest
import xarray

from experiments.common import instability, sweeps
from experiments.verdict import best
from jaxticket.analysis import at_early_stop, at_end, at_start, early_stop_step, judge

VARIANTS, ARMS = ["low", "high"], ["ticket", "reinit"]
STEPS = [0, 5, 10]


def made(accuracy, validation=None, begins=(0, 0)):
    """Results of two variants, two arms and three levels, in this order, then replicates."""
    accuracy = np.asarray(accuracy, float)
    accuracy = np.broadcast_to(accuracy, (2, 2, 3, accuracy.shape[-1]))
    dims = ("variant", "arm", "level", "replicate")
    # The curves rise to the accuracy at step 5, where the loss is lowest, and fall by 0.1 after it.
    curve = np.stack([accuracy - 0.5, accuracy, accuracy - 0.1], axis=-1)
    loss = np.broadcast_to([2.0, 0.5, 0.7], curve.shape).copy()
    for place, begin in enumerate(begins):
        unseen = np.array(STEPS) < begin
        curve[place, :, 1:, :, unseen] = np.nan
        loss[place, :, 1:, :, unseen] = np.nan
    chosen = curve if validation is None else np.broadcast_to(validation, curve.shape)
    results = xarray.Dataset(
        {
            "test_accuracy": ((*dims, "step"), curve),
            "validation_accuracy": ((*dims, "step"), chosen),
            "validation_loss": ((*dims, "step"), loss),
            "valid": (dims, np.ones(accuracy.shape, bool)),
        },
        coords={
            "variant": VARIANTS,
            "arm": ARMS,
            "level": [0, 1, 2],
            "replicate": np.arange(accuracy.shape[-1]),
            "step": STEPS,
            "density": (("variant", "level"), [[1.0, 0.3, 0.09]] * 2),
        },
    )
    return results.assign(early_stop_step=early_stop_step(results["validation_loss"]))


def accuracies(low_ticket, low_reinit, high_ticket, high_reinit):
    """The same at all levels, in three replicates that differ a little."""
    means = np.array([[low_ticket, low_reinit], [high_ticket, high_reinit]])
    return means[:, :, None, None] + np.array([-0.001, 0.0, 0.001])


def holds(claim, results):
    return judge([claim], results)[0]["holds"]


def test_curves_are_read_where_they_say():
    results = made(accuracies(0.8, 0.7, 0.6, 0.5))
    ticket = {"variant": "low", "arm": "ticket", "level": 1, "replicate": 1}
    assert float(at_early_stop(results, "test_accuracy").sel(ticket)) == pytest.approx(0.8)
    assert float(at_start(results, "test_accuracy").sel(ticket)) == pytest.approx(0.3)
    assert float(at_end(results, "test_accuracy").sel(ticket)) == pytest.approx(0.7)


def test_a_network_that_begins_late_starts_where_it_begins():
    results = made(accuracies(0.8, 0.7, 0.6, 0.5), begins=(0, 5))
    start = at_start(results, "test_accuracy").sel(arm="ticket", replicate=1)
    assert start.sel(level=1).values.tolist() == pytest.approx([0.3, 0.6])
    # The dense network has all of its curve.
    assert start.sel(level=0).values.tolist() == pytest.approx([0.3, 0.1])


def test_invalid_networks_are_not_read():
    results = made(accuracies(0.8, 0.7, 0.6, 0.5))
    results["valid"][0, 0, 1, 1] = False
    here = {"variant": "low", "arm": "ticket", "level": 1}
    for read in (at_start, at_end, at_early_stop):
        assert np.isnan(read(results, "test_accuracy").sel(here).values).tolist() == [0, 1, 0]


LOW, HIGH = sweeps.Cell("low"), sweeps.Cell("high")


def test_more_is_a_paired_interval_above_zero():
    results = made(accuracies(0.8, 0.7, 0.8, 0.5))
    assert holds(sweeps.more(LOW, LOW._replace(arm="reinit"), 30, "source"), results) is True
    assert holds(sweeps.more(LOW._replace(arm="reinit"), LOW, 30, "source"), results) is False
    assert holds(sweeps.more(LOW, HIGH, 30, "source"), results) is False
    assert holds(sweeps.as_good(LOW, HIGH, 30, 0.001, "source"), results) is True
    found = judge([sweeps.more(LOW, LOW._replace(arm="reinit"), 9, "s", "3 points")], results)[0]
    assert found["measured"] == pytest.approx(0.1)
    assert found["paper"] == "3 points"


def test_gains_are_differences_of_differences():
    results = made(accuracies(0.8, 0.7, 0.6, 0.55))
    cells = LOW, LOW._replace(arm="reinit"), HIGH, HIGH._replace(arm="reinit")
    claim = sweeps.gains_more(*cells, 30, "source")
    found = judge([claim], results)[0]
    assert found["holds"] is True
    assert found["measured"] == pytest.approx(0.05)
    assert holds(sweeps.gains_more(*cells[2:], *cells[:2], 30, "source"), results) is False


def test_numbers_can_be_compared_with_chance():
    results = made(accuracies(0.6, 0.7, 0.9, 0.5))
    start = LOW._replace(when="start")
    assert holds(sweeps.near(start, 0.1, 30, 0.01, "source"), results) is True
    assert holds(sweeps.near(start, 0.2, 30, 0.01, "source"), results) is False
    assert holds(sweeps.more_than(start, 0.09, 30, "source"), results) is True
    assert holds(sweeps.more_than(start, 0.1, 30, "source"), results) is False


@pytest.mark.parametrize(
    ("first", "percent", "reason"),
    [
        (sweeps.Cell("middle"), 30, "needs the variant middle"),
        (sweeps.Cell("low", "oneshot"), 30, "needs the arm oneshot"),
        (LOW, 50, "needs a level at 50 %"),
    ],
)
def test_what_a_run_lacks_is_said(first, percent, reason):
    results = made(accuracies(0.6, 0.7, 0.9, 0.5))
    for claim in (
        sweeps.more(first, LOW, percent, "source"),
        sweeps.near(first, 0, percent, 1, ""),
    ):
        found = judge([claim], results)[0]
        assert found["holds"] is None
        assert reason in found["measured"]


def test_the_dense_network_is_meant_at_any_density():
    values = np.array(accuracies(0.8, 0.7, 0.6, 0.5))
    values = np.repeat(values, 3, axis=2)
    values[:, :, 0] = 0.75
    claim = sweeps.more(LOW, LOW._replace(dense=True), 9, "source")
    assert judge([claim], made(values))[0]["measured"] == pytest.approx(0.05)


def test_the_best_rate_is_chosen_by_validation_and_compared_by_test():
    # By validation `high` is best for the ticket and `low` for reinit; by test it is the reverse.
    validation = np.array([[0.1, 0.9], [0.9, 0.1]])[:, :, None, None, None]
    results = made(accuracies(0.8, 0.5, 0.6, 0.7), validation)
    chosen = best.at_best_rates(results)
    values = at_early_stop(chosen, "test_accuracy").mean("replicate")
    assert values.sel(arm="ticket").values.tolist() == pytest.approx([0.6] * 3)
    assert values.sel(arm="reinit").values.tolist() == pytest.approx([0.5] * 3)
    assert chosen["density"].values.tolist() == [1.0, 0.3, 0.09]


def test_a_jackpot_matches_dense_and_beats_reinit():
    values = np.repeat(accuracies(0.8, 0.7, 0.1, 0.1), 3, axis=2)
    assert holds(best.is_jackpot(best.at_percent(30), 0.002), made(values)) is True
    assert holds(best.matches_dense(best.at_percent(30), 0.002), made(values)) is True
    worse = values.copy()
    worse[:, 0, 1] -= 0.01
    assert holds(best.matches_dense(best.at_percent(30), 0.002), made(worse)) is False
    assert holds(best.is_jackpot(best.at_percent(30), 0.002), made(worse)) is False
    equal = values.copy()
    equal[:, 1] = equal[:, 0]
    assert holds(best.beats("reinit", best.at_percent(30)), made(equal)) is False
    assert holds(best.is_jackpot(best.at_percent(30), 0.002), made(equal)) is False


def unstable(dense_low, dense_high, ticket):
    """Results with instability: (variant, level, replicate)."""
    results = made(accuracies(0.8, 0.7, 0.6, 0.5))
    values = np.full((2, 3, 3), ticket, float)
    values[0, 0], values[1, 0] = dense_low, dense_high
    return results.assign(instability=(("variant", "level", "replicate"), values))


def test_stability_is_a_barrier_below_two_percent():
    results = unstable([0.10, 0.11, 0.12], [0.0, 0.01, 0.005], 0.01)
    found = judge([instability.dense_unstable("low", "source")], results)[0]
    assert found["holds"] is True
    assert found["measured"] == pytest.approx(0.11)
    assert found["interval"][0] > 0.02
    assert holds(instability.dense_stable("high", "source"), results) is True
    assert holds(instability.dense_stable("low", "source"), results) is False
    assert holds(instability.falls("low", "high", "source"), results) is True
    assert holds(instability.ticket_stable("low", 30, "source"), results) is True


def test_nothing_is_claimed_of_rewinding_where_the_dense_network_is_stable():
    claim = instability.if_unstable(sweeps.more(LOW, HIGH, 30, "source"), "low")
    assert holds(claim, unstable([0.10, 0.11, 0.12], 0.0, 0.01)) is True
    found = judge([claim], unstable([0.0, 0.01, 0.0], 0.0, 0.01))[0]
    assert found["holds"] is None
    assert "not unstable from low on" in found["measured"]


def test_the_rank_correlation_is_of_gap_and_instability():
    values = np.repeat(accuracies(0.8, 0.7, 0.8, 0.5), 3, axis=2)
    values[:, 0, 1], values[:, 0, 2] = values[:, 0, 0] - 0.1, values[:, 0, 0] - 0.2
    values[1, 0, 1:] -= 0.05
    results = made(values)
    gap = np.array([[0.1, 0.2], [0.15, 0.25]])
    rising = np.zeros((2, 3, 3))
    rising[:, 1:] = gap[:, :, None]
    claim = instability.explains_the_gap("source")
    dims = ("variant", "level", "replicate")
    assert holds(claim, results.assign(instability=(dims, rising))) is True
    assert holds(claim, results.assign(instability=(dims, -rising))) is False


def test_a_rate_that_lost_a_replicate_is_not_the_best():
    validation = np.array([[0.8, 0.8], [0.9, 0.9]])[:, :, None, None, None]
    results = made(accuracies(0.8, 0.7, 0.6, 0.5), validation)
    assert (best.best_variants(results) == 1).all()
    results["valid"][1, 0, 1, 2] = False
    chosen = best.best_variants(results)
    assert chosen.sel(arm="ticket").values.tolist() == [1, 0, 1]


def test_the_same_networks_are_not_compared_with_themselves():
    results = made(accuracies(0.8, 0.7, 0.6, 0.5))
    reinit = LOW._replace(arm="reinit")
    for claim in (
        sweeps.more(LOW, LOW, 30, "source"),
        sweeps.gains_more(LOW, reinit, LOW, reinit, 30, "source"),
    ):
        assert holds(claim, results) is None


def test_levels_are_numbered_where_densities_differ():
    results = made(accuracies(0.8, 0.7, 0.6, 0.5))
    assert sweeps.density_headings(results) == ["100.0%", "30.0%", "9.0%"]
    results["density"][1, 2] = 0.05
    assert sweeps.density_headings(results) == ["level 0", "level 1", "level 2"]
