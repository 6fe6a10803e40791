"""Learned masks are their definitions: what is computed with, what is kept, what is derived."""

import functools
from typing import Any, NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import (
    MaskError,
    TicketError,
    allocate,
    data,
    learned_masks,
    learners,
    masks,
    recipes,
)
from jaxticket.imp import Variant

KERNELS = (("hidden_0", "kernel"), ("output", "kernel"))
NORMAL = jax.nn.initializers.normal(1.0)
HALF = {"hidden_0/kernel": 15, "output/kernel": 8}  # of 30 and 15; halves round to even
TEMPERATURE = optax.exponential_decay(1.0, 10, 200.0, end_value=200.0)

LEARNED = {
    "edge_popup": learned_masks.edge_popup(0.5),
    "edge_popup_global": learned_masks.edge_popup(0.4, select=allocate.globally(0.5).select),
    "edge_popup_signed": learned_masks.edge_popup(
        0.5, weights=learned_masks.signed_constant, scaled=True
    ),
    "bernoulli": learned_masks.bernoulli(NORMAL),
    "bernoulli_expected": learned_masks.bernoulli(NORMAL, evaluation="expected", rescale=True),
    "continuous": learned_masks.continuous_sparsification(TEMPERATURE, NORMAL),
    "straight_through_magnitude": learned_masks.straight_through_magnitude(0.5),
}
every = cases.every(LEARNED)
KEY = jax.random.key(7)


def leaf(tree, path):
    return tree[path[0]][path[1]]


BATCH = jax.tree.map(jnp.asarray, cases.examples(8))
STEPS = 40


def learner_of(learned, **options):
    model = learned_masks.reparametrise(cases.handwritten(), learned)
    return learners.supervised(model, optax.sgd(0.5), **options)


class Seen(NamedTuple):
    """A state, what it hands out and how good it is."""

    state: Any
    mask: Any
    network: Any
    metrics: Any


@functools.cache
def trained(name):
    """What is seen before training and after it, in one compiled program."""
    learned = LEARNED[name]
    learner = learner_of(learned)

    def seen(state):
        given = (learned, state.params, state.model_state)
        metrics = learner.evaluate(state, masks.ones(state.params), BATCH)
        return Seen(state, learned_masks.mask_of(*given), learned_masks.network_of(*given), metrics)

    @jax.jit
    def run(key):
        start = learner.init(key)
        step = lambda i, s: learner.step(  # noqa: E731
            s, masks.ones(s.params), BATCH, jax.random.fold_in(key, i)
        )[0]
        return seen(start), seen(jax.lax.fori_loop(0, STEPS, step, start))

    return run(KEY)


def plain_loss(weights, batch):
    """The loss of the handwritten network, from its definition."""
    x = jnp.asarray(batch.images, jnp.float32).reshape(len(batch.labels), -1) / 255
    x = jnp.tanh(x @ weights["hidden_0"]["kernel"] + weights["hidden_0"]["bias"][None])
    logits = x @ weights["output"]["kernel"] + weights["output"]["bias"][None]
    picked = jnp.take_along_axis(logits, batch.labels[:, None], axis=1)[:, 0]
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - picked)


def by_hand(used, params):
    """The derivative by what is trained, and that by the weights that are computed with."""
    through = jax.jit(jax.grad(lambda params: plain_loss(used(params), BATCH)))(params)
    return through, jax.jit(lambda params: jax.grad(plain_loss)(used(params), BATCH))(params)


def highest(values, number):
    """Selection by a stable sort: ties go to the lower index."""
    flat = np.asarray(values).ravel()
    kept = np.zeros(flat.size, bool)
    kept[np.argsort(-flat, kind="stable")[:number]] = True
    return kept.reshape(np.shape(values))


@every
def test_the_plain_network_that_is_handed_out_has_the_learners_metrics(name):
    plain = learners.supervised(cases.handwritten(), optax.sgd(0.1))
    _, after = trained(name)
    weights, model_state = after.network
    given = learners.TrainState(weights, model_state, ())
    found = plain.evaluate(given, masks.ones(weights), BATCH)
    cases.assert_close(found, after.metrics, 1e-6)


@every
def test_training_lowers_the_loss_of_what_is_evaluated(name):
    before, after = trained(name)
    assert after.metrics["loss"] < before.metrics["loss"] - 0.02


@every
def test_masks_have_the_structure_of_any_mask_of_the_plain_network(name):
    params, _ = cases.handwritten().init(KEY)
    assert jax.tree.structure(trained(name)[1].mask) == jax.tree.structure(masks.ones(params))
    masks.check(trained(name)[1].mask, params)


@pytest.mark.parametrize("name", ["edge_popup", "edge_popup_signed"])
def test_edge_popup_computes_with_the_highest_scores_exactly(name):
    before, after = trained(name)
    frozen, scores = after.state.model_state["mask"]["weights"], after.state.params
    used, _ = after.network
    assert masks.counts(after.mask) == HALF
    for path in KERNELS:
        kept = highest(np.abs(leaf(scores, path)), HALF["/".join(path)])
        np.testing.assert_array_equal(leaf(after.mask, path), kept)
        np.testing.assert_array_equal(leaf(used, path), kept * np.asarray(leaf(frozen, path)))
        assert not np.array_equal(leaf(before.mask, path), kept)
    assert used["output"]["bias"].tolist() == [0.0] * cases.CLASSES


def test_global_selection_keeps_its_total():
    _, after = trained("edge_popup_global")
    flat = np.concatenate([np.abs(np.ravel(s)) for s in jax.tree.leaves(after.state.params)])
    kept = np.concatenate([np.ravel(one) for one in jax.tree.leaves(after.mask)])
    np.testing.assert_array_equal(kept, highest(flat, 18))  # 0.4 of 45


@pytest.mark.parametrize("name", ["edge_popup", "edge_popup_signed", "bernoulli"])
def test_frozen_weights_never_change_to_the_bit(name):
    weights = [seen.state.model_state["mask"]["weights"] for seen in trained(name)]
    cases.assert_same_bits(*weights)
    assert all(np.abs(leaf(weights[0], path)).min() > 0 for path in KERNELS)


def test_the_derivative_of_scores_is_that_of_the_hand():
    """∂L/∂s = ∂L/∂(m ⊙ w) ⊙ w ⊙ sign(s), at kept and at left out weights alike."""
    learned = LEARNED["edge_popup"]
    params, carried = learned.init(KEY, cases.params())
    used = lambda scores: learned.weights(scores, carried, train=True)[0]  # noqa: E731
    found, by_weight = by_hand(used, params)
    mask = jax.jit(learned.mask)(params, carried)
    for path in KERNELS:
        frozen, score = leaf(carried["weights"], path), leaf(params, path)
        expected = leaf(by_weight, path) * frozen * jnp.sign(score)
        np.testing.assert_allclose(leaf(found, path), expected, rtol=1e-5, atol=1e-7)
        assert np.abs(leaf(found, path)[~leaf(mask, path)]).max() > 1e-4


def test_the_derivative_of_logits_is_that_of_the_hand():
    """∂L/∂s = ∂L/∂(m ⊙ w) ⊙ w ⊙ σ(s)(1 − σ(s)), with the mask that was drawn."""
    learned = LEARNED["bernoulli"]
    params, carried = learned.init(KEY, cases.params())
    used = lambda s: learned.weights(s, carried, train=True, key=KEY)[0]  # noqa: E731
    found, by_weight = by_hand(used, params)
    all_drawn = jax.jit(used)(params)
    for path in KERNELS:
        frozen, chance = leaf(carried["weights"], path), jax.nn.sigmoid(leaf(params, path))
        drawn = leaf(all_drawn, path)
        assert bool(jnp.all((drawn == 0) | (drawn == frozen)))
        expected = leaf(by_weight, path) * frozen * chance * (1 - chance)
        np.testing.assert_allclose(leaf(found, path), expected, rtol=1e-5, atol=1e-7)


def test_magnitude_passes_straight_through_and_keeps_the_largest():
    learned = LEARNED["straight_through_magnitude"]
    weights = cases.params()
    used = lambda params: learned.weights(params, {}, train=True)[0]  # noqa: E731
    cases.assert_close(*by_hand(used, weights), 1e-6)
    found = jax.jit(used)(weights)
    for path in KERNELS:
        kept = highest(np.abs(leaf(weights, path)), HALF["/".join(path)])
        expected = np.where(kept, leaf(weights, path), 0)
        np.testing.assert_array_equal(leaf(found, path), expected)


def test_a_weight_that_was_left_out_may_return():
    before, after = trained("straight_through_magnitude")
    assert not masks.is_subset(after.mask, before.mask)
    assert masks.counts(after.mask) == masks.counts(before.mask) == HALF


@pytest.mark.parametrize("make", ["edge_popup", "straight_through_magnitude"])
def test_at_density_one_nothing_is_masked_and_the_least_keeps_one_weight_a_layer(make):
    whole = getattr(learned_masks, make)(1.0)
    params, carried = whole.init(KEY, cases.params())
    used, _ = whole.weights(params, carried, train=False)
    cases.assert_same_bits(used, cases.params())
    least = getattr(learned_masks, make)(jnp.float32(1e-6))
    assert masks.counts(least.mask(params, carried)) == dict.fromkeys(HALF, 1)


@pytest.mark.parametrize("size", [10, 15, 235_200])
def test_a_traced_density_counts_as_the_decimal_that_was_written(size):
    shape = {"a": jax.ShapeDtypeStruct((size,), np.bool_)}
    counts_at = jax.jit(lambda density: learned_masks.counts_at(density, shape))
    for percent in range(1, 101):
        density = percent / 100
        if round(density * size) == 0:
            continue
        exact = learned_masks.counts_at(density, shape)
        traced = counts_at(jnp.float32(density))
        assert {path: int(number) for path, number in traced.items()} == exact, density


@pytest.mark.parametrize("density", [np.float32(0.3), np.float64(0.3), np.array(0.3, np.float32)])
def test_a_density_of_numpy_counts_as_the_decimal_that_was_written(density):
    shape = {"a": np.ones(15, bool), "b": np.ones(235_200, bool)}
    exact = learned_masks.counts_at(0.3, shape)
    counts = learned_masks.counts_at(density, shape)
    assert counts == exact
    assert all(type(number) is int for number in counts.values())


@pytest.mark.parametrize("density", [1.5, np.float32(1.5), jnp.float32(1.5), np.float32(0)])
@cases.every(["edge_popup", "straight_through_magnitude"])
def test_densities_outside_of_zero_to_one_are_refused_whatever_holds_them(name, density):
    with pytest.raises(TicketError, match=r"density: got .*, expected a share in \(0, 1\]"):
        learned_masks.counts_at(density, {"a": np.ones(4, bool)})
    with pytest.raises(TicketError, match=r"density: got .*, expected a share in \(0, 1\]"):
        getattr(learned_masks, name)(density)


def test_counts_of_an_allocation_take_the_place_of_a_density():
    params, _ = cases.handwritten().init(KEY)
    counts = allocate.layerwise({"*": 0.7, "output/*": 0.2}).schedule(masks.ones(params), 2)[1]
    learned = learned_masks.edge_popup(counts)
    mask = learned.mask(*learned.init(KEY, params))
    assert masks.counts(mask) == counts == {"hidden_0/kernel": 9, "output/kernel": 12}


HARDENED = {
    "bernoulli": (learned_masks.bernoulli, lambda params: params),
    "continuous": (
        functools.partial(learned_masks.continuous_sparsification, TEMPERATURE),
        lambda params: params["scores"],
    ),
}
GLOBALLY = allocate.globally(0.5).select


@pytest.mark.parametrize("select", [None, GLOBALLY], ids=["layerwise", "global"])
@cases.every(HARDENED)
def test_scores_that_harden_are_allocated_by_a_density_as_any_others(name, select):
    make, scores_of = HARDENED[name]
    options = {} if select is None else {"select": select}
    learned = make(NORMAL, density=0.4, **options)
    params, carried = learned.init(KEY, cases.params())
    scores, mask = scores_of(params), jax.jit(learned.mask)(params, carried)
    if select is None:
        assert masks.counts(mask) == {"hidden_0/kernel": 12, "output/kernel": 6}
        for path in KERNELS:
            kept = highest(leaf(scores, path), masks.counts(mask)["/".join(path)])
            np.testing.assert_array_equal(leaf(mask, path), kept)
    else:
        flat = np.concatenate([np.ravel(leaf(scores, path)) for path in KERNELS])
        found = np.concatenate([np.ravel(leaf(mask, path)) for path in KERNELS])
        np.testing.assert_array_equal(found, highest(flat, 18))
    used, _ = learned.weights(params, carried, train=False)
    for path in KERNELS:
        expected = np.where(leaf(mask, path), leaf(cases.params(), path), 0)
        np.testing.assert_array_equal(leaf(used, path), expected)


@cases.every(HARDENED)
def test_the_density_that_a_threshold_reaches_gives_its_mask(name):
    make, _ = HARDENED[name]
    own = make(NORMAL)
    params, carried = own.init(KEY, cases.params())
    mask = own.mask(params, carried)
    counts = masks.counts(mask)
    assert 0 < sum(counts.values()) < 45
    for choices in (
        {"density": counts},
        {"density": {"*": sum(counts.values())}, "select": GLOBALLY},
        {"density": sum(counts.values()) / 45, "select": GLOBALLY},
    ):
        cases.assert_same_bits(make(NORMAL, **choices).mask(params, carried), mask)
    # Training knows nothing of the density.
    plain, dense = (make(NORMAL, **choice) for choice in ({}, {"density": 0.9}))
    cases.assert_same_bits(
        *(one.weights(params, carried, train=True, key=KEY)[0] for one in (plain, dense))
    )


def test_signed_constants_have_kaimings_deviation_and_signs():
    shape = (3, 3, 8, 50)  # fan-in 72
    drawn, constant = (
        draw(KEY, shape, jnp.float32)
        for draw in (learned_masks.KAIMING, learned_masks.signed_constant)
    )
    np.testing.assert_array_equal(np.sign(constant), np.sign(drawn))
    np.testing.assert_allclose(np.abs(constant), np.sqrt(2 / 72), rtol=1e-6)
    np.testing.assert_allclose(np.std(drawn), np.sqrt(2 / 72), rtol=0.05)


@pytest.mark.parametrize("density", [0.5, HALF, {"*": 9}])
def test_scaling_divides_by_the_root_of_what_is_kept(density):
    plain, scaled = (learned_masks.edge_popup(density, scaled=s) for s in (False, True))
    first, second = (one.init(KEY, cases.params())[1]["weights"] for one in (plain, scaled))
    shares = {0: 15 / 30, 1: 8 / 15} if density != {"*": 9} else {0: 0.2, 1: 0.2}
    for place, path in enumerate(KERNELS):
        ratio = np.asarray(leaf(second, path) / leaf(first, path))
        np.testing.assert_allclose(ratio, shares[place] ** -0.5, rtol=1e-5)
    cases.assert_same_bits(first["output"]["bias"], second["output"]["bias"])


def test_scores_begin_as_pytorchs_kaiming_uniform():
    drawn = np.asarray(learned_masks.SCORES(KEY, (400, 100), jnp.float32))
    assert np.abs(drawn).max() <= 1 / 20
    np.testing.assert_allclose(drawn.std(), 1 / 20 / np.sqrt(3), rtol=0.02)


def test_drawn_masks_have_their_probabilities_and_rescaling_their_number():
    learned = learned_masks.bernoulli(NORMAL, rescale=True)
    params, carried = learned.init(KEY, jax.tree.map(jnp.ones_like, cases.params()))
    keys = jax.random.split(KEY, 2_000)
    drawn = jax.vmap(lambda key: learned.weights(params, carried, train=True, key=key)[0])(keys)
    for path in KERNELS:
        used = np.asarray(leaf(drawn, path))
        kept = used > 0
        np.testing.assert_allclose(
            kept.mean(axis=0), jax.nn.sigmoid(leaf(params, path)), atol=4 * 0.5 / 2_000**0.5
        )
        # Weights of one: each layer's sum is its size, whatever was drawn.
        np.testing.assert_allclose(used.sum(axis=(1, 2)), kept[0].size, rtol=1e-5)


def test_a_soft_mask_hardens_with_its_temperature():
    learned = LEARNED["continuous"]
    params, carried = learned.init(KEY, cases.params())
    assert int(carried["step"]) == 0
    for step, beta in ((0, 1.0), (5, 200.0**0.5), (10, 200.0), (99, 200.0)):
        soft = learned.soft(params, {"step": jnp.int32(step)})
        for path in KERNELS:
            score = np.asarray(leaf(params["scores"], path), np.float64)
            np.testing.assert_allclose(
                leaf(soft, path), 1 / (1 + np.exp(-beta * score)), rtol=2e-3, atol=1e-6
            )
    hottest = learned_masks.continuous_sparsification(lambda step: 1e9, NORMAL, evaluation="soft")
    used, _ = hottest.weights(params, carried, train=True)
    hard, _ = learned.weights(params, carried, train=False)
    # Added zeros make -0.0, what a negative weight times zero is, the 0.0 that it equals.
    cases.assert_same_bits(*(jax.tree.map(lambda a: a + 0.0, tree) for tree in (used, hard)))
    assert int(trained("continuous")[1].state.model_state["mask"]["step"]) == STEPS


def test_the_penalty_is_lambda_times_the_soft_masks_sum_and_is_minimised():
    learned = LEARNED["continuous"]
    penalty = learned_masks.size_penalty(learned, 0.01)
    with_, without = learner_of(learned, penalty=penalty), learner_of(learned)
    state = with_.init(KEY)
    total = sum(np.sum(jax.nn.sigmoid(s)) for s in jax.tree.leaves(state.params["scores"]))
    found = penalty(state.params, state.model_state)
    np.testing.assert_allclose(found, 0.01 * total, rtol=1e-5)
    mask = masks.ones(state.params)
    (one, metrics), (two, others) = (
        jax.jit(learner.step)(state, mask, BATCH, KEY) for learner in (with_, without)
    )
    assert metrics["loss"] == others["loss"]
    for path in KERNELS:
        chance = jax.nn.sigmoid(leaf(state.params["scores"], path))
        moved = leaf(one.params["scores"], path) - leaf(two.params["scores"], path)
        # One step of plain descent at 0.5: the penalty's own part.
        np.testing.assert_allclose(moved, -0.5 * 0.01 * chance * (1 - chance), atol=1e-7)
    cases.assert_same_bits(one.params["weights"], two.params["weights"])


def family(hyperparameters):
    return learner_of(learned_masks.edge_popup(hyperparameters["density"]))


DENSITIES = {"tenth": 0.1, "all": 1.0}


@functools.cache
def swept():
    variants = {name: Variant({"density": density}) for name, density in DENSITIES.items()}
    return searches.search(learner=family, variants=variants, levels=1, arms=("ticket",))


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSITIES)
def test_a_population_of_densities_is_its_single_runs_to_the_bit(name):
    learned = learned_masks.edge_popup(DENSITIES[name])
    alone = searches.search(learner=learner_of(learned), levels=1, arms=("ticket",))
    for replicate in range(searches.REPLICATES):
        one = alone.network("ticket", 0, replicate)
        other = swept().network("ticket", 0, replicate, name)
        cases.assert_same_bits(
            (one.params, one.model_state, one.curves),
            (other.params, other.model_state, other.curves),
        )
        mask = learned_masks.mask_of(learned, other.params, other.model_state)
        assert masks.counts(mask) == {
            path: round(DENSITIES[name] * size) for path, size in masks.sizes(mask).items()
        }


@pytest.mark.parametrize("make", ["edge_popup", "straight_through_magnitude"])
@pytest.mark.parametrize("density", [0.2, np.float32(0.2), jnp.float32(0.2)])
def test_layers_that_compete_are_emptied_only_where_that_was_asked_for(make, density):
    weights = cases.params()
    weights["output"]["kernel"] *= 1e-6
    select = allocate.globally(0.5).select

    def kept(**choices):
        learned = getattr(learned_masks, make)(density, select=select, **choices)
        params, carried = learned.init(KEY, weights)
        if make == "edge_popup":
            params = jax.tree.map(
                lambda s, w: None if s is None else w, params, weights, is_leaf=_none
            )
        return masks.counts(jax.jit(learned.mask)(params, carried))

    assert kept() == {"hidden_0/kernel": 8, "output/kernel": 1}
    assert kept(empty_layers=True) == {"hidden_0/kernel": 9, "output/kernel": 0}


def _none(leaf):
    return leaf is None


def test_counts_without_room_for_every_layer_are_refused_by_name():
    scores = {"a": jnp.arange(3.0), "b": jnp.arange(2.0)}
    select = allocate.globally(0.5).select
    with pytest.raises(MaskError, match=r"density: the budget .* has no room for a weight of b"):
        learned_masks.supermask(scores, {"*": 1}, select=select)
    one = learned_masks.supermask(scores, {"*": 1}, select=select, empty_layers=True)
    assert masks.counts(one) == {"a": 1, "b": 0}
    # A traced density is raised to what every layer needs.
    mask = jax.jit(lambda d: learned_masks.supermask(scores, d, select=select))(jnp.float32(0.01))
    assert masks.counts(mask) == {"a": 1, "b": 1}


def test_densities_are_an_axis_like_any_other():
    params, carried = learned_masks.edge_popup(0.5).init(KEY, cases.params())
    used = lambda d: learned_masks.edge_popup(d).weights(params, carried, train=True)[0]  # noqa: E731
    densities = jnp.array([0.1, 0.5, 1.0])
    together = jax.jit(jax.vmap(used))(densities)
    for place, density in enumerate((0.1, 0.5, 1.0)):
        alone = jax.jit(functools.partial(used, density))()
        cases.assert_same_bits(cases.member(together, place), alone)


def test_a_recipes_network_is_wrapped_with_the_hyperparameters_that_are_not_its_own():
    given = []

    def wrap(model, own):
        given.append(dict(own))
        return learned_masks.reparametrise(model, learned_masks.edge_popup(own.get("density", 0.5)))

    recipe, dataset = recipes.Recipe(width=0.05), data.load("digits")
    family = recipes.make_family(recipe, dataset, wrap=wrap)
    learner = family({"density": 0.25, "learning_rate": 0.1})
    assert given == [{}, {"density": 0.25}]
    state = jax.eval_shape(learner.init, KEY)
    assert set(state.model_state) == {"network", "mask"}
    assert state.params["hidden_0"]["bias"] is None
    with pytest.raises(TicketError, match="unknown hyperparameter 'density'"):
        recipes.make_family(recipe, dataset)({"density": 0.25})


BAD = [
    (lambda: learned_masks.edge_popup(0.0), "density: got 0.0, expected a share in (0, 1]"),
    (lambda: learned_masks.straight_through_magnitude(1.5), "density: got 1.5"),
    (lambda: learned_masks.bernoulli(NORMAL, density=1.5), "density: got 1.5"),
    (
        lambda: learned_masks.continuous_sparsification(TEMPERATURE, NORMAL, density=0.0),
        "density: got 0.0",
    ),
    (
        lambda: learned_masks.supermask(cases.params()["output"], 0.01),
        "which keeps no weight of bias (3), kernel (15)",
    ),
    (lambda: learned_masks.bernoulli(NORMAL, evaluation="soft"), "unknown evaluation 'soft'"),
    (
        lambda: learned_masks.continuous_sparsification(TEMPERATURE, NORMAL, evaluation="expected"),
        "unknown evaluation 'expected'",
    ),
    (
        lambda: LEARNED["bernoulli"].weights(
            *LEARNED["bernoulli"].init(KEY, cases.params()), train=True
        ),
        "bernoulli: got no key",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD, ids=[message for _, message in BAD])
def test_what_makes_no_sense_is_one_line(call, message):
    with pytest.raises(TicketError) as caught:
        call()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
