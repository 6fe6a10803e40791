"""Laws of a population's training loop: snapshots, pieces, what the host is told."""

import functools

import cases
import chex
import jax
import pytest

from jaxticket import Plan, Protocol, TicketError, train
from jaxticket.trainer import Networks, trainer

pytestmark = pytest.mark.usefixtures("quick_compilation")
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


def test_snapshots_outside_training_are_refused():
    with pytest.raises(TicketError, match=r"snapshots: got steps \[1, 8\], expected steps from 2 "):
        fit()(networks(1), 1, start=2, snapshots=(1, 5, 8))
