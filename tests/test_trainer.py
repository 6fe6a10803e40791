"""Laws of a population's training loop: snapshots, pieces, what the host is told."""

import contextlib
import dataclasses
import functools
import time

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import Plan, Protocol, TicketError, criteria, train
from jaxticket.costs import Ledger
from jaxticket.trainer import Networks, pace, placement, run, segments, trainer
from jaxticket.trainer.partway import Keeping

PROTOCOL = Protocol(steps=7, batch_size=4, evaluate_every=3)
LEARNER = cases.learner(optimizer="adam_scheduled")


@functools.cache
def fit():
    return trainer(LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"))


def networks(number):
    keys = jax.random.split(jax.random.key(0), number)
    own = [cases.mask(seed) for seed in range(number)]
    states = [LEARNER.init(key) for key in keys]
    states = [
        LEARNER.restart(state, state.params, mask, moments=False)
        for state, mask in zip(states, own, strict=True)
    ]
    return Networks(cases.stack(states), cases.stack(own), keys)


def test_snapshots_are_the_states_that_training_passed_through():
    whole = fit()(networks(2), 2, snapshots=(0, 2, 7))
    assert sorted(whole.snapshots) == [0, 2, 7]
    chex.assert_trees_all_equal(whole.snapshots[0], jax.device_get(networks(2).states))
    chex.assert_trees_all_equal(whole.snapshots[7], whole.training.learner)
    assert whole.steps.tolist() == [0, 3, 6, 7]
    rest = fit()(networks(2)._replace(states=whole.snapshots[2]), 2, start=2)
    chex.assert_trees_all_equal(rest.training, whole.training)
    assert rest.steps.tolist() == [2, 3, 6, 7]


def test_snapshots_change_nothing_else():
    with_snapshots, without = (fit()(networks(2), 2, snapshots=s) for s in ((1, 5), ()))
    chex.assert_trees_all_equal(with_snapshots.training, without.training)
    # Training metrics too: they are added up from the last evaluation on, not averaged twice.
    chex.assert_trees_all_equal(with_snapshots.curves, without.curves)


def test_training_metrics_are_means_over_the_steps_since_the_evaluation_before():
    curves = fit()(networks(1), 1).curves
    # Evaluated after every step, each mean is that of one step.
    every = dataclasses.replace(PROTOCOL, evaluate_every=1)
    each = trainer(LEARNER, train.UNWATCHED, every, cases.data(), Plan("map"))(
        networks(1), 1
    ).curves
    for name in ("train_loss", "train_accuracy"):
        of_steps = each[name][0]
        means = [of_steps[1:4].mean(), of_steps[4:7].mean(), of_steps[7]]
        np.testing.assert_allclose(curves[name][0, 1:], means, rtol=1e-5)


def test_pieces_and_padding_leave_no_trace():
    together = fit()(networks(3), 4)
    apart = fit()(networks(3), 2)
    chex.assert_trees_all_equal(together, apart)
    assert together.curves["validation_loss"].shape == (3, 4)


def test_the_host_is_told_of_every_step_once():
    told = []
    fit()(networks(2), 2, on_segment=lambda steps, metrics: told.append((steps, sorted(metrics))))
    assert [steps for steps, _ in told] == [0, 2 * 3, 2 * 3, 2 * 1]
    assert told[0][1] == [
        "train_accuracy",
        "train_loss",
        "validation_accuracy",
        "validation_loss",
    ]


def test_each_network_is_evaluated_where_it_begins_and_on_the_grid_after():
    given = networks(3)._replace(begins=jnp.array([0, 2, 6]))
    found = fit()(given, 3)
    assert found.steps.tolist() == [0, 2, 3, 6, 7]
    evaluated = np.isfinite(found.curves["validation_loss"]).astype(int).tolist()
    assert evaluated == [[1, 0, 1, 1, 1], [0, 1, 1, 1, 1], [0, 0, 0, 1, 1]]


def test_a_network_that_begins_later_is_trained_as_if_from_there_on():
    given = networks(2)
    together = fit()(given._replace(begins=jnp.array([0, 3])), 2)
    last = jax.tree.map(lambda leaf: leaf[1:], given)
    alone = fit()(last, 2, start=3)
    later = jax.tree.map(lambda leaf: leaf[1:], together.training.learner)
    chex.assert_trees_all_equal(later, alone.training.learner)


def test_what_a_step_costs_is_counted_once():
    book = Ledger()
    run = trainer(LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), ledger=book)
    run(networks(1), 1)
    counted = book.flops_a_step
    # At least the forward products of a batch of four.
    assert counted > 2 * 4 * (6 * 5 + 5 * 3)
    book.flops_a_step = 1.0
    run(networks(1), 1)
    assert book.flops_a_step == 1.0


def test_snapshots_outside_training_are_refused():
    with pytest.raises(TicketError, match=r"snapshots: got steps \[1, 8\], expected steps from 2 "):
        fit()(networks(1), 1, start=2, snapshots=(1, 5, 8))


class Drawer:
    """Keeps the newest population in memory, as a file would."""

    def __init__(self):
        self.content, self.saved = None, 0

    def load(self):
        return self.content

    def save(self, content):
        self.content, self.saved = jax.tree.map(lambda leaf: leaf, content), self.saved + 1


class Killed(BaseException):
    pass


def killed_at_every_evaluation(run, given, **options):
    """Calls again until it ends, killed at every evaluation but those that were told before."""
    kills, told = 0, []

    def on_segment(steps, metrics):
        told.append(steps)
        if sum(told) > max(sums, default=-1):
            sums.append(sum(told))
            raise Killed

    sums = []
    while True:
        told.clear()
        try:
            return run(*given, on_segment=on_segment, **options), kills, sums
        except Killed:
            kills += 1


@pytest.mark.parametrize("begins", [(), (0, 3)])
def test_networks_that_are_killed_at_every_evaluation_end_as_if_they_never_were(begins):
    watching = criteria.accumulated_movement()
    drawer = Drawer()
    options = {"keeper": drawer, "keep_every": 1e9}
    make = lambda **more: trainer(  # noqa: E731
        LEARNER, watching, PROTOCOL, cases.data(), Plan("map"), **more
    )
    own = begins if begins == () else jnp.array(begins)
    given = networks(2)._replace(begins=own), 2
    whole = make()(*given, snapshots=(2, 3))
    book = Ledger()
    run = make(ledger=book, **options)
    found, kills, sums = killed_at_every_evaluation(run, given, snapshots=(2, 3))
    chex.assert_trees_all_equal(found, whole)
    # No step was made twice but the last, whose end is not kept here.
    assert book.network_steps == sums[-1] + 2
    # At 0, 2 (a snapshot), 3, 6 and 7.
    assert kills == 5
    assert drawer.saved >= 3
    assert sums[-1] == 2 * 7 - sum(begins)


@pytest.fixture
def always_looking(monkeypatch):
    monkeypatch.setattr(pace, "LOOK_EVERY", 0.0)


@pytest.mark.parametrize("streaming", [False, True])
def test_looking_after_every_step_changes_nothing(streaming, always_looking):
    told = []
    run = trainer(
        LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), streaming=streaming
    )
    found = run(networks(2), 2, snapshots=(2,), on_segment=lambda *now: told.append(now))
    whole = fit()(networks(2), 2, snapshots=(2,))
    chex.assert_trees_all_equal(found.training.learner, whole.training.learner)
    chex.assert_trees_all_equal((found.curves, found.snapshots), (whole.curves, whole.snapshots))
    # At 0, then after each of seven steps, of two networks.
    assert [steps for steps, _ in told] == [0, *[2] * 7]
    # Between evaluations the newest metrics are told.
    losses = [metrics["validation_loss"].tolist() for _, metrics in told]
    assert losses[1] == losses[0] != losses[3] == losses[4]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("begins", [(), (0, 3)])
def test_networks_that_are_killed_after_every_step_end_as_if_they_never_were(
    begins, streaming, always_looking
):
    watching, drawer = criteria.accumulated_movement(), Drawer()
    given = networks(2)._replace(begins=begins and jnp.array(begins)), 2
    make = lambda **more: trainer(  # noqa: E731
        LEARNER, watching, PROTOCOL, cases.data(), Plan("map"), streaming=streaming, **more
    )
    run = make(keeper=drawer, keep_every=1e9)
    found, kills, sums = killed_at_every_evaluation(run, given, snapshots=(2, 3))
    chex.assert_trees_all_equal(found, make()(*given, snapshots=(2, 3)))
    # A step that no network makes yet moves nobody on.
    assert kills == len(set(sums)) >= 8 - (len(begins) > 0)
    assert sums[-1] == 2 * 7 - sum(begins)


def test_a_population_goes_on_behind_the_evaluation_at_which_it_was_kept(monkeypatch):
    monkeypatch.setattr(pace, "LOOK_EVERY", 1e9)
    options = {"keeper": Drawer(), "keep_every": 1e9}
    run = trainer(LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), **options)
    told = []

    def on_segment(steps, metrics):
        told.append(steps)
        if len(told) == 2:
            raise Killed

    with pytest.raises(Killed):
        run(networks(2), 2, on_segment=on_segment)
    assert told == [0, 6]
    run(networks(2), 2, on_segment=on_segment)
    # What was made is told in one, then the two intervals that were left.
    assert told == [0, 6, 6, 6, 2]


def test_other_networks_are_not_taken_for_those_that_are_kept():
    drawer = Drawer()
    run = trainer(
        LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), keeper=drawer, keep_every=0.0
    )
    first = run(networks(2), 2)
    assert drawer.content is not None
    others = networks(2)._replace(keys=jax.random.split(jax.random.key(9), 2))
    chex.assert_trees_all_equal(run(others, 2), fit()(others, 2))
    chex.assert_trees_all_equal(run(networks(2), 2), first)


def test_time_decides_when_networks_are_kept_and_they_are_not_at_the_end():
    for seconds, saved in ((0.0, 3), (1e9, 0)):
        drawer = Drawer()
        options = {"keeper": drawer, "keep_every": seconds}
        trainer(LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), **options)(
            networks(1), 1
        )
        assert drawer.saved == saved
        assert not saved or drawer.content["stop"] == 6


def test_networks_in_training_are_kept_when_it_is_time_and_not_before(monkeypatch):
    class Kept:
        def load(self):
            return None

        def save(self, content):
            pass

    assert Keeping(Kept(), 0.0).due is True
    assert Keeping(Kept(), 3600.0).due is False
    assert Keeping(None, 0.0).due is False
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    keeping = Keeping(Kept(), 60.0)
    for passed, due in ((59.0, False), (60.0, True), (5000.0, True)):
        now[0] = 1000.0 + passed
        assert keeping.due is due


def test_the_host_looks_every_few_seconds_by_what_the_last_steps_took(monkeypatch):
    now = 1.0  # The machine has just begun.
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    here = pace.Pace()
    here.begin()
    for steps, seconds, following in ((1, 2.0, 2), (2, 1.0, 10), (10, 60.0, 1)):
        with here.timing(steps):
            now += seconds
        assert here.stop(0, 1000) == following
    assert here.look()
    assert not here.look()
    now += pace.LOOK_EVERY
    assert here.look()
    # A clock may stand still, and no part is so long that its end would be no step.
    with here.timing(1):
        pass
    assert here.stop(0, 10**7) == 10**6


def test_the_first_part_may_compile_and_does_not_count_towards_a_look(monkeypatch):
    now = 100.0
    monkeypatch.setattr(pace.time, "monotonic", lambda: now)
    here = pace.Pace()
    for looks in (False, True):
        here.begin()
        with here.timing(1):
            now += 2 * pace.LOOK_EVERY
        assert here.look() is looks


@pytest.mark.parametrize("streaming", [False, True])
def test_the_host_counts_from_where_an_interval_begins_and_times_every_part(streaming, monkeypatch):
    told = []

    class Told(pace.Pace):
        def begin(self):
            told.append("begins")

        def stop(self, start, end):
            return min(end, start + 2)

        def timing(self, steps):
            told.append(steps)
            return contextlib.nullcontext()

        def look(self):
            return False

    monkeypatch.setattr(segments, "Pace", Told)
    # Of two networks two batches of four images and labels, of 10 bytes each.
    monkeypatch.setattr(placement, "FED_BYTES", 2 * 2 * 4 * 10)
    run = trainer(
        LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), streaming=streaming
    )
    trained = run(networks(2), 2)
    before = [] if streaming else ["begins", 0]
    assert told == [*before, "begins", 2, 1, "begins", 2, 1, "begins", 1]
    # Only where the device draws the batches does it keep an order.
    assert trained.training.order.shape == (2, 0 if streaming else 26)


@pytest.mark.parametrize("streams", [False, True])
def test_a_population_that_trains_on_takes_no_memory_twice(streams, monkeypatch):
    """Were it held twice, half as many networks would fit; nothing else would tell."""
    own, gone = "streamed" if streams else "held", []
    make = getattr(segments, own)

    def watched(*arguments):
        made = make(*arguments)

        def going(*networks):
            before = ()
            for reached in made.run(*networks):
                gone.extend(leaf.is_deleted() for leaf in before)
                before = jax.tree.leaves(reached.training.learner.params)
                yield reached

        return made._replace(run=going)

    monkeypatch.setattr(run, own, watched)
    fit = trainer(LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), Plan("map"), streaming=streams)
    fit(networks(2), 2)
    assert gone
    assert all(gone)
