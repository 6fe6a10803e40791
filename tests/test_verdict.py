"""Sanity checks of masks: what is judged, and that a run's masks train as they did."""

import io
import types

import cases
import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments import dynamic, lenet, verdict
from experiments.verdict import best, sources
from jaxticket import TicketError, learners, runs
from jaxticket.analysis import at_end


def problem(levels=5, model_state=None, run="runs/a", judged=(), percents=()):
    config = types.SimpleNamespace(levels=levels, run=run, judged_levels=judged)
    learner = types.SimpleNamespace(init=lambda key: learners.TrainState({}, model_state, ()))
    return types.SimpleNamespace(
        config=config, family=lambda given: learner, densities=lambda: list(percents)
    )


def test_levels_that_are_judged_are_those_that_were_asked_for():
    assert sources.judged_levels(problem()) == [4]
    assert sources.judged_levels(problem(judged=(2, 3))) == [2, 3]
    own = problem(run=None, percents=(100, 60, 36, 21.6, 13))
    assert sources.judged_levels(own) == [3, 4]
    assert sources.judged_levels(problem(run=None, levels=2, percents=(100, 60))) == [1]
    assert sources.judged_levels(problem(run=None, levels=1, percents=(100,))) == []
    changing = learners.Sparse({}, {}, np.int32(0))
    assert sources.judged_levels(problem(levels=1, model_state=changing)) == [1]


BAD = {
    "dense": (problem(levels=1), "--run runs/a: got 1 level"),
    "beyond": (problem(judged=(5,)), "got level 5 of 5 level"),
    "level 0": (problem(judged=(0,)), "got level 0 of 5 level"),
    "changing": (
        problem(model_state=learners.Sparse({}, {}, np.int32(0)), judged=(2,)),
        "whose masks change while it trains",
    ),
    "learned": (problem(model_state={"network": {}, "mask": {}}), "its masks are learned over"),
}


@cases.every(BAD)
def test_masks_that_cannot_be_judged_are_one_line(name):
    given, message = BAD[name]
    with pytest.raises(TicketError, match=message) as caught:
        sources.judged_levels(given)
    assert "\n" not in str(caught.value)


def judged(claim, ticket, other):
    results = xarray.Dataset(
        {
            "spoiled_accuracy": (
                ("spoiled", "level", "replicate"),
                np.array([[[np.nan] * 3, other]]),
            ),
            "ticket_accuracy": (("level", "replicate"), np.array([[0.9] * 3, ticket])),
            "density": (("variant", "level"), [[1.0, 0.13]]),
        },
        {"spoiled": ["half"], "level": [0, 1]},
    )
    return claim.test(results)


def test_claims_on_spoiled_data_compare_replicate_by_replicate():
    at, ticket = best.at_percent(13.1), np.array([0.8, 0.7, 0.6])
    worse = ticket - np.array([0.021, 0.02, 0.019])
    assert judged(best.beats_spoiled("half", at), ticket, worse).holds is True
    assert judged(best.beats_spoiled("half", at), worse, ticket).holds is False
    assert judged(best.as_good_from("half", at, 0.03), ticket, worse).holds is True
    assert judged(best.as_good_from("half", at, 0.01), ticket, worse).holds is False
    assert judged(best.as_good_from("half", at, 0.01), worse, ticket).holds is True
    missing = judged(best.beats_spoiled("half", best.at_percent(21.7)), ticket, worse)
    assert missing.measured == "not computable: needs a level at 21.7 %"
    lost = np.array([0.8, np.nan, np.nan])
    assert judged(best.beats_spoiled("half", at), ticket, lost).holds is None


def call(module, *words):
    console = Console(file=io.StringIO(), width=130)
    return module.main(["--plan", "map", "--preset", "smoke", *map(str, words)], console)


@pytest.mark.slow
def test_masks_of_a_run_at_its_own_rate_are_trained_as_they_were_to_the_bit(tmp_path):
    out, short = tmp_path / "run", ("--width", 0.1, "--steps", "20it", "--evaluate-every", "10it")
    assert call(lenet, *short, "--learning-rate", 4e-3, "--out", out) == 0
    words = ("--learning-rates", 1e-3, 4e-3, "--spoiled", "labels", "half")
    levels = ("--judged-levels", 2, 1)
    assert call(verdict, "--run", out, *words, *levels, "--out", tmp_path / "verdict") == 0
    run, found = runs.load(out).results, runs.load(tmp_path / "verdict").results
    assert found["level_of_run"].values.tolist() == [0, 2, 1]
    for arm in ("ticket", "reinit", "shuffle", "shuffle_reinit"):
        for place, level in enumerate((0, 2, 1)):
            for curve in ("test_loss", "validation_accuracy"):
                own = run[curve].sel(arm=arm, level=level).values
                here = found[curve].sel(variant="rate 0.004", arm=arm, level=place).values
                np.testing.assert_array_equal(here, own)
                other = found[curve].sel(variant="rate 0.001", arm=arm, level=place).values
                assert not np.array_equal(other, own)
    np.testing.assert_array_equal(
        found["kept"].isel(variant=0).sel(level=1), run["kept"].sel(level=2, arm=found["arm"])
    )
    assert np.isfinite(found["spoiled_accuracy"].sel(level=[1, 2])).all()
    assert np.isnan(found["spoiled_accuracy"].sel(level=0)).all()


@pytest.mark.slow
def test_a_mask_that_has_not_changed_yet_is_trained_as_it_was_to_the_bit(tmp_path):
    words = ("--width", 0.1, "--fraction", 1e-6, "--out", tmp_path)
    assert call(dynamic, *words) == 0
    found = runs.load(tmp_path).results
    fixed = found["fixed_accuracy"].sel(rule="rigl", control="ticket")
    own = at_end(found, "test_accuracy").sel(variant="rigl", arm="ticket")
    np.testing.assert_array_equal(fixed.transpose("level", "replicate"), own)
    for control in ("shuffle", "reinit"):
        assert not np.array_equal(found["fixed_accuracy"].sel(rule="rigl", control=control), own)
