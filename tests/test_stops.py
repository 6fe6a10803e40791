"""The laws of splits that are measured only where a network begins, stops early or ends."""

import dataclasses
import functools

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import lenet
from experiments.common.experiment import make_problem
from jaxticket import Plan, Protocol, criteria, train
from jaxticket.data import load
from jaxticket.records import Record
from jaxticket.runs.partway import PartwayFile
from jaxticket.train import stopping
from jaxticket.trainer import Networks, Trained, pace, trainer

EVERYWHERE = Protocol(steps=25, batch_size=4, evaluate_every=3)
AT_STOPS = dataclasses.replace(EVERYWHERE, test_curves=False)
LEARNER = cases.learner(optimizer="adam_scheduled")
DATA = cases.data() | {"test": cases.examples(9, seed=2)}
NUMBER = 5
OFF_GRID = tuple(step for step in range(25) if step % 3)
"""Snapshots between evaluations, some of them where a loss is lower than at any evaluation."""


def networks(learner=LEARNER, number=NUMBER):
    own = [cases.mask_like(learner, seed) for seed in range(number)]
    keys = jax.random.split(jax.random.key(0), number)
    states = jax.vmap(learner.init)(keys)
    restart = lambda s, m: learner.restart(s, s.params, m, moments=False)  # noqa: E731
    return Networks(jax.vmap(restart)(states, cases.stack(own)), cases.stack(own), keys)


@functools.cache
def fit(protocol=AT_STOPS, plan="map_on_1", streaming=False):
    made = cases.PLANS[plan]()
    return trainer(LEARNER, train.UNWATCHED, protocol, DATA, made, streaming=streaming)


def stops(found: Trained, begins: np.ndarray | int = 0) -> np.ndarray:
    """Where each network is measured, by the definition: `bool[P, evaluations]`."""
    losses = found.curves["validation_loss"]
    lowest = np.where(np.isfinite(losses), losses, np.inf).argmin(axis=1)[:, None]
    here = np.arange(len(found.steps)) == lowest
    begun = found.steps == np.broadcast_to(begins, len(losses))[:, None]
    return here | begun | (found.steps == found.steps[-1])


def assert_measured_at_stops(actual: Trained, whole: Trained, begins=0, same=np.array_equal):
    there = stops(whole, begins)
    for name, curve in whole.curves.items():
        found = actual.curves[name]
        if name.startswith("test_"):
            assert (np.isfinite(found) == there).all(), name
            assert same(found[there], curve[there]), name
        else:
            assert (np.isfinite(found) == np.isfinite(curve)).all(), name
            assert same(found[np.isfinite(curve)], curve[np.isfinite(curve)]), name
    assert actual.steps.tolist() == whole.steps.tolist()


def close(actual, expected):
    return np.allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("start", "begins"),
    [(0, ()), (0, (0, 0, 5, 6, 9)), (0, (0, 0, 0, 1, 8)), (4, ()), (3, (4, 4, 5, 6, 9))],
)
def test_measuring_at_stops_gives_the_bits_that_measuring_everywhere_gives(
    start, begins, streaming
):
    given = networks()._replace(begins=begins and jnp.array(begins))
    # In pieces of two, the last of them padded.
    whole, found = (
        fit(p, streaming=streaming)(given, 2, start=start, snapshots=OFF_GRID[start:])
        for p in (EVERYWHERE, AT_STOPS)
    )
    assert_measured_at_stops(found, whole, begins or start)
    chex.assert_trees_all_equal(
        (found.training, found.snapshots), (whole.training, whole.snapshots)
    )
    # The early-stop steps are neither all at the start nor all at the end, and not all the same.
    counts = stops(whole, begins or start).sum(axis=1)
    assert (counts == 3).sum() >= 2


@cases.every(cases.slow_but("vmap_on_2", cases.PLANS), "plan")
def test_every_plan_measures_the_same(plan):
    given, whole = networks(), fit(EVERYWHERE)(networks(), 8)
    assert_measured_at_stops(fit(plan=plan)(given, 8), whole, same=close)


def test_one_network_by_itself_is_measured_at_the_same_stops():
    given, whole = networks(), fit(EVERYWHERE)(networks(), NUMBER)
    one = jax.jit(lambda state, mask, key: train.train(LEARNER, DATA, state, mask, key, AT_STOPS))
    for place in range(NUMBER):
        network = cases.member((given.states, given.masks, given.keys), place)
        training, curves = one(*network)
        found = Trained(training, whole.steps, jax.tree.map(lambda leaf: leaf[None], curves), {})
        expected = whole._replace(curves={n: c[[place]] for n, c in whole.curves.items()})
        assert_measured_at_stops(found, expected, same=close)


class Drawer:
    """Keeps the newest population in memory, as a file would."""

    content = None

    def load(self):
        return self.content

    def save(self, content):
        self.content = content


class Killed(BaseException):
    pass


@pytest.mark.parametrize("begins", [(), (0, 0, 5, 6, 9)])
def test_killed_after_any_step_networks_are_measured_as_if_they_never_were(begins, monkeypatch):
    monkeypatch.setattr(pace, "LOOK_EVERY", 0.0)
    given = networks()._replace(begins=begins and jnp.array(begins))
    whole = fit()(given, NUMBER)
    run = trainer(
        LEARNER, train.UNWATCHED, AT_STOPS, DATA, Plan("map"), keeper=Drawer(), keep_every=1e9
    )
    reached = set()

    def kill(steps, metrics):
        told.append(steps)
        if sum(told) not in reached:
            reached.add(sum(told))
            raise Killed

    while True:
        told = []
        try:
            found = run(given, NUMBER, on_segment=kill)
            break
        except Killed:
            pass
    assert len(reached) >= 25
    chex.assert_trees_all_equal(found, whole)


def test_what_was_kept_under_another_protocol_is_not_taken():
    drawer, given = Drawer(), networks()

    def make(protocol):
        return trainer(
            LEARNER, train.UNWATCHED, protocol, DATA, Plan("map"), keeper=drawer, keep_every=0.0
        )

    make(EVERYWHERE)(given, NUMBER)
    assert drawer.content["stop"] == 24
    chex.assert_trees_all_equal(make(AT_STOPS)(given, NUMBER), fit()(given, NUMBER))


def stopped_partway(learner, keeper, stop=13):
    """Leaves networks partway, as a process does that is killed after some steps."""
    run = trainer(
        learner, train.UNWATCHED, AT_STOPS, DATA, Plan("map"), keeper=keeper, keep_every=0.0
    )

    def kill(steps, metrics):
        del metrics
        made.append(steps)
        if sum(made) >= stop * NUMBER:
            raise Killed

    made = []
    with pytest.raises(Killed):
        run(networks(), NUMBER, on_segment=kill)
    return run


def test_metrics_in_a_format_of_jax_are_kept_on_the_disk(tmp_path):
    def evaluate(*given):
        return jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), LEARNER.evaluate(*given))

    learner = LEARNER._replace(evaluate=evaluate)
    going_on = stopped_partway(learner, PartwayFile(tmp_path / "partway.npz"))
    whole = trainer(learner, train.UNWATCHED, AT_STOPS, DATA, Plan("map"))
    found, told = [], []
    found.append(going_on(networks(), NUMBER, on_segment=lambda made, _: told.append(made)))
    assert told[0] > told[1]  # What was made before is told at once.
    chex.assert_trees_all_equal(found[0], whole(networks(), NUMBER))


def test_what_was_kept_for_another_evaluation_is_not_taken(capsys):
    drawer = Drawer()
    stopped_partway(LEARNER, drawer)

    def evaluate(state, mask, examples):
        count = jnp.float32(optimizer_count(state))
        return LEARNER.evaluate(state, mask, examples) | {"count": count}

    learner = LEARNER._replace(evaluate=evaluate)
    fits = [
        trainer(learner, train.UNWATCHED, AT_STOPS, DATA, Plan("map"), keeper=keeper)
        for keeper in (drawer, None)
    ]
    chex.assert_trees_all_equal(*(fit(networks(), NUMBER) for fit in fits))
    assert "they begin again" in capsys.readouterr().err


@pytest.mark.parametrize("losses", [[3.0, 1.0, 1.0, 2.0], [np.nan, 4.0, -np.inf, 5.0]])
def test_the_first_lowest_finite_loss_decides(losses):
    watched = stopping.watch({"w": jnp.zeros(1)}, [True])
    for place, loss in enumerate(losses):
        state = {"w": jnp.full(1, float(place))}
        watched = stopping.look(watched, state, [True], jnp.float32(loss))
    assert watched.read[0].item() == 1.0


def test_losses_that_results_cannot_tell_apart_are_equal():
    # In float64 the second is lower; float32, which results are in, has the same number for both.
    with jax.enable_x64(True):
        watched = stopping.watch({"w": jnp.zeros(1)}, [True])
        for place, loss in enumerate((1.0, 1.0 - 1e-12)):
            state = {"w": jnp.full(1, float(place))}
            watched = stopping.look(watched, state, [True], jnp.float64(loss))
        assert watched.read[0].item() == 0.0


def test_without_a_finite_loss_only_the_ends_are_measured():
    broken = LEARNER._replace(
        evaluate=lambda *given: LEARNER.evaluate(*given) | {"loss": jnp.float32(jnp.nan)}
    )
    found = trainer(broken, train.UNWATCHED, AT_STOPS, DATA, Plan("map"))(networks(), NUMBER)
    measured = np.isfinite(found.curves["test_accuracy"])
    assert (measured == ((found.steps == 0) | (found.steps == 25))).all()
    state, mask, key = cases.member((networks().states, networks().masks, networks().keys), 0)
    _, curves = train.train(broken, DATA, state, mask, key, AT_STOPS)
    chex.assert_trees_all_close(curves["test_accuracy"], found.curves["test_accuracy"][0])


def test_a_learner_without_a_loss_is_measured_at_both_ends():
    bare = LEARNER._replace(
        evaluate=lambda *given: {"accuracy": LEARNER.evaluate(*given)["accuracy"]}
    )
    found = trainer(bare, train.UNWATCHED, AT_STOPS, DATA, Plan("map"))(networks(), NUMBER)
    assert np.isfinite(found.curves["test_accuracy"]).sum(axis=1).tolist() == [2] * NUMBER


def test_data_without_a_test_split_are_measured_as_ever():
    data = cases.data()
    found = [
        trainer(LEARNER, train.UNWATCHED, protocol, data, Plan("map"))(networks(), NUMBER)
        for protocol in (EVERYWHERE, AT_STOPS)
    ]
    chex.assert_trees_all_equal(*found)


def test_evaluating_may_read_anything_of_a_state():
    # It reads its count of steps, which is among the moments.
    def evaluate(state, mask, examples):
        count = jnp.float32(optimizer_count(state))
        away = (count - 7.0) ** 2
        return LEARNER.evaluate(state, mask, examples) | {"loss": away, "count": count}

    reading = LEARNER._replace(evaluate=evaluate)
    found = trainer(reading, train.UNWATCHED, AT_STOPS, DATA, Plan("map"))(networks(), NUMBER)
    counts = found.curves["test_count"]
    measured = [row[np.isfinite(row)].tolist() for row in counts]
    assert measured == [[0.0, 6.0, 25.0]] * NUMBER


def holding(given):
    """The same networks with pruned weights held at one half, which their states carry."""
    halves = jax.tree.map(lambda mask: jnp.where(mask, 0.0, 0.5), given.masks)
    return given._replace(states=jax.vmap(LEARNER.hold)(given.states, halves))


def test_networks_that_hold_weights_are_measured_after_networks_that_hold_none():
    # As controls are after the dense networks, by the same trainer.
    both = networks(), holding(networks())
    structures = [jax.tree.structure(given.states) for given in both]
    assert structures[0] != structures[1]
    for order in (both, both[::-1]):
        run = trainer(LEARNER, train.UNWATCHED, AT_STOPS, DATA, Plan("map"))
        for given in order:
            assert_measured_at_stops(run(given, NUMBER), fit(EVERYWHERE)(given, NUMBER))


def optimizer_count(state):
    counts = [leaf for leaf in jax.tree.leaves(state.opt_state) if leaf.dtype == jnp.int32]
    return counts[0]


@pytest.mark.slow
@cases.every(["handwritten", "linen_with_batch_statistics"], "model")
def test_batch_statistics_belong_to_the_early_stop_step(model):
    learner = cases.learner(model)
    found = [
        trainer(learner, train.UNWATCHED, protocol, DATA, Plan("map"))(networks(learner), NUMBER)
        for protocol in (EVERYWHERE, AT_STOPS)
    ]
    assert_measured_at_stops(found[1], found[0])


def test_what_is_not_measured_is_no_divergence():
    found = fit()(networks(), NUMBER)
    own = (("ticket",) * NUMBER, (0,) * NUMBER, tuple(range(NUMBER)), ("",) * NUMBER)
    record = Record(*own, found.steps, found.curves, {}, {}, {}, {})
    assert record.diverged_steps().tolist() == [-1] * NUMBER
    everywhere = fit(EVERYWHERE)(networks(), NUMBER)
    lowest = stopping.place_of_lowest(found.curves["validation_loss"], axis=1)
    for curves in (found.curves, everywhere.curves):
        for place in {0, int(lowest[2]), len(found.steps) - 1}:
            damaged = curves | {"test_loss": curves["test_loss"].copy()}
            damaged["test_loss"][2, place] = np.nan
            diverged = record._replace(curves=damaged).diverged_steps().tolist()
            assert diverged == [-1, -1, found.steps[place], -1, -1]
    elsewhere = everywhere.curves | {"test_loss": everywhere.curves["test_loss"].copy()}
    elsewhere["test_loss"][2, 5] = np.nan
    assert record._replace(curves=elsewhere).diverged_steps()[2] == found.steps[5]


def test_evaluating_needs_no_moments_to_be_kept():
    given = cases.member((networks().states, networks().masks), 0)
    read = stopping.leaves_read(LEARNER.evaluate, *given, DATA["test"])
    paths = [path for path, _ in jax.tree.leaves_with_path(given[0])]
    kept = [jax.tree_util.keystr(p) for p, one in zip(paths, read, strict=True) if one]
    assert kept
    assert all(path.startswith(".params") for path in kept)
    assert len(kept) < len(read)


def test_a_criterion_that_watches_is_left_alone():
    watching = criteria.accumulated_movement()
    found = [
        trainer(LEARNER, watching, protocol, DATA, Plan("map"))(networks(), NUMBER)
        for protocol in (EVERYWHERE, AT_STOPS)
    ]
    chex.assert_trees_all_equal(found[0].training, found[1].training)


@pytest.mark.parametrize("wanted", [False, True])
def test_an_experiment_measures_curves_of_the_test_set_where_they_are_asked_for(wanted):
    chosen = dataclasses.replace(lenet.PRESETS["smoke"], test_curves=wanted)
    problem = make_problem(chosen, load("digits"))
    assert problem.protocol.test_curves is wanted
    assert lenet.PRESETS["smoke"].test_curves is False


def test_a_learner_may_call_its_metrics_what_it_likes_and_compile_itself():
    # No metric of a step is a loss, and that of the splits is a number of Python's.
    def step(*given):
        state, metrics = LEARNER.step(*given)
        return state, {"error": metrics["loss"]}

    def evaluate(state, mask, examples):
        return {"loss": 0.5, "accuracy": jitted(state, mask, examples)["accuracy"]}

    jitted = jax.jit(LEARNER.evaluate)
    odd = LEARNER._replace(step=step, evaluate=evaluate)
    found = trainer(odd, train.UNWATCHED, AT_STOPS, DATA, Plan("map"))(networks(), NUMBER)
    assert np.isfinite(found.curves["test_accuracy"]).sum(axis=1).tolist() == [2] * NUMBER
    given = cases.member((networks().states, networks().masks, networks().keys), 0)
    _, curves = train.train(odd, DATA, *given, AT_STOPS)
    chex.assert_trees_all_close(curves["test_accuracy"], found.curves["test_accuracy"][0])
    state, mask = cases.member((networks().states, networks().masks), 0)
    plain, compiled = (
        stopping.leaves_read(how, state, mask, DATA["test"]) for how in (LEARNER.evaluate, jitted)
    )
    assert plain == compiled


def test_a_learner_with_a_single_metric_diverges_where_its_validation_does():
    steps = np.arange(0, 60, 10)
    nan = np.nan
    curves = {
        "validation_loss": np.array([[3.0, 2.0, 1.0, 1.5, nan, nan]], np.float32),
        "test_loss": np.array([[3.0, nan, 1.0, nan, nan, nan]], np.float32),
    }
    one = Record(("ticket",), (0,), (0,), ("",), steps, curves, {}, {}, {}, {})
    assert one.diverged_steps().tolist() == [40]
    # Measured everywhere, a loss of the test split that is no number is a divergence.
    curves = {
        "validation_loss": np.ones((1, 6), np.float32),
        "test_loss": np.array([[3.0, 2.0, nan, 1.0, 1.0, 1.0]], np.float32),
    }
    assert one._replace(curves=curves).diverged_steps().tolist() == [20]
