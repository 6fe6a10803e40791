"""Transfers of whole runs: of tickets that another run made, and after a signal."""

import dataclasses
import functools
import io
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments import lenet, universality
from experiments.common.experiment import make_problem
from experiments.common.interruption import Interruption, InterruptionError
from experiments.common.progress import ProgressDisplay
from experiments.common.training import Teller, Training
from experiments.universality import measuring, searches
from jaxticket import TicketError, data, rewind, runs, transfer
from jaxticket.analysis import at_early_stop
from jaxticket.costs import Ledger
from jaxticket.imp import Progress, Variant
from jaxticket.recipes import Step
from jaxticket.records import Memory

SMOKE = universality.PRESETS["smoke"]


def call(module, *words):
    console = Console(file=io.StringIO(), width=130)
    return module.main(["--preset", "smoke", "--plan", "map", *map(str, words)], console)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "run"
    arms = ("ticket", "reinit")
    assert call(lenet, "--seed", 3, "--scope", "global", "--arms", *arms, "--out", out) == 0
    return out


@pytest.mark.slow
def test_tickets_of_a_run_of_one_data_set_go_to_other_tasks_and_back(made, tmp_path, monkeypatch):
    # So that the run's own ledger counts the searches alone.
    monkeypatch.setattr(measuring, "transfer", counted_in(Ledger()))
    words = ("--run", made, "--tasks", "lower", "--out", tmp_path / "new")
    assert call(universality, *words, "--check") == 0
    found, read = runs.load(tmp_path / "new"), runs.load(made)
    assert list(found.results["source"].values) == ["whole", "lower", "whole, momentum"]
    # The run's tickets are read: their curves, their masks and their flow are its own.
    own = read.results.sel(arm="ticket")
    mine = found.results.sel(variant="whole", arm="ticket")
    for name in ("test_accuracy", "kept", "validation_loss"):
        np.testing.assert_array_equal(mine[name], own[name])
    native = at_early_stop(read.results, "test_accuracy").sel(arm="ticket", level=2)
    np.testing.assert_array_equal(found.results["native_accuracy"].sel(target="whole"), native)
    # Only the others are trained and kept, in as many steps.
    assert found.summary["costs"]["networks"] == 2 * 2 * found.results.sizes["level"]
    assert {name for step in range(3) for name in variants_of(found.path, step)} == {
        "lower",
        "whole, momentum",
    }
    assert np.isfinite(found.results["transfer_accuracy"]).all()
    assert int(found.results["identity_differences"]) == 0
    # Networks of one replicate begin alike, whoever trains them.
    assert read.config["seed"] == found.config["seed"] == 3


def counted_in(book):
    return lambda *given, **options: transfer.transfer(*given, **options | {"ledger": book})


def variants_of(path, step):
    metadata = runs.CheckpointReader(path / "checkpoints")
    return set(metadata._steps.metadata(step)["variants"])


class Stopped:
    """A signal that comes while transfers train, so many calls after the search."""

    def __init__(self, searched, after):
        self.left, self.searched = after, searched

    def check(self, interruption, progress):
        if progress.total != self.searched:
            self.left -= 1
            if self.left == 0:
                raise InterruptionError(15)


@pytest.mark.slow
def test_a_signal_while_transfers_train_costs_none_that_is_finished(tmp_path, monkeypatch):
    few = ("--tasks", "whole", "--transfer-arms", "ticket", "--evaluate-every", "10it")
    book = Ledger()
    monkeypatch.setattr(measuring, "transfer", counted_in(book))
    assert call(universality, *few, "--out", tmp_path / "whole") == 0
    networks, steps = book.networks, book.network_steps
    # Two searches of two replicates to both, four at a time, and one of each at home.
    assert networks == 8 + 2

    out, searched = tmp_path / "run", 4 * 3 * SMOKE.steps.at(1)
    book.networks = book.network_steps = 0
    with monkeypatch.context() as patched:
        stopped = Stopped(searched, 5)
        patched.setattr(Interruption, "check", lambda self, now: stopped.check(self, now))
        with pytest.raises(InterruptionError):
            call(universality, *few, "--out", out)
    partway = out / "measures-partway.npz"
    assert partway.is_file()
    # The first four are finished, the others half way: no step is made twice.
    assert (book.networks, book.network_steps) == (4, 4 * 20 + 4 * 10)
    assert not (out / "summary.json").exists()
    assert call(universality, *few, "--out", out) == 0
    assert book.networks == networks
    assert book.network_steps == steps
    assert (out / "results.nc").read_bytes() == (tmp_path / "whole" / "results.nc").read_bytes()
    assert not partway.exists()


# What a run decides of the searches beside it, and what cannot be read.


@functools.cache
def problem_of(**changes):
    config = dataclasses.replace(SMOKE, run=Path("there"), **changes)
    return make_problem(config, data.load("digits"))


def test_the_others_are_made_as_the_run_was():
    base = Variant({"learning_rate": 0.03, "momentum": 0.5}, rewind_step=4)
    problem = problem_of(optimizer="momentum", other_optimizers=("adam",), tasks=("lower",))
    problem = problem._replace(variants={"a": Variant(), "late": base})
    problem = problem._replace(config=dataclasses.replace(problem.config, variant="late"))
    further = searches.beyond(problem)
    others = further.problem
    assert searches.names_of(problem) == [further.name, *others.variants]
    assert list(others.variants) == ["lower", "whole, adam"]
    # Stacked, the data set is an example shorter; training is not.
    assert len(others.dataset.train.labels) == len(problem.dataset.train.labels) - 1
    assert others.protocol == problem.protocol
    lower, adam = others.variants.values()
    assert lower.hyperparameters == {
        "learning_rate": 0.03,
        "momentum": 0.5,
        "task": 1,
        "optimizer": 0,
    }
    assert adam.hyperparameters == {
        "learning_rate": SMOKE.other_learning_rate,
        "momentum": 0.5,
        "task": 0,
        "optimizer": 1,
    }
    assert lower.rewind_step == adam.rewind_step == 4


def test_what_is_given_in_epochs_of_the_run_is_as_long_elsewhere():
    epochs = {"steps": Step.epochs(2), "drops": (Step.epochs(0.5), Step.epochs(1))}
    found = searches._in_iterations(dataclasses.replace(SMOKE, **epochs), 20)
    assert found.steps == Step.iterations(40)
    assert found.drops == (Step.iterations(10), Step.iterations(20))
    assert found.tasks == SMOKE.tasks


def other_networks(problem):
    wider = make_problem(dataclasses.replace(problem.config, width=0.2), problem.dataset)
    return problem._replace(family=wider.family)


def of_fewer_classes(problem):
    config = dataclasses.replace(problem.config, tasks=("digits",))
    return problem._replace(config=config, dataset=problem.dataset._replace(classes=7))


def stacked(problem):
    return problem._replace(dataset=data.stacked([problem.dataset, problem.dataset]))


def of(**choices):
    return lambda problem: problem._replace(variants={"a": Variant(**choices)})


BAD = {
    "fine-tuned": (of(retraining="fine_tuning"), "with retraining fine_tuning, expected weights"),
    "reinitialised": (of(action=rewind.reinit), "with restart reinit, expected rewind"),
    "repelled": (of(repulsion=2.0), "with repulsion 2.0, expected 0.0"),
    "moments": (of(rewind_moments=True), "with rewound moments True, expected False"),
    "own hyperparameters": (of(hyperparameters={"gate": 1.0}), "have the hyperparameter gate"),
    "other networks": (other_networks, "are other ones than the recipe's lenet_300_100"),
    "classes": (of_fewer_classes, "have 7 outputs, expected as many as the 10 classes"),
    "stacked": (stacked, "are trained on several data sets, expected one"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_run_whose_tickets_cannot_be_compared_is_one_line(name):
    change, message = BAD[name]
    with pytest.raises(TicketError, match=message) as caught:
        searches.beyond(change(problem_of()))
    assert str(caught.value).startswith("--run there: ")
    assert "\n" not in str(caught.value)


def test_a_search_that_a_run_does_not_hold_and_tasks_that_are_none_are_one_line():
    problem = problem_of(variant="late")
    with pytest.raises(TicketError, match="unknown variant 'late'"):
        searches.beyond(problem._replace(variants={"early": Variant()}))
    alone = problem_of(tasks=("whole",), other_optimizers=())
    with pytest.raises(TicketError, match="--tasks: got no other task than the run's"):
        searches.beyond(alone)
    tasks = {"whole": Variant({"task": 0, "optimizer": 0, "learning_rate": 0.1})}
    assert searches.beyond(problem_of()._replace(variants=tasks)) is None
    with pytest.raises(TicketError, match="all tasks of a run of tasks are read; leave --variant"):
        searches.beyond(problem._replace(variants=tasks))


def test_claims_about_flows_are_undecided_where_layers_do_not_compete():
    for scope, undecided in (("layerwise", 2), ("global", 0)):
        claims = universality.claims(problem_of(scope=scope))
        without = [claim for claim in claims if "<lambda>" in getattr(claim.test, "__name__", "")]
        said = [claim for claim in without if "flow" in claim.id]
        assert len(said) == undecided
        for claim in said:
            found = claim.test(None)
            assert found.holds is None
            assert found.measured == "not computable: needs --scope global in the run"


def test_network_steps_are_counted_and_a_new_count_is_shown_as_such(monkeypatch):
    told = []
    training = Training(Memory(), None, told.append, Ledger())
    tell = Teller(training, 30)
    for steps in (0, 20, 10):
        tell("ticket", 2, steps, {})
    assert [(one.done, one.total) for one in told] == [(0, 30), (20, 30), (30, 30)]
    Teller(None, 3)("ticket", 2, 3, {})

    now = [100.0]
    monkeypatch.setattr("experiments.common.progress.time.monotonic", lambda: now[0])
    console = Console(file=io.StringIO(), width=130)
    display = ProgressDisplay(console, 3)
    for passed, done in ((0, 100), (11, 1200), (12, 0), (34, 440)):
        now[0] = 100.0 + passed
        display(Progress("ticket", 2, done, 2000, {}))
    lines = console.file.getvalue().splitlines()
    assert lines[0].startswith(" 60%")
    assert "100 steps/s, 8 s left" in lines[0]
    # Counted from where the second began, not from where the first did.
    assert "20 steps/s, 78 s left" in lines[1]
