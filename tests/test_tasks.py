"""Laws of tasks: data sets stacked beside each other are what each of them is alone."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import (
    Examples,
    Plan,
    Protocol,
    TicketError,
    data,
    learners,
    recipes,
)
from jaxticket.data.dataset import DataError, Splits, make_dataset
from jaxticket.imp import Variant
from jaxticket.learners import preprocessing
from jaxticket.train.network import UNWATCHED
from jaxticket.trainer import Networks, trainer

RECIPE = recipes.Recipe(model="lenet_300_100", width=0.02, batch_size=8, inputs="standardized")


def tiny(number, seed, classes=3, size=cases.SHAPE):
    generator = np.random.default_rng(seed)

    def draw(count):
        images = generator.integers(0, 100 + 50 * seed, (count, *size), np.uint8)
        return Examples(images, (np.arange(count) % classes).astype(np.int32))

    splits = Splits(draw(number), draw(number // 2), draw(number // 3), "drawn")
    return make_dataset(f"tiny {seed}", splits, classes, "drawn")


@functools.cache
def both():
    return data.stacked([tiny(48, 1), tiny(24, 2)])


def family(hyperparameters):
    """Handwritten networks, which compile fast, on stacked tasks or, without `task`, on one."""
    task = hyperparameters.get("task")
    images = both().train.images
    preprocess = preprocessing.by_task("standardized", images)(1 if task is None else task)
    learner = learners.supervised(cases.handwritten(), optax.sgd(0.1), preprocess=preprocess)
    return learner if task is None else learners.on_task(learner, task)


def train(learner, dataset, networks):
    splits = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
    protocol = Protocol(steps=7, batch_size=8, evaluate_every=4)
    trained = trainer(learner, UNWATCHED, protocol, splits, Plan("map"))(networks, 2)
    return trained.training.learner.params, trained.curves


@pytest.mark.slow
def test_tasks_of_one_population_are_to_the_bit_what_each_is_alone():
    state, mask = family({}).init(jax.random.key(0)), cases.mask()
    state = family({}).restart(state, state.params, mask, moments=False)
    two = Networks(*jax.tree.map(lambda leaf: np.stack([leaf] * 2), (state, mask)), keys())
    together = train(family, both(), two._replace(hyperparameters={"task": np.arange(2)}))
    alone = train(family({}), data.unstacked(both(), 1), two)
    cases.assert_same_bits(cases.member(together, 1), cases.member(alone, 1))
    assert not np.array_equal(*together[1]["test_loss"])


@pytest.mark.slow
def test_tasks_are_repelled_as_each_is_alone():
    def search(learner, dataset, variants):
        splits = {name: getattr(dataset, name) for name in ("train", "validation", "test")}
        given = {"learner": learner, "data": splits, "variants": variants, "levels": 2}
        return searches.search(**given, arms=("ticket",))

    each = {str(task): Variant({"task": task}, repulsion=2.0) for task in (0, 1)}
    each["free"] = Variant({"task": 1}, repulsion=0.0)
    together = search(family, both(), each)
    alone = search(family, data.unstacked(both(), 1), {"1": Variant({}, repulsion=2.0)})
    for level, replicate in ((0, 0), (1, 0), (1, 1)):
        one, other = (r.network("ticket", level, replicate, "1") for r in (together, alone))
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))
    found = [together.network("ticket", 1, 0, name).params["output"] for name in ("1", "free")]
    assert not np.array_equal(*(layer["kernel"] for layer in found))


def keys():
    return jax.random.split(jax.random.key(5), 2)


def test_every_example_of_a_split_stands_in_it_equally_often():
    one, other = tiny(50, 1), tiny(23, 2)
    stacked = data.stacked([one, other])
    # Two sets, the smaller one three times: 50 is no multiple of 3, 48 is the next below.
    assert stacked.train.images.shape == (48, 2, *cases.SHAPE)
    for task, (dataset, copies) in enumerate([(one, 1), (other, 3)]):
        rows = stacked.train.images[:, task].reshape(48, -1)
        kept, times = np.unique(rows, axis=0, return_counts=True)
        assert (times == copies).all()
        known = {row.tobytes(): label for row, label in zip(*flat(dataset.train), strict=True)}
        assert all(row.tobytes() in known for row in kept)
        assert [known[row.tobytes()] for row in rows] == stacked.train.labels[:, task].tolist()


def flat(examples):
    return examples.images.reshape(len(examples.labels), -1), examples.labels


def test_standardized_tasks_have_their_own_mean_and_deviation():
    images = both().train.images
    of = preprocessing.by_task("standardized", images)
    for task in (0, 1):
        inputs = np.asarray(of(jnp.int32(task))(jnp.asarray(images[:, task])), np.float64)
        assert abs(inputs.mean()) < 1e-5
        assert abs(inputs.std() - 1) < 1e-5
        alone = preprocessing.standardized(images[:, task])(jnp.asarray(images[:, task]))
        cases.assert_same_bits(of(task)(jnp.asarray(images[:, task])), alone)


@pytest.mark.slow
def test_the_objective_of_a_task_is_that_of_the_task_alone():
    learner = recipes.make_family(RECIPE, both())({"task": 1})
    one = data.unstacked(both(), 1)
    alone = recipes.make_family(RECIPE, one)({})
    # Drawn here, since compiling random initialisations takes most of the time.
    shapes, generator = jax.eval_shape(alone.init, jax.random.key(0)), np.random.default_rng(0)
    draw = lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), jnp.float32)  # noqa: E731
    params = jax.tree.map(draw, shapes.params)

    def losses(learner, examples):
        objective, batch = learner.objective, jax.tree.map(jnp.asarray, examples)
        inputs = objective.prepare(batch)
        logits, _ = objective.apply(params, {}, inputs, train=False)
        return objective.loss(logits, batch)

    np.testing.assert_array_equal(losses(learner, both().train), losses(alone, one.train))


def test_a_penalty_leaves_a_learner_on_its_task():
    one = learners.Learner(None, lambda *given: (given[0], {"batch": given[2]}), None, None)
    one = one._replace(with_penalty=lambda penalty: one._replace(objective=penalty))
    added = learners.on_task(one, 1).with_penalty(None)
    batch = jnp.array([[1.0, 5.0], [2.0, 6.0]])
    np.testing.assert_array_equal(added.step(None, None, batch, None)[1]["batch"], [5.0, 6.0])
    assert learners.on_task(one._replace(with_penalty=None), 1).with_penalty is None


def test_resized_permuted_and_chosen_classes_are_what_their_definitions_say():
    one = tiny(12, 1)
    larger = data.resized(one, 4, 6, "nearest").train.images
    np.testing.assert_array_equal(larger[:, ::2, 1::2], one.train.images)
    other = data.permuted(one, jax.random.key(3))
    order = np.asarray(jax.random.permutation(jax.random.key(3), np.arange(6, dtype=np.int32)))
    for split in ("train", "test"):
        before, after = (getattr(d, split).images.reshape(-1, 6) for d in (one, other))
        np.testing.assert_array_equal(after, before[:, order])
    chosen = data.only_classes(one, (2, 0))
    kept = one.train.labels != 1
    np.testing.assert_array_equal(chosen.train.images, one.train.images[kept])
    np.testing.assert_array_equal(chosen.train.labels, np.where(one.train.labels[kept] == 2, 0, 1))
    assert chosen.classes == 3
    assert len({one.sha256, other.sha256, chosen.sha256}) == 3


BAD = [
    (lambda: data.stacked([]), "tasks: got none"),
    (lambda: data.stacked([tiny(12, 1), tiny(12, 2, size=(2, 2, 1))]), r"tiny 2 \[2, 2, 1\]"),
    (lambda: data.stacked([tiny(n, 1) for n in (103, 12, 10, 9)]), "leave out the smallest"),
    (lambda: data.only_classes(tiny(12, 1), (0, 3)), r"got classes \[0, 3\].*0..2"),
    (lambda: data.only_classes(tiny(12, 1), (0, 0)), "expected different ones"),
    (lambda: data.resized(tiny(12, 1), 0, 4), "got 0 x 4 pixels"),
    (lambda: data.resized(tiny(12, 1), 4, 4, "nearly"), "method 'nearly'"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=lambda value: str(value)[:20])
def test_what_cannot_be_a_task_is_one_line(make, message):
    with pytest.raises(DataError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", [{}, {"task": 2}, {"task": -1}])
def test_a_network_has_to_say_which_task_it_trains_on(given):
    learner = recipes.make_family(RECIPE, both())(given)
    state = jax.eval_shape(learner.init, jax.random.key(0))
    with pytest.raises(TicketError, match=r"hyperparameter task: got .*, expected 0 to 1"):
        learner.evaluate(state, jax.tree.map(lambda leaf: None, state.params), both().test)
