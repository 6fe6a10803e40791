"""Recipes: steps, schedules, optimizers, what is made of them, and the published ones."""

import dataclasses
import functools
import inspect
import json
from fractions import Fraction

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tyro
from hypothesis import given
from hypothesis import strategies as st

from experiments.common.steps import command_line_registry
from jaxticket import TicketError, data, masks, models, optimizers, recipes, runs
from jaxticket.masks.basic import leaves_by_path
from jaxticket.recipes import Recipe, Step
from jaxticket.recipes.schedules import constant, warmed_up

STEPS = np.arange(12)


def parse(*texts):
    return tuple(map(Step.parse, texts))


# Steps.


@given(st.integers(0, 10**12), st.integers(0, 10**6), st.sampled_from(["it", "ep"]))
def test_steps_are_written_as_they_are_read(whole, decimals, unit):
    text = f"{whole}{unit}" if unit == "it" else f"{whole}.{decimals}{unit}"
    step = Step.parse(text)
    assert Step.parse(str(step)) == step
    assert hash(Step.parse(str(step))) == hash(step)
    assert step.amount == Fraction(text.removesuffix(unit))


@given(st.integers(0, 10**5), st.integers(1, 10**4))
def test_steps_count_iterations_without_float_error(tenths, steps_an_epoch):
    step = Step.parse(f"{tenths // 10}.{tenths % 10}ep")
    assert abs(10 * step.at(steps_an_epoch) - tenths * steps_an_epoch) <= 5
    assert Step.iterations(tenths).at(steps_an_epoch) == tenths


def test_steps_are_made_of_numbers_read_as_their_decimals():
    assert Step.epochs(0.1) == Step.parse("0.1ep") == Step.parse("0.100ep")
    assert Step.epochs(0.1).at(70) == 7
    assert [Step.epochs(0.5).at(n) for n in (3, 5)] == [2, 2]
    assert str(Step.epochs(160)) == "160ep"
    assert str(Step.parse("0.05ep")) == "0.05ep"


@pytest.mark.parametrize(
    "text",
    ["600", "it", "", "1.5it", "-1it", "nanep", "infep", "1e3it", "1,5ep", "3 ep", "3epochs"],
)
def test_what_is_no_step_is_refused_in_one_line(text):
    with pytest.raises(TicketError, match="expected") as error:
        Step.parse(text)
    assert "\n" not in str(error.value)


def test_numbers_that_are_no_duration_are_refused():
    for number in (float("nan"), float("inf")):
        with pytest.raises(TicketError, match="expected a number with a unit"):
            Step.epochs(number)
    with pytest.raises(TicketError, match=r"got -1it, expected 0it or more"):
        Step.iterations(-1)
    with pytest.raises(TicketError, match=r"got -1/2ep, expected 0ep or more"):
        Step.epochs(-0.5)
    with pytest.raises(TicketError, match=r"got 0.5it, expected whole"):
        Step(Fraction(1, 2), "it")
    with pytest.raises(TicketError, match="expected decimals"):
        Step(Fraction(1, 3), "ep")
    with pytest.raises(TicketError, match="unit 'epochs'"):
        Step(Fraction(1), "epochs")
    with pytest.raises(TicketError, match="steps an epoch: got 0"):
        Step.parse("1ep").at(0)


def test_steps_are_no_numbers():
    step = Step.iterations(3)
    assert step != 3
    for operation in ("step < 4", "step + 1", "1 + step", "step + step", "int(step)"):
        with pytest.raises(TypeError):
            eval(operation, {"step": step})


@dataclasses.dataclass(frozen=True)
class Config(Recipe):
    """A configuration of an experiment."""

    levels: int = 3
    """How many."""


def from_words(*words):
    return tyro.cli(Config, args=words, default=Config(), registry=command_line_registry())


def test_recipes_are_read_from_the_command_line(capsys):
    config = from_words("--steps", "3ep", "--drops", "1ep", "2.5ep", "--warmup", "5it")
    expected = Config(steps=Step.epochs(3), drops=parse("1ep", "2.5ep"), warmup=Step.parse("5it"))
    assert config == expected
    with pytest.raises(SystemExit, match="2"):
        from_words("--steps", "600")
    assert "got 600, expected a number with a unit" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit, match="0"):
        from_words("--help")
    shown = " ".join(capsys.readouterr().out.split())
    assert "--steps 600it|3ep" in shown
    assert "(default: 600it)" in shown


# Schedules, against arrays written by hand.

DROPS, RATE, FACTOR, WARMUP, END = (4, 8), 0.5, 0.1, 3, 10

EXPECTED = {
    "constant": np.full(12, 0.5),
    "step": np.array([0.5] * 4 + [0.05] * 4 + [0.005] * 4),
    "cosine": 0.25 * (1 + np.cos(np.pi * np.array([*range(10), 10, 10]) / 10)),
}
RISE = np.array([0, 1 / 3, 2 / 3, *[1] * 9])


def values(name, rate, factor, warmup):
    schedule = recipes.SCHEDULES[name](rate, END, DROPS, factor)
    return jax.vmap(recipes.warmed_up(schedule, warmup))(jnp.asarray(STEPS))


@cases.every(EXPECTED)
@pytest.mark.parametrize("warmup", [0, WARMUP])
def test_schedules_are_what_is_computed_by_hand(name, warmup):
    expected = EXPECTED[name] * (RISE if warmup else 1)
    still = values(name, RATE, FACTOR, warmup)
    assert still.dtype == jnp.float32
    np.testing.assert_allclose(still, expected, rtol=1e-6, atol=1e-7)
    numbers = jnp.float32(RATE), jnp.float32(FACTOR)
    traced = jax.jit(functools.partial(values, name))(*numbers, jnp.int32(warmup))
    np.testing.assert_allclose(traced, still, rtol=1e-6, atol=1e-8)


@cases.every(EXPECTED)
def test_warmups_of_any_length_are_an_axis(name):
    warmups = jnp.array([0, 1, WARMUP])
    swept = jax.vmap(lambda w: values(name, jnp.float32(RATE), jnp.float32(FACTOR), w))(warmups)
    for row, warmup in zip(swept, warmups, strict=True):
        np.testing.assert_allclose(row, values(name, RATE, FACTOR, int(warmup)), rtol=1e-6)
    np.testing.assert_array_equal(swept[0][1:], swept[1][1:])


# Optimizers, against NumPy.

L2, MOMENTUM, LEARNING_RATE = 0.1, 0.8, 0.05


def numpy_momentum(weight, gradients, nesterov):
    velocity = np.zeros_like(weight)
    for gradient in gradients:
        gradient = gradient + L2 * weight
        velocity = MOMENTUM * velocity + gradient
        step = gradient + MOMENTUM * velocity if nesterov else velocity
        weight = weight - LEARNING_RATE * step
    return weight


def numpy_adam(weight, gradients, decoupled):
    first, second = np.zeros_like(weight), np.zeros_like(weight)
    for count, gradient in enumerate(gradients, start=1):
        gradient = gradient + (0 if decoupled else L2) * weight
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        step = first / (1 - 0.9**count) / (np.sqrt(second / (1 - 0.999**count)) + 1e-8)
        weight = weight - LEARNING_RATE * (step + (L2 * weight if decoupled else 0))
    return weight


def numpy_sgd(weight, gradients):
    for gradient in gradients:
        weight = weight - LEARNING_RATE * (gradient + L2 * weight)
    return weight


def numpy_rmsprop(weight, gradients):
    second = np.zeros_like(weight)
    for gradient in gradients:
        gradient = gradient + L2 * weight
        second = 0.9 * second + 0.1 * gradient**2
        weight = weight - LEARNING_RATE * gradient / np.sqrt(second + 1e-8)
    return weight


ORACLES = {
    "sgd": numpy_sgd,
    "momentum": functools.partial(numpy_momentum, nesterov=False),
    "nesterov": functools.partial(numpy_momentum, nesterov=True),
    "adam": functools.partial(numpy_adam, decoupled=False),
    "adamw": functools.partial(numpy_adam, decoupled=True),
    "rmsprop": numpy_rmsprop,
}


def descend(optimizer, params, gradients):
    """Updates of an optimizer, one for each gradient along axis 0."""
    wrapped, mask = optimizers.masked(optimizer), jax.tree.map(lambda leaf: None, params)

    def one(carry, gradient):
        updates, state = wrapped.update(gradient, carry[1], carry[0], mask=mask)
        return (optax.apply_updates(carry[0], updates), state), None

    return jax.lax.scan(one, (params, optimizer.init(params)), gradients)[0]


def weights_and_gradients():
    generator = np.random.default_rng(3)
    return generator.normal(size=5).astype(np.float32), generator.normal(size=(6, 5))


@cases.every(recipes.OPTIMIZERS)
@pytest.mark.parametrize("traced", [False, True])
def test_optimizers_are_what_numpy_computes(name, traced):
    weight, gradients = weights_and_gradients()

    @jax.jit
    def run(rate, momentum, decay):
        rate, momentum, decay = (rate, momentum, decay) if traced else (LEARNING_RATE, MOMENTUM, L2)
        tx = recipes.make_optimizer(name, rate, momentum=momentum, weight_decay=decay)
        return descend(tx, {"w": jnp.asarray(weight)}, {"w": jnp.asarray(gradients, jnp.float32)})

    (final, _) = run(*map(jnp.float32, (LEARNING_RATE, MOMENTUM, L2)))
    np.testing.assert_allclose(final["w"], ORACLES[name](weight, gradients), rtol=1e-4)


@cases.every(["momentum", "adam", "adamw"])
def test_a_traced_weight_decay_of_zero_is_none(name):
    params, gradients = cases.params(), cases.stack([cases.params(i) for i in range(1, 4)])
    run = jax.jit(lambda d: descend(recipes.make_optimizer(name, 0.1, weight_decay=d), *arguments))
    arguments = params, gradients
    plain = descend(recipes.make_optimizer(name, 0.1), *arguments)[0]
    cases.assert_close(run(jnp.float32(0.0))[0], plain, 1e-6)


def test_gradients_are_clipped_before_weights_decay():
    tx = recipes.make_optimizer("sgd", 1.0, weight_decay=0.5, gradient_clip=1.0)
    params, gradient = {"w": jnp.array([2.0, 0.0])}, {"w": jnp.array([3.0, 4.0])}
    updates, _ = tx.update(gradient, tx.init(params), params)
    np.testing.assert_allclose(updates["w"], [-1.6, -0.8], rtol=1e-6)


def chosen_from():
    """Optimizers with other states each, one of them with a schedule."""
    schedule = recipes.warmed_up(recipes.constant(0.1), 3)
    return [
        recipes.make_optimizer("momentum", schedule, weight_decay=0.1),
        recipes.make_optimizer("adam", 0.1),
        recipes.make_optimizer("sgd", 0.1, gradient_clip=0.5),
    ]


def test_one_of_trains_as_the_chosen_one_alone_and_leaves_the_others_states():
    params, gradients = cases.params(), cases.stack([cases.params(i) for i in range(1, 5)])
    run = jax.jit(lambda which: descend(recipes.one_of(chosen_from(), which), params, gradients))
    start = recipes.one_of(chosen_from(), 0).init(params)
    for place, optimizer in enumerate(chosen_from()):
        weights, state = jax.jit(lambda tx=optimizer: descend(tx, params, gradients))()
        final, states = run(jnp.int32(place))
        # Two programs: what is added and multiplied at once is the compiler's choice in each.
        cases.assert_close((final, states[place]), (weights, state), 1e-6)
        for other in {0, 1, 2} - {place}:
            cases.assert_same_bits(states[other], start[other])
    still = jax.jit(lambda: descend(recipes.one_of(chosen_from(), 2), params, gradients))()
    cases.assert_close(still, (final, states), 1e-6)


def test_one_of_keeps_the_moments_of_pruned_weights_at_zero_and_restarts():
    mask, params = cases.mask(), cases.params()
    tx = recipes.one_of(chosen_from(), jnp.int32(0))
    wrapped = optimizers.masked(tx)
    update = jax.jit(lambda g, s, p: wrapped.update(g, s, p, mask=mask))
    state = tx.init(params)
    for seed in range(1, 4):
        updates, state = update(cases.params(seed), state, params)
        params = optax.apply_updates(params, updates)
    cases.assert_zero_where_pruned(params, mask)
    cases.assert_zero_where_pruned(state[0][1].trace, mask)
    restarted = optimizers.restart(tx, state, params)
    assert not any(leaf.any() for leaf in jax.tree.leaves(restarted[0][1]))
    assert restarted[0][2].count == 3


@pytest.mark.parametrize(("number", "which"), [(0, 0), (2, 2), (2, -1)])
def test_one_of_refuses_a_place_where_there_is_none(number, which):
    with pytest.raises(TicketError, match=f"optimizer {which} of {number}"):
        recipes.one_of([optax.sgd(0.1)] * number, which)


# What is made of a recipe.


def tiny_dataset(number=26):
    splits = (cases.examples(number), cases.examples(10, 1), cases.examples(10, 2))
    return data.Dataset("tiny", *splits, cases.CLASSES, "drawn at random", "", "")


TINY = Recipe(
    width=0.02,
    dropout=0.25,
    steps=Step.epochs(1),
    batch_size=4,
    optimizer="nesterov",
    schedule="step",
    drops=parse("3it"),
    augment=("flip",),
)

SWEPT = {
    "learning_rate": jnp.array([0.1, 0.3]),
    "momentum": jnp.array([0.5, 0.9]),
    "weight_decay": jnp.array([0.0, 0.1]),
    "dropout": jnp.array([0.0, 0.5]),
    "label_smoothing": jnp.array([0.0, 0.2]),
    "warmup": jnp.array([0, 3]),
    "drop_factor": jnp.array([0.1, 0.5]),
}


def train(family, hyperparameters, steps=4):
    """The end of a short training of one network, and its losses."""
    learner, examples = family(hyperparameters), jax.tree.map(jnp.asarray, cases.examples(4))
    state = learner.init(jax.random.key(0))
    mask = masks.ones(state.params)

    def one(state, index):
        return learner.step(state, mask, examples, jax.random.fold_in(jax.random.key(1), index))

    state, metrics = jax.lax.scan(one, state, jnp.arange(steps))
    return state, metrics, learner.evaluate(state, mask, examples)


@functools.cache
def single():
    """One compiled training of given hyperparameters, all of them traced."""
    return jax.jit(functools.partial(train, recipes.make_family(TINY, tiny_dataset())))


def test_a_sweep_over_traced_hyperparameters_is_the_single_trainings():
    run = functools.partial(train, recipes.make_family(TINY, tiny_dataset()))
    mapped = jax.jit(lambda h: jax.lax.map(run, h))(SWEPT)
    vmapped = jax.jit(jax.vmap(run))(SWEPT)
    for index in range(2):
        alone = single()(cases.member(SWEPT, index))
        cases.assert_same_bits(cases.member(mapped, index), alone)
        cases.assert_close(cases.member(vmapped, index), alone)
    assert not np.allclose(*mapped[2]["loss"])


def test_traced_hyperparameters_are_the_numbers_that_a_recipe_holds():
    numbers = {name: column[1].item() for name, column in SWEPT.items()}
    fields = numbers | {"warmup": Step.iterations(numbers["warmup"])}
    recipe, dataset = dataclasses.replace(TINY, **fields), tiny_dataset()
    traced = single()(cases.member(SWEPT, 1))
    held = jax.jit(lambda: train(recipes.make_family(recipe, dataset), {}))()
    given = jax.jit(lambda: train(lambda h: recipes.make_learner(TINY, dataset, h), numbers))()
    cases.assert_same_bits(given, held)
    cases.assert_close(traced, held)


@pytest.mark.slow
def test_an_optimizer_may_be_an_axis():
    names = ("sgd", TINY.optimizer)
    family = recipes.make_family(TINY, tiny_dataset(), optimizers=names)
    run = lambda place: train(family, {"optimizer": place})[2]["loss"]  # noqa: E731
    losses = jax.jit(lambda places: jax.lax.map(run, places))(jnp.arange(2))
    for place, name in enumerate(names):
        alone = recipes.make_family(dataclasses.replace(TINY, optimizer=name), tiny_dataset())
        expected = jax.jit(lambda alone=alone: train(alone, {})[2]["loss"])()
        np.testing.assert_allclose(losses[place], expected, rtol=1e-6)
    assert abs(losses[0] - losses[1]) > 1e-4
    with pytest.raises(TicketError, match="optimizer 2 of 2: expected 0 to 1"):
        family({"optimizer": 2})
    with pytest.raises(TicketError, match="unknown hyperparameter 'optimizer'"):
        recipes.make_family(TINY, tiny_dataset())({"optimizer": 0})


@cases.every(SWEPT)
def test_every_hyperparameter_changes_the_training(name):
    start = cases.member(SWEPT, 1)
    changed = start | {name: jnp.int32(1) if name == "warmup" else start[name] / 2}
    assert abs(single()(start)[2]["loss"] - single()(changed)[2]["loss"]) > 1e-6


@pytest.mark.parametrize(("precision", "rounds"), [("float32", False), ("bfloat16", True)])
def test_precision_reaches_the_network(precision, rounds):
    learner = recipes.make_learner(TINY, tiny_dataset(), precision=precision)
    examples = jax.tree.map(jnp.asarray, cases.examples(4))
    state = jax.eval_shape(learner.init, jax.random.key(0))

    def step(state):
        return learner.step(state, masks.ones(state.params), examples, jax.random.key(1))

    assert ("bf16" in str(jax.make_jaxpr(step)(state))) is rounds


def test_a_protocol_counts_epochs_in_whole_batches():
    recipe = Recipe(steps=Step.epochs(2), batch_size=60)
    protocol = recipes.make_protocol(recipe, 5_000, Step.epochs(0.5))
    assert protocol == recipes.make_protocol(recipe, 5_000, Step.iterations(42))
    assert (protocol.steps, protocol.batch_size, protocol.evaluate_every) == (166, 60, 42)


RATES = {
    "lenet_300_100": {"hidden_0/kernel": 80, "output/kernel": 90},
    "lenet_5": {"convolution_1/kernel": 95, "dense_0/kernel": 80, "output/kernel": 90},
    "conv_6": {"convolution_5/kernel": 95, "dense_1/kernel": 80, "output/kernel": 90},
    "resnet_20": {
        "base/convolution/kernel": 95,
        "block_03/branch_1/convolution/kernel": 95,
        "block_03/shortcut/convolution/kernel": 95,
        "output/kernel": 90,
    },
    "vgg_11": {"convolution_07/kernel": 95, "output/kernel": 90},
    "vision_transformer_tiny": {
        "base/embedding/kernel": 80,
        "block_00/attention/query/kernel": 80,
        "block_00/attention_projection/kernel": 80,
        "output/kernel": 90,
    },
}


def shapes_of(recipe, shape=(32, 32, 3)):
    return jax.eval_shape(recipes.make_model(recipe, shape, 10).init, jax.random.key(0))[0]


@cases.every(RATES)
def test_layers_of_every_kind_are_pruned_at_their_rate(name):
    row = recipes.ARCHITECTURES[name]
    recipe = Recipe(
        model=name, width=0.1, convolution_prune_rate=0.05 if row.convolutions else None
    )
    recipes.check_recipe(recipe)
    shapes = shapes_of(recipe)
    allocation = recipes.make_allocation(recipe, shapes)
    counts = masks.sizes(masks.ones(shapes, recipes.make_prunable(recipe)))
    assert set(RATES[name]) <= set(counts)
    hundred = allocation.schedule({path: np.ones(100, bool) for path in counts}, 2)[1]
    assert {path: hundred[path] for path in RATES[name]} == RATES[name]
    convolutions = {path for path, kept in hundred.items() if kept == 95}
    assert convolutions == {path for path in counts if "convolution" in path}


@pytest.mark.parametrize("scope", recipes.SCOPES)
def test_an_output_layer_of_rate_zero_stays_dense(scope):
    recipe = Recipe(model="conv_2", width=0.1, scope=scope, output_prune_rate=0.0)
    recipes.check_recipe(recipe)
    shapes = shapes_of(recipe)
    mask = masks.ones(shapes, recipes.make_prunable(recipe))
    assert mask["output"]["kernel"] is None
    assert mask["dense_0"]["kernel"] is not None
    costs = {path: 3 for path, _ in leaves_by_path(shapes) if path.endswith("kernel")}
    (counts,) = recipes.make_allocation(recipe, shapes, costs).schedule(mask, 1)
    if scope == "multiplications":
        kept = sum(leaf.size for path, leaf in leaves_by_path(mask))
        assert counts == {"cost": 3 * kept}
    elif scope in ("global", "layerwise_adaptive"):
        assert set(counts) == {"*"}
    else:
        assert "output/kernel" not in counts


SHARES = {
    # Of 60 weights, 30 are kept: an 8 x 5 and a 5 x 4 layer.
    "layerwise": {"hidden_0/kernel": 20, "output/kernel": 18},
    "global": {"*": 30},
    "uniform": {"hidden_0/kernel": 20, "output/kernel": 10},
    "erdos_renyi": {"hidden_0/kernel": 18, "output/kernel": 12},
    "erdos_renyi_kernel": {"hidden_0/kernel": 18, "output/kernel": 12},
    "layerwise_adaptive": {"*": 30},
    "smart_ratio": {"hidden_0/kernel": 26, "output/kernel": 4},
    "per_output": {"hidden_0/kernel": 20, "output/kernel": 12},
    # 4 for each of the 40 weights of the first layer, 1 of the second.
    "multiplications": {"cost": 90},
}


@pytest.mark.parametrize("scope", recipes.SCOPES)
def test_every_scope_is_a_budget_of_the_whole_networks_rate(scope):
    recipe = Recipe(scope=scope, prune_rate=0.5, output_prune_rate=0.1)
    recipes.check_recipe(recipe)
    shapes = {"hidden_0": {"kernel": np.ones((8, 5))}, "output": {"kernel": np.ones((5, 4))}}
    mask, costs = masks.ones(shapes), {"hidden_0/kernel": 4, "output/kernel": 1}
    assert recipes.make_allocation(recipe, shapes, costs).schedule(mask, 2)[1] == SHARES[scope]


def test_a_scope_of_costs_needs_them():
    recipe, shapes = Recipe(scope="multiplications"), {"hidden_0": {"kernel": np.ones((8, 5))}}
    with pytest.raises(TicketError, match="scope multiplications: got no costs, expected"):
        recipes.make_allocation(recipe, shapes)


def test_a_kernel_counts_under_one_of_the_erdos_renyi_scopes():
    shapes = {
        "convolution_0": {"kernel": np.ones((3, 3, 2, 8))},
        "output": {"kernel": np.ones((32, 6))},
    }
    kept = [
        recipes.make_allocation(Recipe(scope=scope, prune_rate=0.9), shapes).schedule(
            masks.ones(shapes), 2
        )[1]["output/kernel"]
        for scope in ("erdos_renyi", "erdos_renyi_kernel")
    ]
    # 34 of 336, in proportion 90 : 38 and 16 : 38.
    assert kept == [10, 24]


# Published recipes.

PARAMETERS = {
    "lenet-2019": 266_610,
    "conv2-2019": 4_301_642,
    "conv4-2019": 2_425_930,
    "conv6-2019": 2_262_602,
    "resnet18-2019": 272_474,
    "vgg19-2019": 20_040_522,
    "resnet20-2020": 272_474,
    "vgg16-2020": 14_728_266,
}


@cases.every(recipes.RECIPES)
def test_published_recipes_can_be_made(name):
    published = recipes.by_name(name)
    recipe = published.recipe
    recipes.check_recipe(recipe)
    mnist = published.dataset == "mnist"
    shape, examples = ((28, 28, 1), 55_000) if mnist else ((32, 32, 3), 45_000)
    model = recipes.make_model(recipe, shape, 10)
    params, _ = jax.eval_shape(model.init, jax.random.key(0))
    expected = PARAMETERS[name.removesuffix("-low").removesuffix("-warmup")]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
    protocol = recipes.make_protocol(recipe, examples, published.evaluate_every)
    assert published.levels > 1 <= len(protocol.boundaries()) - 1
    assert recipe.warmup.at(protocol.steps_an_epoch(examples)) < protocol.steps
    mask = jax.eval_shape(lambda: masks.ones(params, recipes.make_prunable(recipe)))
    recipes.make_allocation(recipe, params).schedule(mask, 1)


@cases.every(recipes.RECIPES)
def test_published_recipes_cite_their_source_and_name_what_is_unverified(name):
    published = recipes.by_name(name)
    assert "https://arxiv.org/abs/" in published.source
    assert published.unverified
    names = {f.name for kind in (Recipe, recipes.Published) for f in dataclasses.fields(kind)}
    assert set(published.unverified) <= names


def test_published_lenet_prunes_to_the_densities_of_the_paper():
    recipe = recipes.by_name("lenet-2019").recipe
    allocation = recipes.make_allocation(recipe, shapes_of(recipe, (28, 28, 1)))
    sizes = {"hidden_0/kernel": 235_200, "hidden_1/kernel": 30_000, "output/kernel": 1_000}
    counts = allocation.schedule({path: np.ones(n, bool) for path, n in sizes.items()}, 16)
    densities = [100 * sum(kept.values()) / 266_200 for kept in counts]
    np.testing.assert_allclose([densities[i] for i in (3, 7, 15)], [51.28, 21.07, 3.58], atol=5e-3)


def test_published_learning_rates_over_training():
    recipe = recipes.by_name("resnet20-2020-warmup").recipe
    schedule = recipes.make_schedule(recipe, 351, {})
    places = jnp.array([0, 15_000, 30_000, 32_000, 48_000])
    rates = [0.0, 0.015, 0.03, 0.003, 0.0003]
    np.testing.assert_allclose(jax.vmap(schedule)(places), rates, rtol=1e-5)


# Recipes that make no sense.

MISTAKES = {
    "unknown model 'conv_3': did you mean": {"model": "conv_3"},
    "unknown optimizer 'adma': did you mean": {"optimizer": "adma"},
    "unknown schedule 'cosin': did you mean 'cosine'": {"schedule": "cosin"},
    "unknown scope 'globl': did you mean 'global'": {"scope": "globl"},
    "unknown initializer 'glorot'": {"initializer": "glorot"},
    "unknown inputs 'standard'": {"inputs": "standard"},
    "unknown augmentation 'flop'": {"augment": ("flop",)},
    "--width: got 0": {"width": 0.0},
    "--width: got inf": {"width": float("inf")},
    "--dropout: got 1.0, expected 0 to less": {"dropout": 1.0},
    "--dropout: got 0.5 for resnet_20, which has none": {"model": "resnet_20", "dropout": 0.5},
    "--label-smoothing: got nan": {"label_smoothing": float("nan")},
    "--steps: got 0it": {"steps": Step.iterations(0)},
    "--batch-size: got 0": {"batch_size": 0},
    "--batch-size: got 1, expected at least 2 for vgg_11": {"model": "vgg_11", "batch_size": 1},
    "--learning-rate: got 0.0": {"learning_rate": 0.0},
    "--learning-rate: got nan": {"learning_rate": float("nan")},
    "--momentum: got 1.0": {"momentum": 1.0},
    "--weight-decay: got -0.1": {"weight_decay": -0.1},
    "--gradient-clip: got 0.0": {"gradient_clip": 0.0},
    "--drop-factor: got 0.0": {"drop_factor": 0.0},
    "--drops: got 3it with --schedule constant": {"drops": parse("3it")},
    "--drops: got 3it with --schedule cosine": {"drops": parse("3it"), "schedule": "cosine"},
    "--drops: got none with --schedule step": {"schedule": "step"},
    "--drops: got 5it 5it, expected them to increase": {
        "schedule": "step",
        "drops": parse("5it", "5it"),
    },
    "--drops: got 600it, expected them": {"schedule": "step", "drops": parse("600it")},
    "--drops: got 0ep, expected them": {"schedule": "step", "drops": parse("0ep")},
    "--warmup: got 601it, expected at most the 600it": {"warmup": Step.iterations(601)},
    "--rewind-step: got 600it, expected one before": {"rewind_step": Step.iterations(600)},
    "--prune-rate: got 0.0": {"prune_rate": 0.0},
    "--output-prune-rate: got 1.0": {"output_prune_rate": 1.0},
    "--convolution-prune-rate: got 2.0": {"model": "conv_2", "convolution_prune_rate": 2.0},
    "--convolution-prune-rate: got 0.1 for lenet": {"convolution_prune_rate": 0.1},
    "--convolution-prune-rate: got 0.1 with --scope smart_ratio": {
        "model": "conv_2",
        "convolution_prune_rate": 0.1,
        "scope": "smart_ratio",
    },
    "--convolution-prune-rate: got 0.1 with --scope global": {
        "model": "conv_2",
        "convolution_prune_rate": 0.1,
        "scope": "global",
    },
}


@cases.every(MISTAKES)
def test_recipes_that_make_no_sense_are_refused_in_one_line(name):
    with pytest.raises(TicketError) as error:
        recipes.check_recipe(dataclasses.replace(Recipe(), **MISTAKES[name]))
    assert str(error.value).startswith(name)
    assert "\n" not in str(error.value)


LATER = {
    "--drops: got 2ep 9it": {"schedule": "step", "drops": parse("2ep", "9it")},
    "--warmup: got 4ep, expected at most the 20it": {"warmup": Step.epochs(4)},
    "--rewind-step: got 4ep, expected one before the 20it": {"rewind_step": Step.epochs(4)},
    "--drops: got 4ep": {"schedule": "step", "drops": parse("4ep")},
    "batch size: got 27": {"batch_size": 27},
}


@cases.every(LATER)
def test_what_only_the_data_can_tell_is_refused_with_them(name):
    base = {"drops": (), "schedule": "constant", "steps": Step.iterations(20)}
    recipe = dataclasses.replace(TINY, **base)
    recipe = dataclasses.replace(recipe, **LATER[name])
    recipes.check_recipe(recipe)
    for make in (
        lambda: recipes.make_learner(recipe, tiny_dataset()),
        lambda: recipes.make_protocol(recipe, 26, Step.iterations(1)),
    ):
        with pytest.raises(TicketError) as error:
            make()
        assert str(error.value).startswith(name)


def test_an_evaluation_interval_of_no_step_is_refused():
    with pytest.raises(TicketError, match=r"--evaluate-every: got 0\.01ep"):
        recipes.make_protocol(TINY, 26, Step.epochs(0.01))


@pytest.mark.parametrize(
    ("model", "shape", "expected"),
    [
        ("vgg_16", (8, 8, 1), "at least 16 x 16"),
        ("conv_6", (7, 8, 1), "at least 8 x 8"),
        ("conv_4", (3, 3, 1), "at least 4 x 4"),
        ("conv_2", (1, 8, 1), "at least 2 x 2"),
        ("lenet_5", (11, 11, 1), "at least 12 x 12"),
        ("vision_transformer_tiny", (30, 32, 3), "multiples of 4"),
    ],
)
def test_images_that_do_not_fit_are_refused_in_one_line(model, shape, expected):
    with pytest.raises(TicketError, match=f"--model {model}: got images of .*{expected}"):
        recipes.make_model(Recipe(model=model), shape, 10)


@cases.every(recipes.ARCHITECTURES)
def test_images_that_just_fit_are_taken(name):
    row = recipes.ARCHITECTURES[name]
    side = max(row.smallest, row.multiple)
    model = recipes.make_model(Recipe(model=name, width=0.05), (side, side, 1), 10)
    params, model_state = jax.eval_shape(model.init, jax.random.key(0))
    assert row.batch_norm == ("batch_stats" in model_state)
    paths = [masks.path_string(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    assert row.convolutions == any("convolution" in path for path in paths)
    options = inspect.signature(getattr(models, name)).parameters
    assert row.dropout == ("dropout_rate" in options)


def test_every_network_has_its_row():
    named = {name for name in models.__all__ if name[-1].isdigit() or "transformer" in name}
    assert set(recipes.ARCHITECTURES) == named | {"deep_mlp"}


@pytest.mark.parametrize(
    ("changes", "given", "message"),
    [
        ({}, {"learning_rat": 0.1}, "unknown hyperparameter 'learning_rat': did you mean"),
        ({"optimizer": "adam"}, {"momentum": 0.5}, "hyperparameter momentum: changes nothing"),
        (
            {"schedule": "constant", "drops": ()},
            {"drop_factor": 0.5},
            "hyperparameter drop_factor: changes nothing",
        ),
        ({}, {"learning_rate": -1.0}, "--learning-rate: got -1.0"),
        ({}, {"warmup": 1_000}, "--warmup: got 1000it"),
        ({}, {"warmup": 0.5}, "got 0.5it"),
        ({}, {"label_smoothing": 1.0}, "--label-smoothing: got 1.0"),
    ],
)
def test_hyperparameters_that_make_no_sense_are_refused(changes, given, message):
    with pytest.raises(TicketError) as error:
        recipes.make_learner(dataclasses.replace(TINY, **changes), tiny_dataset(), given)
    assert str(error.value).startswith(message)


def test_dropout_on_a_network_without_it_is_refused_where_it_is_swept():
    with pytest.raises(TicketError, match="which has none; choose lenet_300_100, lenet_5"):
        recipes.make_model(Recipe(model="resnet_20"), (8, 8, 1), 10, jnp.float32(0.5))


def test_the_recipe_of_a_run_is_read_from_its_configuration():
    recipe = Recipe(
        model="conv_2",
        width=0.5,
        initializer="orthogonal",
        augment=("flip", "crop=2"),
        gradient_clip=1.0,
        steps=Step.parse("2.5ep"),
        drops=(Step.parse("1ep"), Step.parse("20it")),
        rewind_step=Step.parse("10it"),
    )
    config = json.loads(json.dumps(runs.as_json(recipe)))
    assert recipes.from_config(config | {"seed": 3, "dataset": "digits"}) == recipe
    assert recipes.from_config({}) == Recipe()


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ({"steps": "600"}, "steps: got 600, expected a number with a unit"),
        ({"drops": ["80ep", 3]}, "drops: got 3, expected a number with a unit"),
        ({"drops": "80ep"}, "drops: got '80ep', expected a list"),
        ({"augment": None}, "augment: got None, expected a list"),
        ({"augment": [1]}, "augment: got 1, expected str"),
        ({"batch_size": 60.5}, "batch_size: got 60.5, expected int"),
        ({"batch_size": True}, "batch_size: got True, expected int"),
        ({"learning_rate": "fast"}, "learning_rate: got 'fast', expected float"),
        ({"learning_rate": None}, "learning_rate: got None, expected float"),
        ({"model": {}}, "model: got {}, expected str"),
    ],
)
def test_a_configuration_that_is_no_recipe_is_refused_in_one_line(written, message):
    with pytest.raises(TicketError, match=f"^{message}") as caught:
        recipes.from_config(written)
    assert "\n" not in str(caught.value)


def test_unknown_published_recipes_have_nearest_names():
    with pytest.raises(TicketError, match="unknown recipe 'lenet2019': did you mean 'lenet-2019'"):
        recipes.by_name("lenet2019")


def test_a_warm_up_goes_on_from_the_rewind_step():
    """Five of ten warm-up steps were made before the rewind point, so half the rate is next."""
    schedule = warmed_up(constant(1.0), 10)
    optimizer = optax.sgd(schedule, momentum=0.9)
    params, mask = {"w": jnp.zeros(2)}, {"w": jnp.array([True, False])}
    state = optimizer.init(params)
    ones = {"w": jnp.ones(2)}
    for _ in range(5):
        _, state = optimizers.masked(optimizer).update(ones, state, params, mask=mask)
    rewound = optimizers.restart(optimizer, state, params)
    updates, _ = optimizers.masked(optimizer).update(ones, rewound, params, mask=mask)
    # Momentum starts anew, so the update is the rate itself.
    assert updates["w"].tolist() == [-0.5, 0.0]
