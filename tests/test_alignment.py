"""Laws of permutation alignment: planted permutations come back, and functions stay."""

import functools
import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import Model, Plan, TicketError, learners, masks, models
from jaxticket.analysis import align, align_pairs, barriers, permute
from jaxticket.learners import TrainState
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure import trace


def residual() -> Model:
    """A stream that is read and written by one square matrix: a group on both axes of a leaf."""

    def init(key):
        drawn = jax.random.normal(key, (6 * 4 + 4 * 4 + 4 * 3,))
        parts = jnp.split(drawn, (24, 40))
        shapes = (6, 4), (4, 4), (4, 3)
        return {
            name: part.reshape(shape)
            for name, part, shape in zip(("a", "b", "c"), parts, shapes, strict=True)
        }, {}

    def apply(params, model_state, x, *, train, key=None):
        x = x.reshape(x.shape[0], -1) @ params["a"]
        x = x + jnp.tanh(x @ params["b"])
        return x @ params["c"], model_state

    return Model(init, apply)


MODELS = {
    "perceptron": (lambda: models.mlp((4, 4, 1), (12, 9, 7), 3), (4, 4, 1)),
    "convolutions": (lambda: models.conv_2((4, 4, 3), width_multiplier=0.1), (4, 4, 3)),
    "residual_with_batch_statistics": (
        lambda: models.resnet_20((8, 8, 3), width_multiplier=0.25),
        (8, 8, 3),
    ),
    "deep_with_batch_statistics": (
        lambda: models.deep_mlp((4, 4, 1), width_multiplier=0.2),
        (4, 4, 1),
    ),
    "heads": (
        lambda: models.vision_transformer_tiny(
            (8, 8, 3), depth=1, heads=3, width_multiplier=0.0625
        ),
        (8, 8, 3),
    ),
    "stream": (residual, (2, 3, 1)),
}


@functools.cache
def instance(name):
    """A network with weights, biases and statistics drawn at random, and its graph."""
    make, shape = MODELS[name]
    model = make()
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    generator = np.random.default_rng(0)
    draw = lambda leaf: generator.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    params, model_state = jax.tree.map(draw, shapes)
    # Variances are not negative.
    model_state = jax.tree.map(np.abs, model_state)
    return model, trace(model, *shapes, shape), TrainState(params, model_state, ())


def planted(graph):
    """Cycles through all units of each group, so that none stays where it was."""
    generator = np.random.default_rng(1)
    permutations = {}
    for group in graph.groups:
        order = generator.permutation(group.size)
        permutations[group.name] = np.empty_like(order)
        permutations[group.name][order] = np.roll(order, 1)
    return permutations


def moved(graph, network, permutations):
    return network._replace(
        params=permute(graph, network.params, permutations),
        model_state=permute(graph, network.model_state, permutations, "model_state"),
    )


@functools.cache
def outputs(name):
    model, (_, shape) = instance(name)[0], MODELS[name]
    x = np.random.default_rng(3).normal(size=(5, *shape)).astype(np.float32)
    return jax.jit(
        lambda network: model.apply(network.params, network.model_state, x, train=False)[0]
    )


@cases.every(MODELS)
def test_a_permutation_of_units_leaves_the_outputs_what_they_were(name):
    _, graph, network = instance(name)
    other = moved(graph, network, planted(graph))
    touched = {member.path for group in graph.groups for member in group.members}
    for before, after in zip(leaves_by_path(network), leaves_by_path(other), strict=True):
        same = np.array_equal(before[1], after[1])
        assert same == (before[0].split("/", 1)[1] not in touched), before[0]
    expected = outputs(name)(network)
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(outputs(name)(other), expected, atol=1e-4 * scale)
    # And not because outputs do not depend on the places.
    reader = next(member.path for member in graph.groups[-1].members if member.reads)
    kept = dict(leaves_by_path(network.params))
    half_moved = other._replace(
        params=jax.tree_util.tree_map_with_path(
            lambda path, leaf: kept[reader] if masks.path_string(path) == reader else leaf,
            other.params,
        )
    )
    assert np.abs(outputs(name)(half_moved) - expected).max() > 1e-2 * scale


@cases.every(MODELS)
def test_a_planted_permutation_is_recovered_exactly(name):
    _, graph, first = instance(name)
    permutations = planted(graph)
    second = moved(graph, first, permutations)
    found = align(graph, first, second, jax.random.key(0))
    for group, permutation in permutations.items():
        np.testing.assert_array_equal(found.permutations[group], np.argsort(permutation))
    cases.assert_same_bits(found.params, first.params)
    cases.assert_same_bits(found.model_state, first.model_state)
    squares = sum(float(np.sum(np.float64(leaf) ** 2)) for leaf in jax.tree.leaves(first.params))
    assert found.similarity == pytest.approx(squares, rel=1e-12)


def test_what_is_aligned_has_no_barrier_and_what_is_not_has_one():
    model, graph, first = instance("deep_with_batch_statistics")
    examples = cases.Examples(
        np.random.default_rng(0).integers(0, 256, (40, 4, 4, 1), np.uint8),
        np.arange(40, dtype=np.int32) % 10,
    )
    learner = learners.supervised(model, cases.optimizer("sgd"))
    second = moved(graph, first, planted(graph))
    aligned = align(graph, first, second, jax.random.key(0))
    ours, theirs, found = (
        jax.tree.map(lambda leaf: leaf[None], TrainState(one.params, one.model_state, ()))
        for one in (first, second, aligned)
    )
    of = lambda other: barriers(learner, first, ours, other, examples, Plan("map"), 9, "loss")  # noqa: E731
    assert of(found)["barriers"].tolist() == [0.0]
    assert np.ptp(of(found)["curves"]) == 0
    assert np.ptp(of(theirs)["curves"]) > 0.1


def test_one_layer_is_matched_as_well_as_any_permutation_can():
    model = models.mlp((2, 3, 1), (5,), 3)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    graph = trace(model, *shapes, (2, 3, 1))
    first, second = (TrainState(cases.params(seed), {}, ()) for seed in (0, 1))
    found = align(graph, first, second, jax.random.key(0))
    best = max(
        sum(
            np.vdot(np.float64(first.params[layer][leaf]), np.float64(value))
            for layer, leaf, value in (
                ("hidden_0", "kernel", second.params["hidden_0"]["kernel"][:, order]),
                ("hidden_0", "bias", second.params["hidden_0"]["bias"][order]),
                ("output", "kernel", second.params["output"]["kernel"][order]),
                ("output", "bias", second.params["output"]["bias"]),
            )
        )
        for order in map(np.array, itertools.permutations(range(5)))
    )
    assert found.similarity == pytest.approx(best, rel=1e-12)


@cases.every(("perceptron", "convolutions", "stream"))
def test_alignment_never_loses_ends_and_is_a_function_of_its_key(name):
    _, graph, first = instance(name)
    generator = np.random.default_rng(9)
    draw = lambda leaf: generator.normal(size=leaf.shape).astype(np.float32)  # noqa: E731
    second = first._replace(params=jax.tree.map(draw, first.params))
    pairs = zip(jax.tree.leaves(first.params), jax.tree.leaves(second.params), strict=True)
    before = sum(float(np.vdot(np.float64(a), np.float64(b))) for a, b in pairs)
    found = align(graph, first, second, jax.random.key(1))
    again = align(graph, first, second, jax.random.key(1))
    assert found.similarity > before
    cases.assert_same_bits(found.permutations, again.permutations)
    more = align(graph, first, second, jax.random.key(1), starts=3)
    assert more.similarity >= found.similarity
    # A network is where it belongs already.
    still = align(graph, first, first, jax.random.key(2))
    assert (still.sweeps, all((np.diff(p) == 1).all() for p in still.permutations.values())) == (
        1,
        True,
    )


def test_many_pairs_are_each_as_alone():
    _, graph, network = instance("perceptron")
    generator = np.random.default_rng(4)
    draw = lambda leaf: generator.normal(size=(3, *leaf.shape)).astype(np.float32)  # noqa: E731
    firsts, seconds = (jax.tree.map(draw, network) for _ in range(2))
    keys = jax.random.split(jax.random.key(5), 3)
    found = align_pairs(graph, firsts, seconds, keys, starts=2)
    for place in range(3):
        pair = cases.member(firsts, place), cases.member(seconds, place)
        alone = align(graph, *pair, keys[place], starts=2)
        cases.assert_same_bits(cases.member(found, place), alone)
    # Of three drawn pairs no two are alike.
    assert len({tuple(row) for row in found.permutations["hidden_0/kernel"]}) == 3


def test_masks_go_with_their_weights():
    _, graph, network = instance("perceptron")
    dense = masks.ones(network.params)
    mask = jax.tree.map(lambda leaf: np.arange(leaf.size).reshape(leaf.shape) % 3 > 0, dense)
    pruned = jax.tree.map(np.asarray, masks.apply(network.params, mask))
    permutations = planted(graph)
    params, its_mask = (permute(graph, tree, permutations) for tree in (pruned, mask))
    assert masks.counts(its_mask) == masks.counts(mask)
    assert not masks.is_subset(its_mask, mask)
    cases.assert_same_bits(masks.apply(params, its_mask), params)
    cases.assert_zero_where_pruned(params, its_mask)
    back = {name: np.argsort(order) for name, order in permutations.items()}
    cases.assert_same_bits(permute(graph, its_mask, back), mask)


def test_what_is_no_permutation_of_a_group_is_refused():
    _, graph, network = instance("perceptron")
    refused = functools.partial(permute, graph, network.params)
    with pytest.raises(TicketError, match=r"output/kernel: is no group.*expected some of hidden_0"):
        refused({"output/kernel": np.arange(3)})
    with pytest.raises(
        TicketError, match=r"hidden_2/kernel: got \[0, 0, .* from 0 to 6, each once"
    ):
        refused({"hidden_2/kernel": np.zeros(7, int)})


def test_networks_that_cannot_be_aligned_are_refused():
    _, graph, first = instance("perceptron")
    key = jax.random.key(0)
    other = first._replace(params=first.params | {"output": {}})
    with pytest.raises(
        TicketError, match=r"alignment, first and second: got params/out.* and nothing"
    ):
        align(graph, first, other, key)
    firsts, key_of_each = cases.stack([first, first]), jax.random.split(key, 3)
    with pytest.raises(
        TicketError, match=r"alignment: got keys \[3\] for 2 pairs, expected one ea"
    ):
        align_pairs(graph, firsts, firsts, key_of_each)
    with pytest.raises(TicketError, match=r"alignment, firsts and seconds: got params/"):
        align_pairs(graph, firsts, first, key_of_each)
    with pytest.raises(TicketError, match="starts: got 0"):
        align(graph, first, first, key, starts=0)
    with pytest.raises(TicketError, match="starts: got 0"):
        align_pairs(graph, firsts, firsts, key_of_each[:2], starts=0)
