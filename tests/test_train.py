"""The laws of training one network: the plain loop, its data, its clock and its rewinding."""

import functools
import itertools
from typing import Any, NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxticket import Examples, TicketError, learners, masks, train
from jaxticket.keys import derive
from jaxticket.protocol import Protocol
from jaxticket.train import Training

# 26 examples in batches of 4: 6 steps an epoch, 2 examples left out of each.
PROTOCOL = Protocol(steps=16, batch_size=4, evaluate_every=7)
AN_EPOCH = 6
KEY = jax.random.key(42)


def definition_of_batch(key, step, number=26, size=4):
    """The places of a step's examples, from the documented order of the data."""
    epoch, place = divmod(step, number // size)
    order = np.asarray(jax.random.permutation(derive(key, "order", epoch), number))
    return order[place * size : (place + 1) * size]


# The data and the clock, seen by a learner that only writes down what it is given.


class Log(NamedTuple):
    params: Any
    model_state: Any
    opt_state: Any


def scribe() -> learners.Learner:
    """Writes the labels and the key of every step; its metric is the number of steps."""

    def init(key):
        rows = jnp.full((40, 4), -1, jnp.int32)
        return Log({"w": jnp.ones(2)}, {"labels": rows, "keys": jnp.zeros((40, 2), jnp.uint32)}, 0)

    def step(state, mask, batch, key):
        at, log = state.opt_state, state.model_state
        log = {
            "labels": log["labels"].at[at].set(batch.labels),
            "keys": log["keys"].at[at].set(jax.random.key_data(key)),
        }
        return Log(state.params, log, at + 1), {"place": at.astype(jnp.float32)}

    def evaluate(state, mask, examples):
        return {"steps": jnp.float32(state.opt_state)}

    return learners.Learner(init, step, evaluate, lambda state, *_, **__: state)


@functools.cache
def pen(start: int):
    numbered = Examples(cases.examples(26).images, np.arange(26, dtype=np.int32))
    data = {"train": numbered, "validation": cases.examples(3), "test": cases.examples(2)}
    learner, mask = scribe(), {"w": jnp.ones(2, bool)}
    state = learner.init(KEY)._replace(opt_state=jnp.int32(0))
    return jax.jit(lambda key: train.train(learner, data, state, mask, key, PROTOCOL, start=start))


def written(start: int = 0, seed: int = 42):
    """What the scribe wrote: labels are the places of the examples in the data."""
    trained, curves = pen(start)(jax.random.key(seed))
    return jax.tree.map(np.asarray, (trained.learner.model_state, curves))


def test_every_step_gets_the_batch_and_the_key_of_its_definition():
    log, _ = written()
    for step in range(PROTOCOL.steps):
        np.testing.assert_array_equal(log["labels"][step], definition_of_batch(KEY, step))
        key = jax.random.key_data(derive(KEY, "dropout", step))
        np.testing.assert_array_equal(log["keys"][step], key)
    assert (log["labels"][PROTOCOL.steps :] == -1).all()


def test_no_example_comes_twice_in_an_epoch_and_epochs_differ():
    log, _ = written()
    epochs = [log["labels"][first : first + AN_EPOCH].ravel() for first in (0, AN_EPOCH)]
    for order in epochs:
        assert len(set(order)) == AN_EPOCH * 4
        assert set(order) <= set(range(26))
    assert (epochs[0] != epochs[1]).any()


def test_another_key_gives_another_order():
    assert (written()[0]["labels"] != written(seed=43)[0]["labels"]).any()


def test_epoch_order_is_a_permutation_of_every_example():
    for epoch in range(2):
        order = train.epoch_order(KEY, epoch, 26)
        assert sorted(order.tolist()) == list(range(26))
        expected = jax.random.permutation(derive(KEY, "order", epoch), 26)
        np.testing.assert_array_equal(order, expected)


@pytest.mark.parametrize("start", [6, 15])
def test_training_from_a_step_goes_on_at_its_place_in_the_data(start):
    whole, rest = written()[0], written(start)[0]
    steps = PROTOCOL.steps - start
    np.testing.assert_array_equal(rest["labels"][:steps], whole["labels"][start : start + steps])
    np.testing.assert_array_equal(rest["keys"][:steps], whole["keys"][start : start + steps])
    assert (rest["labels"][steps:] == -1).all()


@pytest.mark.parametrize(
    ("start", "expected"),
    [(0, (0, 7, 14, 16)), (6, (6, 7, 14, 16)), (15, (15, 16))],
)
def test_curves_stand_at_the_boundaries(start, expected):
    _, curves = written(start)
    assert PROTOCOL.boundaries(start) == expected
    assert curves.keys() == {"train_place", "validation_steps", "test_steps"}
    for split in ("validation", "test"):
        np.testing.assert_array_equal(curves[f"{split}_steps"], np.array(expected) - start)
    # The mean over the segment's steps; there is none before the first.
    assert np.isnan(curves["train_place"][0])
    for row, (here, stop) in enumerate(itertools.pairwise(expected), start=1):
        assert curves["train_place"][row] == np.mean(np.arange(here, stop) - start)


def test_boundaries_have_no_step_twice():
    assert Protocol(steps=20, batch_size=1, evaluate_every=10).boundaries() == (0, 10, 20)
    assert Protocol(steps=20, batch_size=1, evaluate_every=10).boundaries(10) == (10, 20)
    assert Protocol(steps=5, batch_size=1, evaluate_every=10).boundaries() == (0, 5)


def test_impossible_protocols_are_refused():
    for name in ("steps", "batch_size", "evaluate_every"):
        sizes = {"steps": 1, "batch_size": 1, "evaluate_every": 1, name: 0}
        with pytest.raises(TicketError, match=f"{name}: got 0, expected at least 1"):
            Protocol(**sizes)
    for start in (-1, 16):
        with pytest.raises(TicketError, match=f"rewind step: got {start}, expected 0 to 15"):
            PROTOCOL.boundaries(start)
    learner = cases.learner()
    state = jax.eval_shape(learner.init, KEY)
    with pytest.raises(TicketError, match="batch size: got 27, expected at most the 26"):
        train.train(learner, cases.data(), state, {}, KEY, Protocol(4, 27, 2))


# Training, for every model.


class Subject(NamedTuple):
    """A learner with its step and a segment compiled once."""

    learner: learners.Learner
    begin: Any
    segment: Any
    step: Any


@functools.cache
def subject(model: str, optimizer: str = "adamw") -> Subject:
    learner, data = cases.learner(model, optimizer), jax.tree.map(jnp.asarray, cases.data())

    @jax.jit
    def segment(training, mask, key, start, stop):
        return train.segment(
            learner, train.UNWATCHED, PROTOCOL, training, mask, key, data, start, stop
        )

    def begin(state, key, start):
        return train.begin(train.UNWATCHED, PROTOCOL, state, key, data, start)

    return Subject(learner, begin, segment, jax.jit(learner.step))


def start_of(model: str, mask: Any = None):
    learner = subject(model).learner
    state = learner.init(jax.random.key(1))
    mask = masks.ones(state.params) if mask is None else mask
    return learner.restart(state, state.params, mask, moments=False), mask


def run(model: str, state: Any, mask: Any, start: int, stop: int, key: Any = KEY) -> Training:
    s = subject(model)
    begun = s.begin(state, key, start)
    return s.segment(begun, mask, key, jnp.int32(start), jnp.int32(stop))


@cases.every(cases.MODELS)
def test_training_is_a_plain_loop_over_the_learners_step(name):
    s, train_split = subject(name), cases.data()["train"]
    state, mask = start_of(name, cases.mask_like(s.learner))
    trained, metrics = run(name, state, mask, 3, 16)
    losses = []
    for step in range(3, 16):
        chosen = definition_of_batch(KEY, step)
        batch = jax.tree.map(lambda leaf: leaf[chosen], train_split)  # noqa: B023
        state, values = s.step(state, mask, batch, derive(KEY, "dropout", step))
        losses.append(float(values["loss"]))
    cases.assert_close(trained.learner, state)
    np.testing.assert_allclose(metrics["train_loss"], np.mean(losses), rtol=1e-5)
    cases.assert_zero_where_pruned(trained.learner.params, mask)
    final = s.learner.evaluate(state, mask, cases.data()["validation"])
    np.testing.assert_allclose(metrics["validation_loss"], final["loss"], rtol=1e-5)


def test_train_is_its_segments_one_after_the_other():
    s = subject("handwritten")
    state, mask = start_of("handwritten", cases.mask())
    data = cases.data()
    whole = jax.jit(lambda state: train.train(s.learner, data, state, mask, KEY, PROTOCOL, start=5))
    trained, curves = whole(state)
    here, training = 5, s.begin(state, KEY, 5)
    for row, stop in enumerate(PROTOCOL.boundaries(5)):
        training, metrics = s.segment(training, mask, KEY, jnp.int32(here), jnp.int32(stop))
        cases.assert_close(cases.member(curves, row), metrics)
        here = stop
    cases.assert_close(trained.learner, training.learner)


@cases.every(cases.MODELS)
def test_cutting_training_anywhere_changes_no_bit(name):
    state, mask = start_of(name, cases.mask_like(subject(name).learner))
    whole, _ = run(name, state, mask, 0, 16)
    training = subject(name).begin(state, KEY, 0)
    for start, stop in ((0, 0), (0, 5), (5, 6), (6, 13), (13, 13), (13, 16)):
        training, _ = subject(name).segment(training, mask, KEY, jnp.int32(start), jnp.int32(stop))
    cases.assert_same_bits(training, whole)


@cases.every(cases.MODELS)
@pytest.mark.parametrize("step", [4, 6, 9])
def test_rewinding_to_a_step_repeats_the_uninterrupted_run_bit_for_bit(name, step):
    # A mask of ones, the moments kept and the same key: batch statistics, optimizer moments,
    # the data's place and the dropout keys must all come back.
    learner = subject(name).learner
    state, mask = start_of(name)
    uninterrupted, _ = run(name, state, mask, 0, 16)
    snapshot = jax.device_get(run(name, state, mask, 0, step)[0].learner)
    again = learner.restart(snapshot, snapshot.params, mask, moments=True)
    cases.assert_same_bits(again, snapshot)
    repeated, _ = run(name, again, mask, step, 16)
    cases.assert_same_bits(repeated, uninterrupted)


def test_what_a_restart_forgets_is_felt():
    # So that the law above cannot hold by accident.
    learner = subject("linen_with_batch_statistics").learner
    state, mask = start_of("linen_with_batch_statistics")
    name = "linen_with_batch_statistics"
    snapshot = run(name, state, mask, 0, 9)[0].learner
    expected = run(name, snapshot, mask, 9, 16)[0].learner.params
    forgetful = [
        (learner.restart(snapshot, snapshot.params, mask, moments=False), KEY, 9),
        (snapshot._replace(model_state=state.model_state), KEY, 9),
        (snapshot, jax.random.key(0), 9),
        (snapshot, KEY, 8),
    ]
    for index, (start, key, step) in enumerate(forgetful):
        other = run(name, start, mask, step, 16, key)[0].learner
        changed = (other.params["output"]["kernel"] != expected["output"]["kernel"]).any()
        if index == 1:  # training normalises by the batch; only what is kept differs
            assert not changed
            assert (other.model_state["batch_stats"]["norm"]["mean"] != 0).any()
        else:
            assert changed


def test_restart_goes_to_the_given_params_and_forgets_the_moments_unless_asked():
    s, mask = subject("handwritten"), cases.mask()
    state, _ = start_of("handwritten", mask)
    trained = run("handwritten", state, mask, 0, 16)[0].learner
    smaller = jax.tree.map(lambda m: m & (jnp.arange(m.size).reshape(m.shape) % 3 > 0), mask)
    params = cases.params(9)
    for moments in (False, True):
        restarted = s.learner.restart(trained, params, smaller, moments=moments)
        cases.assert_same_bits(restarted.params, masks.apply(params, smaller))
        adam = restarted.opt_state[0]
        for name in ("mu", "nu"):
            cases.assert_zero_where_pruned(getattr(adam, name), smaller)
            expected = masks.apply(getattr(trained.opt_state[0], name), smaller)
            if not moments:
                expected = jax.tree.map(jnp.zeros_like, expected)
            cases.assert_same_bits(getattr(adam, name), expected)
        assert int(adam.count) == (16 if moments else 0)
        assert int(restarted.opt_state[2].count) == 16


@cases.every(cases.OPTIMIZERS)
def test_restarted_moments_are_zero_where_pruned_before_the_first_step(name):
    learner, mask = cases.learner(optimizer=name), cases.mask()
    state = learner.init(KEY)
    for moments in (False, True):
        restarted = learner.restart(state, state.params, mask, moments=moments)
        like = jax.tree.structure(state.params)
        is_like = lambda node: jax.tree.structure(node) == like  # noqa: B023, E731
        for node in jax.tree.leaves(restarted, is_leaf=is_like):
            if is_like(node):
                cases.assert_zero_where_pruned(node, mask)


def test_params_that_start_unmasked_are_masked_before_the_first_step():
    state, _ = start_of("handwritten")
    mask = cases.mask()
    trained, metrics = run("handwritten", state, mask, 0, 0)
    cases.assert_same_bits(trained.learner.params, masks.apply(state.params, mask))
    assert np.isnan(metrics["train_loss"])
    # Unmasked weights would give the first batch another loss.
    masked = state._replace(params=masks.apply(state.params, mask))
    results = [run("handwritten", start, mask, 0, 1) for start in (state, masked)]
    cases.assert_same_bits(results[0], results[1])


# Evaluation.


@pytest.mark.parametrize("size", [1, 3, 5, 7, 10, 11])
def test_evaluation_in_chunks_is_evaluation_as_a_whole(size):
    make = functools.partial(learners.supervised, cases.handwritten(), optax.sgd(0.1))
    state, split = make().init(KEY), cases.examples(10)
    whole = make().evaluate(state, cases.mask(), split)
    chunked = jax.jit(make(evaluation_batch_size=size).evaluate)(state, cases.mask(), split)
    cases.assert_close(chunked, whole, 1e-6)


def test_evaluation_is_the_mean_loss_and_the_share_of_correct_answers_under_the_mask():
    learner, mask = cases.learner(), cases.mask()
    state, split = learner.init(KEY), cases.examples(10)
    metrics = learner.evaluate(state, mask, split)
    params = jax.tree.map(np.asarray, masks.apply(state.params, mask))
    x = split.images.reshape(10, 6).astype(np.float32) / 255
    hidden = np.tanh(x @ params["hidden_0"]["kernel"] + params["hidden_0"]["bias"])
    logits = hidden @ params["output"]["kernel"] + params["output"]["bias"]
    log_total = np.log(np.exp(logits).sum(axis=1))
    loss = log_total - logits[np.arange(10), split.labels]
    np.testing.assert_allclose(metrics["loss"], loss.mean(), rtol=1e-5)
    np.testing.assert_allclose(metrics["accuracy"], (logits.argmax(1) == split.labels).mean())


def test_batch_statistics_move_in_training_and_only_there():
    name = "linen_with_batch_statistics"
    state, mask = start_of(name)
    idle, idle_metrics = run(name, state, mask, 0, 0)
    cases.assert_same_bits(idle.learner.model_state, state.model_state)
    trained, _ = run(name, state, mask, 0, 1)
    statistics = trained.learner.model_state["batch_stats"]["norm"]
    chosen = cases.data()["train"].images[definition_of_batch(KEY, 0)].reshape(4, 6) / 255
    layer = jax.tree.map(np.asarray, state.params["hidden_0"])
    inputs = chosen @ layer["kernel"] + layer["bias"]
    np.testing.assert_allclose(statistics["mean"], 0.1 * inputs.mean(axis=0), rtol=1e-4, atol=1e-6)
    # And evaluation reads them.
    moved = state._replace(model_state=trained.learner.model_state)
    moved_metrics = run(name, moved, mask, 0, 0)[1]
    assert moved_metrics["validation_loss"] != idle_metrics["validation_loss"]
