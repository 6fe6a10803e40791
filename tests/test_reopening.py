"""Measuring the tickets of a finished run: what comes back is what the run made."""

import dataclasses
import io
import json
import mmap
import re
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import conv, lenet, levels, universality
from experiments.common.configuration import Reading, ReadingOne
from experiments.common.experiment import run
from experiments.connectivity.statistics import measuring
from jaxticket import TicketError, runs
from jaxticket.runs import shelf

SEEN = {}


def measure(problem, result, results):
    SEEN.update(problem=problem, result=result)
    undefined = ("replicate", np.where(np.arange(results.sizes["replicate"]) == 1, 0.25, np.nan))
    return results.assign(measured=1.0, barrier_undefined_at=undefined)


def reader(module, options=Reading):
    """An experiment that measures what another module's runs hold."""

    @dataclasses.dataclass(frozen=True)
    class Config(options):
        levels: int = 5
        points: int = 7

    nothing = lambda problem: []  # noqa: E731
    draw = lambda results, result: {}  # noqa: E731
    presets = {"default": Config()}
    return dataclasses.replace(
        module.EXPERIMENT,
        name="lenet",
        presets=presets,
        check=lambda config: None,
        claims=nothing,
        draw=draw,
        variants=lambda problem: pytest.fail("the run's own sweep is read"),
        beyond=lambda problem: None,
        measure=measure,
    )


def call(experiment, *words):
    console = Console(file=io.StringIO(), width=130)
    return run(experiment, ["--plan", "map", *map(str, words)], console)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "run"
    assert call(lenet.EXPERIMENT, "--preset", "smoke", "--seed", 3, "--out", out) == 0
    return out


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.25, 0.0])
def test_the_networks_of_a_run_come_back_to_the_bit_and_none_is_trained(
    share, made, tmp_path, monkeypatch
):
    monkeypatch.setattr(shelf, "SHARE", share)
    monkeypatch.setattr(shelf, "_SMALL", 1)
    seen = lambda: {path: path.stat().st_mtime_ns for path in made.rglob("*")}  # noqa: E731
    before = seen()
    assert call(reader(lenet), "--run", made, "--out", tmp_path / "new") == 0
    assert seen() == before
    mask = jax.tree.leaves(SEEN["result"].records[0].masks)[0]
    assert isinstance(mask.base, mmap.mmap) == (share == 0)
    problem, result = SEEN["problem"], SEEN["result"]
    kept = json.loads((made / "config.json").read_text())["config"]
    assert (problem.config.levels, problem.config.seed) == (kept["levels"], 3)
    assert problem.config.points == 7
    assert str(problem.config.steps) == kept["steps"]
    opened = runs.load(made)
    for arm in result.arms:
        ours, theirs = result.network(arm, 1, 1), opened.network(arm, 1, 1)
        same = jax.tree.map(np.array_equal, (ours.params, ours.mask), (theirs.params, theirs.mask))
        assert jax.tree.all(same)
    found = runs.load(tmp_path / "new").results
    assert float(found["measured"]) == 1.0
    summary = json.loads((tmp_path / "new" / "summary.json").read_text())
    wanted = {"measure": "barrier", "between": "replicate 1", "alpha": 0.25}
    assert summary["undefined"] == [wanted]
    # Nothing but the reading is the run's: no network was trained or kept again.
    assert summary["costs"]["networks"] == 0
    assert not list((tmp_path / "new" / "checkpoints").glob("[0-9]*"))


@pytest.mark.slow
def test_a_sweep_is_read_with_its_own_variants(tmp_path):
    out = tmp_path / "conv"
    assert call(conv.EXPERIMENT, "--preset", "smoke", "--out", out) == 0
    assert call(reader(conv), "--run", out, "--out", tmp_path / "new") == 0
    assert SEEN["result"].variants == tuple(
        dict.fromkeys(c.variant for record in SEEN["result"].records for c in record.coordinates)
    )
    assert len(SEEN["result"].variants) > 1
    every, name = SEEN["result"], SEEN["result"].variants[-1]
    one = dataclasses.replace(reader(conv, ReadingOne), tables=lambda results: [])
    assert call(one, "--run", out, "--variant", name, "--out", tmp_path / "one") == 0
    assert SEEN["result"].variants == ("",)
    mine, its = SEEN["result"].network("ticket", 1, 1), every.network("ticket", 1, 1, name)
    pairs = (mine.mask, mine.params), (its.mask, its.params)
    assert jax.tree.all(jax.tree.map(np.array_equal, *pairs))
    assert "variant" not in runs.load(tmp_path / "one").results.dims
    with pytest.raises(TicketError, match="unknown variant 'nothing': .*" + re.escape(name)):
        call(one, "--run", out, "--variant", "nothing", "--out", tmp_path / "two")
    assert not (tmp_path / "two").exists()


@pytest.fixture(scope="module")
def of_tasks(tmp_path_factory):
    """A run of several searches, each with hyperparameters of its own, before any transfer."""
    out = tmp_path_factory.mktemp("tasks") / "run"
    nothing = lambda given: []  # noqa: E731
    plain = dataclasses.replace(
        universality.EXPERIMENT,
        claims=nothing,
        tables=nothing,
        draw=lambda results, result: {},
        measure=lambda problem, result, results: results,
    )
    assert call(plain, "--preset", "smoke", "--tasks", "whole", "lower", "--out", out) == 0
    return out


def accuracy(learner, problem, network):
    state = learner.init(jax.random.key(0))
    state = state._replace(params=network.params, model_state=network.model_state)
    examples = jax.tree.map(np.asarray, problem.dataset.test)
    return float(learner.evaluate(state, network.mask, examples)["accuracy"])


@pytest.mark.slow
def test_a_search_with_hyperparameters_is_measured_by_its_own_learner(of_tasks, tmp_path):
    """Evaluated once more, its networks are as accurate as they were on its own task."""
    found = {}
    for name in ("whole", "lower", "whole, momentum"):
        one = dataclasses.replace(reader(universality, ReadingOne), tables=lambda results: [])
        one = dataclasses.replace(one, reads=("ticket",), settle=lambda config: config)
        out = tmp_path / name.replace(", ", "-")
        assert call(one, "--run", of_tasks, "--variant", name, "--out", out) == 0
        problem, network = SEEN["problem"], SEEN["result"].network("ticket", 2, 1)
        found[name] = accuracy(problem.family({}), problem, network)
        assert found[name] == pytest.approx(float(network.curves["test_accuracy"][-1]), abs=1e-6)
        # What names hyperparameters gets what it names.
        other = {"task": 1 - int(name == "lower"), "optimizer": 0, "learning_rate": 0.1}
        assert accuracy(problem.family(other), problem, network) != found[name]
    # Where all searches are measured, each by its own.
    every = dataclasses.replace(reader(universality), tables=lambda results: [])
    assert call(every, "--run", of_tasks, "--out", tmp_path / "every") == 0
    problem, result = SEEN["problem"], SEEN["result"]
    config = dataclasses.make_dataclass(
        "Config", ("statistics_examples", "batch_size", "statistics_passes", "seed")
    )(60, 20, 1, 0)
    by = measuring(problem._replace(config=config), result)
    for name, expected in found.items():
        network = result.network("ticket", 2, 1, name)
        assert accuracy(by[name].learner, problem, network) == pytest.approx(expected, abs=1e-6)
        task = int(name == "lower")
        labels = np.asarray(problem.dataset.test.labels)[:, task]
        np.testing.assert_array_equal(by[name].labels, labels)


@pytest.mark.slow
def test_levels_measures_the_tickets_of_a_search_with_hyperparameters(of_tasks, tmp_path):
    words = ("--preset", "smoke", "--run", of_tasks, "--variant", "lower", "--out", tmp_path)
    assert call(levels.EXPERIMENT, *words) == 0
    found = runs.load(tmp_path).results
    assert np.isfinite(found["barrier"].isel(level=slice(1, None))).all()
    assert np.isfinite(found["jump"]).all()
    assert found["barrier_undefined_at"].dims == found["barrier"].dims
    assert np.isnan(found["barrier_undefined_at"]).all()


@pytest.mark.slow
def test_only_what_is_measured_must_not_have_been_dropped(made, tmp_path):
    copy = damaged(made, tmp_path, lambda path: None)
    runs.CheckpointStore(copy / "checkpoints", keep="tickets").close()
    with pytest.raises(TicketError, match=r"the params of its reinit, .* were dropped") as caught:
        call(reader(lenet), "--run", copy, "--out", tmp_path / "all")
    assert "ticket," not in str(caught.value)
    assert "\n" not in str(caught.value)
    one = dataclasses.replace(reader(lenet), reads=levels.EXPERIMENT.reads)
    assert call(one, "--run", copy, "--out", tmp_path / "tickets") == 0
    mine, its = SEEN["result"].network("ticket", 1, 1), runs.load(made).network("ticket", 1, 1)
    assert jax.tree.all(jax.tree.map(np.array_equal, mine.params, its.params))
    runs.CheckpointStore(copy / "checkpoints", keep="ends").close()
    with pytest.raises(TicketError, match="the params of its ticket were dropped"):
        call(one, "--run", copy, "--out", tmp_path / "ends")


def damaged(made, tmp_path, change):
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    change(copy)
    return copy


def edit(name, **changes):
    def change(path):
        content = runs.read_json(path / name)
        content["config"] |= changes
        runs.write_json(path / name, content)

    return change


def other_data(path):
    content = runs.read_json(path / "environment.json")
    content["starts"][0]["data"]["sha256"] = "0" * 64
    runs.write_json(path / "environment.json", content)


def other_experiment(name):
    def change(path):
        content = runs.read_json(path / "config.json")
        runs.write_json(path / "config.json", content | {"experiment": name})
        # What would say whose they are is gone.
        runs.write_json(path / "environment.json", runs.read_json(path / "environment.json"))
        shutil.rmtree(path / "checkpoints")

    return change


def without_last_checkpoint(path):
    last = max((path / "checkpoints").iterdir(), key=lambda step: int(step.name))
    shutil.rmtree(last)


BAD = {
    "unfinished": (lambda path: (path / "summary.json").unlink(), "has not ended"),
    "other data": (other_data, "made with data of sha256 000000000000"),
    "unknown": (other_experiment("os"), "is of the experiment 'os', expected one of at_init"),
    "report": (other_experiment("report"), "is of the experiment 'report'"),
    "field": (edit("config.json", steps="600"), "config.json does not read as one of this version"),
    "lacking": (without_last_checkpoint, r"lacks \d+ networks"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD)
def test_a_run_that_cannot_be_measured_is_one_line(name, made, tmp_path):
    change, message = BAD[name]
    copy = damaged(made, tmp_path, change)
    with pytest.raises(TicketError, match=message) as caught:
        call(reader(lenet), "--run", copy, "--out", tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert re.search("--run", str(caught.value))


def test_no_run_at_all_is_one_line(tmp_path):
    with pytest.raises(TicketError, match=r"is .* a run directory"):
        call(reader(lenet), "--run", tmp_path / "nothing")


def test_a_search_of_no_run_is_one_line():
    with pytest.raises(TicketError, match="--variant late: is a search of a finished run; name"):
        call(levels.EXPERIMENT, "--preset", "smoke", "--variant", "late")


@pytest.mark.slow
def test_a_run_of_a_single_search_has_no_variants(made, tmp_path):
    one = reader(lenet, ReadingOne)
    with pytest.raises(TicketError, match=r"--variant late: .*holds a single search; leave it out"):
        call(one, "--run", made, "--variant", "late", "--out", tmp_path / "new")
