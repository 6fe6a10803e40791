"""The table of instances that every law runs over: add one row, and all laws test it.

@cases.every(cases.OPTIMIZERS)
def test_some_law(name): ...
"""

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen, nnx

from jaxticket import (
    Examples,
    Model,
    Plan,
    allocate,
    arms,
    criteria,
    learners,
    masks,
    models,
    recipes,
)
from jaxticket import rewind as rewinding


def every(names: Iterable[str], argument: str = "name") -> Any:
    """Runs a law once for every row."""
    return pytest.mark.parametrize(argument, list(names))


# What is chosen by name in the library is a case by being there.

CRITERIA = {
    name: criteria.by_name(name)
    for name in (*criteria.CRITERIA, *(f"inverse_{name}" for name in criteria.CRITERIA))
}
ACTIONS = rewinding.ACTIONS
ARMS = arms.ARMS

ALLOCATIONS: dict[str, allocate.Allocation] = {
    "layerwise": allocate.layerwise({"*": 0.2, "output/*": 0.1}),
    "uniform": allocate.uniform(0.3),
    "globally": allocate.globally(0.25),
    "erdos_renyi": allocate.erdos_renyi(0.3),
    "smart_ratio": allocate.smart_ratio(0.3),
    "layerwise_adaptive": allocate.layerwise_adaptive(0.25),
    "by_cost": allocate.by_cost(0.25, {"hidden_0/*": 2, "output/*": 3}),
    "n_of_m": allocate.n_of_m((4, 3, 2, 1), 5, axis={"hidden_0/*": 1, "output/*": 0}),
    "per_output": allocate.per_output(0.3),
    "blocks": allocate.blocks(0.3, (1, None)),
    "units": allocate.units((0.8, 0.6, 0.4, 0.2), dense=()),
    "units_globally": allocate.units((0.8, 0.6, 0.4, 0.3), scope="global", dense=()),
}

UNUSED = {"by_cost": 2, "units_globally": 5}
"""The most of a budget that is left over, where what competes differs in size or cost."""


def assert_kept(name: str, mask: Any, counts: Any) -> None:
    """A mask keeps what an allocation's counts say, exactly, or as nearly as it can."""
    kept = ALLOCATIONS[name].kept(mask)
    for term, number in counts.items():
        assert 0 <= int(number) - int(kept[term]) <= UNUSED.get(name, 0), (name, term)


# Each row is a factory of a learning rate or a schedule, as the law of `restart` needs it.

Factory = Callable[[Any], optax.GradientTransformation]


def decaying() -> optax.Schedule:
    """A warm-up and a cosine; the cast is for strict promotion."""
    schedule = optax.warmup_cosine_decay_schedule(0.01, 0.1, warmup_steps=2, decay_steps=12)
    return lambda count: schedule(jnp.asarray(count, jnp.float32))


OPTIMIZERS: dict[str, tuple[Factory, Any]] = {
    "sgd": (optax.sgd, 0.1),
    "momentum": (lambda rate: optax.sgd(rate, 0.9), decaying()),
    "momentum_constant": (lambda rate: optax.sgd(rate, 0.9), 0.1),
    "nesterov": (lambda rate: optax.sgd(rate, 0.9, nesterov=True), 0.1),
    "adam": (optax.adam, 0.1),
    "adam_scheduled": (optax.adam, decaying()),
    "adamw": (lambda rate: optax.adamw(rate, weight_decay=0.1), decaying()),
    "lion": (lambda rate: optax.lion(rate, weight_decay=0.1), 0.01),
    "rmsprop": (lambda rate: optax.rmsprop(rate, momentum=0.9, initial_scale=1.0), 0.01),
    "adagrad": (optax.adagrad, 0.1),
    "lamb": (lambda rate: optax.lamb(rate, weight_decay=0.1), 0.1),
    "clipped": (
        lambda rate: optax.chain(
            optax.clip_by_global_norm(0.5), optax.add_decayed_weights(0.1), optax.sgd(rate, 0.9)
        ),
        decaying(),
    ),
    "injected": (lambda rate: optax.inject_hyperparams(optax.adam)(learning_rate=rate), decaying()),
    "averaged": (lambda rate: optax.chain(optax.sgd(rate), optax.ema(0.9)), 0.1),
    "recipe_momentum": (
        lambda rate: recipes.make_optimizer(
            "momentum", rate, weight_decay=jnp.float32(0.1), gradient_clip=0.5
        ),
        recipes.warmed_up(recipes.stepped(0.1, (3,), 0.5), 4),
    ),
    "recipe_adam": (
        lambda rate: recipes.make_optimizer("adam", rate, weight_decay=0.1),
        recipes.cosine(0.1, 12),
    ),
    "one_of": (
        lambda rate: recipes.one_of([optax.sgd(0.1), recipes.make_optimizer("adamw", rate)], 1),
        recipes.warmed_up(recipes.constant(0.1), 3),
    ),
    # Those that follow have no moments of some leaves, but optax.MaskedNode there.
    "by_layer": (
        lambda rate: optax.multi_transform(
            {"adam": optax.adam(rate), "momentum": optax.sgd(rate, 0.9)},
            {"hidden_0": "adam", "output": "momentum"},
        ),
        decaying(),
    ),
    "kernels_only": (
        lambda rate: optax.masked(
            optax.adam(rate), lambda tree: jax.tree.map(lambda leaf: leaf.ndim > 1, tree)
        ),
        0.1,
    ),
    "muon": (lambda rate: optax.contrib.muon(rate, ns_steps=2), 0.1),
}


def optimizer(name: str) -> optax.GradientTransformation:
    """Makes the optimizer of a row, with its own learning rate."""
    make, rate = OPTIMIZERS[name]
    return make(rate)


# Networks on images of 2 x 3 pixels in 3 classes.

SHAPE, CLASSES = (2, 3, 1), 3


def handwritten() -> Model:
    """A perceptron with one hidden layer, of plain dicts, made by no library."""

    def init(key):
        # One draw of uniform numbers, since compiling random draws takes most of the time.
        drawn = jax.random.uniform(key, (45,), minval=-1.0, maxval=1.0)
        params = {
            "hidden_0": {"kernel": drawn[:30].reshape(6, 5), "bias": jnp.zeros(5)},
            "output": {"kernel": drawn[30:].reshape(5, CLASSES), "bias": jnp.zeros(CLASSES)},
        }
        return params, {}

    def apply(params, model_state, x, *, train, key=None):
        x = x.reshape(x.shape[0], -1)
        hidden, output = params["hidden_0"], params["output"]
        x = jnp.tanh(x @ hidden["kernel"] + hidden["bias"][None])
        return x @ output["kernel"] + output["bias"][None], model_state

    return Model(init, apply)


_uniform = jax.nn.initializers.glorot_uniform()


class _Normalised(linen.Module):
    """Batch statistics and dropout."""

    @linen.compact
    def __call__(self, x, *, train):
        x = x.reshape(x.shape[0], -1)
        x = linen.Dense(5, kernel_init=_uniform, name="hidden_0")(x)
        x = linen.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(x)
        x = linen.Dropout(0.25, deterministic=not train)(linen.relu(x))
        return linen.Dense(CLASSES, kernel_init=_uniform, name="output")(x)


class _Nnx(nnx.Module):
    def __init__(self, rngs):
        self.hidden_0 = nnx.Linear(6, 5, kernel_init=_uniform, rngs=rngs)
        self.output = nnx.Linear(5, CLASSES, kernel_init=_uniform, rngs=rngs)

    def __call__(self, x):
        return self.output(nnx.relu(self.hidden_0(x.reshape(x.shape[0], -1))))


MODELS: dict[str, Callable[[], Model]] = {
    "handwritten": handwritten,
    "mlp": lambda: models.mlp(SHAPE, (5,), CLASSES, initializer="glorot_uniform"),
    "linen_with_batch_statistics": lambda: models.from_linen(_Normalised(), SHAPE),
    "nnx": lambda: models.from_nnx(_Nnx),
}

PLANS: dict[str, Callable[[], Plan]] = {
    "map_on_1": lambda: Plan("map"),
    "map_on_2": lambda: Plan("map", devices=2),
    "map_on_8": lambda: Plan("map", devices=8),
    "vmap_on_1": lambda: Plan("vmap"),
    "vmap_on_2": lambda: Plan("vmap", devices=2),
    "batch_on_2": lambda: Plan("map", batch_devices=2),
    "batch_on_2_of_2": lambda: Plan("vmap", devices=2, batch_devices=2),
}


def examples(number: int, seed: int = 0) -> Examples:
    """Images and labels drawn at random."""
    generator = np.random.default_rng(seed)
    images = generator.integers(0, 256, (number, *SHAPE), np.uint8)
    return Examples(images, generator.integers(0, CLASSES, number).astype(np.int32))


def data() -> dict[str, Examples]:
    """Splits of sizes that no batch size divides."""
    return {"train": examples(26), "validation": examples(10, seed=1)}


def learner(model: str = "handwritten", optimizer: str = "adamw") -> learners.Learner:
    """Makes a learner of two rows."""
    make, rate = OPTIMIZERS[optimizer]
    return learners.supervised(MODELS[model](), make(rate))


# Params, and masks over them, for the laws that train nothing.

LAYERS = {"hidden_0/kernel": (6, 5), "output/kernel": (5, 3)}


def params(seed: int = 0) -> dict[str, Any]:
    """Params of the handwritten network with values drawn at random, biases too."""
    generator = np.random.default_rng(seed)
    draw = lambda *shape: jnp.asarray(generator.normal(size=shape), jnp.float32)  # noqa: E731
    return {
        "hidden_0": {"kernel": draw(6, 5), "bias": draw(5)},
        "output": {"kernel": draw(5, 3), "bias": draw(3)},
    }


def mask(seed: int = 0, density: float = 0.5) -> dict[str, Any]:
    """A random mask for `params`, that keeps and prunes something in every layer."""
    generator = np.random.default_rng(seed)

    def draw(*shape):
        size = int(np.prod(shape))
        kept = np.arange(size) < max(1, round(density * size))
        return jnp.asarray(generator.permutation(kept).reshape(shape))

    return {
        "hidden_0": {"kernel": draw(6, 5), "bias": None},
        "output": {"kernel": draw(5, 3), "bias": None},
    }


def evidence(seed: int = 0) -> criteria.Evidence:
    """Evidence of the handwritten network with everything that a criterion may read.

    All but the objective are arrays, so that it can be mapped over; see `score`.
    """
    return criteria.Evidence(
        initial=params(seed),
        final=params(seed + 100),
        key=jax.random.key(seed),
        mask=masks.ones(params()),
        model_state={},
        examples=jax.tree.map(jnp.asarray, examples(9, seed)),
    )


OBJECTIVE = learner().objective


def observe(criterion: criteria.Criterion, params: list[Any]) -> Any:
    """Gives what a criterion observes of a training that goes through these params."""
    state = criterion.init(params[0])
    for after in params[1:]:
        state = criterion.observe(state, learners.TrainState(after, {}, ()))
    return state


def observed(criterion: criteria.Criterion, evidence: criteria.Evidence) -> Any:
    """Gives what a criterion observes of a training made up from initial to final params."""
    state = criterion.init(evidence.initial)
    if jax.tree.leaves(state):
        state = observe(criterion, [_bend(evidence, t) for t in range(5)])
    return state


def score(criterion: criteria.Criterion, evidence: criteria.Evidence) -> Any:
    """Scores with the objective of the handwritten network, after a training made up."""
    given = evidence._replace(objective=OBJECTIVE)
    return criterion.score(observed(criterion, evidence), given)


@jax.jit
def _bend(evidence: criteria.Evidence, t: float) -> Any:
    """Gives a point of a curve from initial to final params that fits into no plane."""
    return jax.tree.map(
        lambda a, b: (1 - t / 4) * a + t / 4 * b + t * (4 - t) / 4 * jnp.sin(a + t * b),
        evidence.initial,
        evidence.final,
    )


def mask_like(learner: learners.Learner, seed: int = 0) -> Any:
    """A random mask of half the weights for any learner's network."""
    shapes = jax.eval_shape(learner.init, jax.random.key(0)).params
    dense = jax.tree.map(lambda leaf: jnp.arange(leaf.size).reshape(leaf.shape), masks.ones(shapes))
    half = jax.tree.map(lambda places: places < places.size // 2, dense)
    return masks.shuffle(jax.random.key(seed), half)


# Assertions on trees.


def bits(leaf: Any) -> np.ndarray:
    """The bytes of an array, so that 0.0 differs from -0.0 and NaN equals itself."""
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    leaf = np.ascontiguousarray(leaf)
    return leaf.reshape(-1).view(np.uint8)


def slow_but(quick: str, names: Iterable[str]) -> list[Any]:
    """Marks all of these rows as slow but one."""
    return [pytest.param(name, marks=() if name == quick else pytest.mark.slow) for name in names]


def assert_same_bits(actual: Any, expected: Any) -> None:
    """Two trees are equal bit for bit."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        where = masks.path_string(path)
        assert np.shape(a) == np.shape(b), where
        np.testing.assert_array_equal(bits(a), bits(b), err_msg=where)


def assert_close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Two trees are equal to a tolerance."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        where = masks.path_string(path)
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance, err_msg=where)


def assert_zero_where_pruned(params: Any, mask: Any) -> None:
    """Every pruned weight is +0.0, and the mask does prune something."""
    pruned = jax.tree.leaves(
        jax.tree.map(
            lambda p, m: None if m is None else np.asarray(p)[~np.asarray(m)], params, mask
        )
    )
    assert sum(leaf.size for leaf in pruned) > 0
    for leaf in pruned:
        assert not bits(leaf).any()


def stack(trees: list[Any]) -> Any:
    """Trees of networks as one population."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def member(population: Any, index: int) -> Any:
    """One network of a population."""
    return jax.tree.map(lambda leaf: leaf[index], population)
