"""Structures as masks: counts in every group, whole groups, and the best of them."""

import math

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxticket import MaskError, TicketError, allocate, masks, prune
from jaxticket.allocate.groups import from_groups, to_groups
from jaxticket.allocate.structures import REDUCTIONS


def drawn(seed, *shape):
    # Few distinct values: ties.
    return np.random.default_rng(seed).integers(0, 5, shape).astype(np.float32)


def run(allocation, scores, levels, mask=None):
    """The masks of all levels, with the same scores at each."""
    scores = jax.tree.map(jnp.array, scores)
    mask = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), scores)
    every = [mask]
    select = jax.jit(allocation.select)
    for counts in prune.schedule(allocation, mask, levels)[1:]:
        every.append(select(scores, every[-1], jax.tree.map(jnp.int32, counts)))
        assert masks.is_subset(every[-1], every[-2])
    return [jax.tree.map(np.asarray, mask) for mask in every]


# Groups.


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=4))
def test_groups_are_blocks_and_can_be_put_together_again(axes):
    shape, block = tuple(g * b for g, b in axes), tuple(b for _, b in axes)
    leaf = np.arange(math.prod(shape)).reshape(shape)
    groups = to_groups(leaf, block)
    assert groups.shape == (math.prod(g for g, _ in axes), math.prod(block))
    for index, start in enumerate(np.ndindex(*(g for g, _ in axes))):
        where = tuple(slice(i * b, (i + 1) * b) for i, b in zip(start, block, strict=True))
        np.testing.assert_array_equal(groups[index], leaf[where].ravel())
    np.testing.assert_array_equal(from_groups(groups, shape, block), leaf)


# N:M.


@pytest.mark.parametrize("axis", [-2, -1, 0])
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_every_group_keeps_its_n_best(axis, seed):
    scores = {"convolution": drawn(seed, 4, 2, 8, 4), "dense": drawn(seed + 1, 8, 4)}
    for n, mask in zip((4, 3, 1), run(allocate.n_of_m((3, 1), 4, axis), scores, 3), strict=True):
        for path, leaf in scores.items():
            rows = np.moveaxis(leaf, axis, -1).reshape(-1, 4)
            kept = np.moveaxis(mask[path], axis, -1).reshape(-1, 4)
            # The n best of each row; among equal ones the lower index.
            best = np.argsort(-rows, axis=1, kind="stable")[:, :n]
            expected = np.zeros_like(kept)
            np.put_along_axis(expected, best, True, axis=1)
            np.testing.assert_array_equal(kept, expected)


def test_axes_can_differ_by_leaf():
    scores = {"a": drawn(0, 4, 3), "b": drawn(1, 3, 4)}
    mask = run(allocate.n_of_m(2, 4, {"*": -2, "b": 1}), scores, 2)[1]
    assert mask["a"].sum(axis=0).tolist() == [2, 2, 2] == mask["b"].sum(axis=1).tolist()


N_OF_M_MISTAKES = {
    r"n_of_m: 4 does not divide the 6 weights of b along axis 0 of \(6, 4\)": ((2, 4), 2),
    r"n_of_m: got 3 levels, expected at most 2: level 1 keeps 2 of 4, .* as \(3, 2, 1\)": (
        (2, 4),
        3,
    ),
    "got 4 levels, expected at most 3: level 1 keeps 3 of 4": (((3, 1), 4), 4),
    "n_of_m: got axis -3 for a, which has shape": ((2, 4, -3), 2),
    "n_of_m: got axis 2 for a, which has shape": ((2, 4, 2), 2),
    r"axes \{'c': 0\}: no pattern for \['a', 'b'\], no layer for \['c'\]": ((2, 4, {"c": 0}), 2),
    "n_of_m: got 4 of 4, expected numbers between 1 and 3": ((4, 4), 2),
    "n_of_m: got 0 of 4": ((0, 4), 2),
    r"n_of_m: got \(1, 2\) of 4, .* each below the one before": (((1, 2), 4), 2),
}


@cases.every(N_OF_M_MISTAKES, "message")
def test_groups_that_cannot_be_are_refused(message):
    arguments, levels = N_OF_M_MISTAKES[message]
    mask = {"a": np.ones((8, 4), bool), "b": np.ones((6, 4), bool)}
    with pytest.raises(TicketError, match=message):
        prune.schedule(allocate.n_of_m(*arguments), mask, levels)


def test_a_mask_with_too_few_weights_in_a_group_is_refused():
    mask = {"a": np.ones((4, 2), bool)}
    mask["a"][1:, 1] = False
    assert prune.schedule(allocate.n_of_m(1, 4), mask, 2) == ({"a": 5}, {"a": 2})
    for numbers in (2, (2, 1)):
        with pytest.raises(MaskError, match="fewer than 2 weights in a group of a; begin with"):
            prune.schedule(allocate.n_of_m(numbers, 4), mask, 2)


# Every output by itself.


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_every_output_keeps_its_best(seed):
    scores = {"convolution": drawn(seed, 3, 2, 4), "dense": drawn(seed + 1, 6, 4)}
    found = run(allocate.per_output((0.5, 0.2)), scores, 3)
    for number, mask in zip((6, 3, 1), found, strict=True):
        for path, leaf in scores.items():
            kept = mask[path].reshape(6, 4)
            best = np.argsort(-leaf.reshape(6, 4), axis=0, kind="stable")[:number]
            expected = np.zeros_like(kept)
            np.put_along_axis(expected, best, True, axis=0)
            np.testing.assert_array_equal(kept, expected)


def test_outputs_can_be_several_axes():
    scores = {"heads": drawn(0, 6, 2, 3), "dense": drawn(1, 6, 4)}
    mask = run(allocate.per_output(0.5, {"*": 1, "heads": 2}), scores, 2)[1]
    assert mask["heads"].sum(axis=0).tolist() == [[3, 3, 3], [3, 3, 3]]
    assert mask["dense"].sum(axis=0).tolist() == [3, 3, 3, 3]


def test_wanda_by_output_is_the_published_rule():
    """2306.11695, algorithm 1: in each row of a torch weight, the lowest products go."""
    weights, inputs = drawn(2, 4, 3) + 0.5, np.abs(drawn(3, 9, 4)) + 1.0
    metric = np.abs(weights.T) * np.sqrt((inputs**2).sum(axis=0))
    expected = np.ones((3, 4), bool)
    np.put_along_axis(expected, np.argsort(metric, axis=1)[:, :2], False, axis=1)
    mask = run(allocate.per_output(0.5), {"w": metric.T.astype(np.float32)}, 2)[1]["w"]
    np.testing.assert_array_equal(mask.T, expected)


def test_a_mask_of_uneven_outputs_is_refused():
    mask = {"a": np.ones((4, 2), bool)}
    mask["a"][1:, 1] = False
    with pytest.raises(MaskError, match=r"per_output: .* than of others in a, expected as many"):
        prune.schedule(allocate.per_output(0.5), mask, 2)
    with pytest.raises(TicketError, match="per_output: got 3 sizes"):
        prune.schedule(allocate.per_output(0.5, 3), {"a": np.ones((4, 2), bool)}, 2)
    with pytest.raises(TicketError, match=r"prune rate: got 1\.5"):
        allocate.per_output(1.5)


# Blocks and units.

REDUCED = {
    "sum": np.sum,
    "mean": np.mean,
    "maximum": np.max,
    "norm": lambda block: np.sqrt(np.sum(block**2)),
}


@cases.every(REDUCED, "reduction")
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=5)
def test_each_layer_keeps_its_best_whole_blocks(reduction, seed):
    scores = {"a": drawn(seed, 4, 6), "b": drawn(seed + 1, 2, 4, 3)}
    # 4 blocks of 2 x 3 in a, 4 in b: 3, then 2.
    levels = run(allocate.blocks(0.25, (2, 3), reduction=reduction), scores, 3)
    for number, mask in zip((4, 3, 2), levels, strict=True):
        for path, leaf in scores.items():
            block = (1,) * (leaf.ndim - 2) + (2, 3)
            groups = to_groups(leaf, block)
            worth = [REDUCED[reduction](group) for group in groups]
            best = sorted(range(4), key=lambda i: (-worth[i], i))[:number]
            expected = np.zeros_like(groups, bool)
            expected[best] = True
            np.testing.assert_array_equal(to_groups(mask[path], block), expected)


def test_global_blocks_of_one_size_compete_across_layers_and_are_counted_exactly():
    scores = {"a": np.ones((4, 4), np.float32), "b": np.full((4, 4), 2.0, np.float32)}
    allocation = allocate.blocks((0.6, 0.3), (2, 2), scope="global")
    every = run(allocation, scores, 3)
    # 8 blocks: round(4.8) = 5, round(2.4) = 2.
    assert [masks.counts(mask) for mask in every[1:]] == [{"a": 4, "b": 16}, {"a": 0, "b": 8}]
    assert every[2]["b"][:2].all()


def test_units_are_columns_of_kernels_and_the_rest_of_the_axis_goes_with_them():
    scores = {"convolution": drawn(0, 3, 3, 2, 8), "dense": drawn(1, 8, 10)}
    mask = run(allocate.units(0.5, dense=()), scores, 2)[1]
    for path, leaf in scores.items():
        norms = leaf.reshape(-1, leaf.shape[-1]).sum(axis=0)
        number = leaf.shape[-1] // 2
        best = sorted(range(leaf.shape[-1]), key=lambda i: (-norms[i], i))[:number]
        expected = np.zeros(leaf.shape, bool)
        expected[..., best] = True
        np.testing.assert_array_equal(mask[path], expected)
    rows = run(allocate.units(0.5, axis=-2), scores, 2)[1]["dense"]
    assert sorted(rows.sum(axis=1).tolist()) == [0] * 4 + [10] * 4


@given(st.integers(0, 2**32 - 1), st.integers(12, 37))
@settings(max_examples=20)
def test_global_units_are_the_longest_ranking_that_fits_with_the_best_of_each_layer(seed, budget):
    scores = {"a": drawn(seed, 5, 4), "b": drawn(seed + 1, 2, 3, 3) / 2}
    mask = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), scores)
    chosen = global_units(jax.tree.map(jnp.array, scores), mask, {"*": jnp.int32(budget)})
    ranking, best = [], []
    for path, leaf in scores.items():
        columns = leaf.reshape(-1, leaf.shape[-1]).mean(axis=0)
        order = sorted(range(columns.size), key=lambda i: (-columns[i], i))
        best.append((path, order[0]))
        ranking += [(-columns[i], path, i) for i in range(columns.size) if i != order[0]]
    expected = {path: np.zeros(leaf.shape, bool) for path, leaf in scores.items()}
    for path, unit in [*best, *((path, unit) for _, path, unit in sorted(ranking))]:
        budget -= scores[path][..., unit].size
        if budget < 0:
            break
        expected[path][..., unit] = True
    cases.assert_same_bits(jax.tree.map(np.asarray, chosen), expected)


global_units = jax.jit(allocate.units(0.5, scope="global", reduction="mean", dense=()).select)


def test_global_units_of_different_sizes_are_budgeted_in_weights():
    allocation = allocate.units((0.5, 0.3), scope="global", dense=())
    # Units of 5 and of 6 weights; round(0.3 x 38) = 11.
    mask = {"a": np.ones((5, 4), bool), "b": np.ones((6, 3), bool)}
    assert [counts["*"] for counts in prune.schedule(allocation, mask, 3)] == [38, 19, 11]
    # Of one size they are counted: round(0.3 x 7) = 2.
    alike = {"a": np.ones((5, 4), bool), "b": np.ones((5, 3), bool)}
    assert [counts["*"] for counts in prune.schedule(allocation, alike, 3)] == [35, 20, 10]


LAYERS = {"first/kernel": (2, 8), "output/kernel": (8, 4)}


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_the_outputs_of_a_network_stay_whatever_they_are_worth(scope):
    scores = {path: drawn(0, *shape) for path, shape in LAYERS.items()}
    scores["output/kernel"] *= 1e-6
    levels = run(allocate.units((0.5, 0.25), scope=scope), scores, 3)
    found = [{path: int(leaf.sum()) for path, leaf in mask.items()} for mask in levels]
    assert [mask["first/kernel"] for mask in found] == [16, 8, 4]
    assert all(mask["output/kernel"] == 32 for mask in found)
    named = run(allocate.units((0.5,), scope=scope, dense=("first/*",)), scores, 2)[1]
    assert masks.counts(named) == {"first/kernel": 16, "output/kernel": 16}
    # Units of inputs are no classes.
    inputs = run(allocate.units((0.5,), axis=-2), scores, 2)[1]
    assert masks.counts(inputs) == {"first/kernel": 8, "output/kernel": 16}


@pytest.mark.parametrize("dense", [None, ("last/*",)])
def test_a_last_layer_of_another_name_must_be_named(dense):
    shapes = {"Dense_0": np.ones((2, 8), bool), "Dense_1": np.ones((8, 4), bool)}
    message = "units: dense .* matches none of Dense_0, Dense_1; name the layer that gives the net"
    with pytest.raises(TicketError, match=message):
        prune.schedule(allocate.units(0.5, dense=dense), shapes, 2)


def test_the_last_unit_of_a_layer_goes_only_where_that_was_asked_for():
    shapes = {"a": np.ones((2, 40), bool), "b": np.ones((2, 2), bool)}
    densities = (0.5, 0.1)
    counts = prune.schedule(allocate.units(densities, dense=()), shapes, 3)
    assert counts[1:] == ({"a": 40, "b": 2}, {"a": 8, "b": 2})
    with pytest.raises(MaskError, match="the schedule empties b at level 2 of 2"):
        prune.schedule(allocate.units(densities, at_least=0, dense=()), shapes, 3)
    worthless = {"a": np.ones((2, 40), np.float32), "b": np.zeros((2, 2), np.float32)}
    kept = [
        masks.counts(
            run(allocate.units(0.5, scope="global", at_least=n, dense=()), worthless, 2)[1]
        )["b"]
        for n in (0, 1, 2)
    ]
    assert kept == [0, 2, 4]
    few = allocate.units((0.05,), scope="global", at_least=2, dense=())
    with pytest.raises(
        MaskError, match="keeps 4 weights at level 1, fewer than the 8 of at_least 2"
    ):
        prune.schedule(few, shapes, 2)
    # 42 units of two weights, of which four are two of every layer.
    just = allocate.units((0.5, 4 / 42), scope="global", at_least=2, dense=())
    assert prune.schedule(just, shapes, 3)[2] == {"*": 8}
    less = allocate.units((0.5, 3 / 42), scope="global", at_least=2, dense=())
    with pytest.raises(MaskError, match="keeps 6 weights at level 2, fewer than the 8"):
        prune.schedule(less, shapes, 3)


MISTAKES = {
    r"blocks: 3 does not divide the 4 weights of a along axis 1 of \(6, 4\)": lambda: (
        allocate.blocks(0.5, (2, 3))
    ),
    r"blocks: got 3 sizes \(1, 2, 2\) for a, expected at most 2": lambda: allocate.blocks(
        0.5, (1, 2, 2)
    ),
    r"blocks: got shape \(0, 2\), expected sizes of at least 1": lambda: allocate.blocks(
        0.5, (0, 2)
    ),
    "units: got axis 2 for a, which has shape": lambda: allocate.units(0.5, axis=2),
    "units: got at_least -1, expected 0 or more": lambda: allocate.units(0.5, at_least=-1),
    "unknown reduction 'max': did you mean 'maximum'": lambda: allocate.units(0.5, reduction="max"),
    "prune rate: got 1.0, expected a share": lambda: allocate.units(1.0),
}


@cases.every(MISTAKES, "message")
@pytest.mark.parametrize("levels", [2])
def test_structures_that_cannot_be_are_refused(message, levels):
    with pytest.raises(TicketError, match=message):
        prune.schedule(MISTAKES[message](), {"a": np.ones((6, 4), bool)}, levels)


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_a_mask_that_keeps_parts_of_groups_is_refused(scope):
    mask = {"a": np.ones((6, 4), bool), "b": np.ones((6, 4), bool)}
    mask["a"][:, 1] = False
    assert (
        sum(prune.schedule(allocate.units(0.5, scope=scope, dense=()), mask, 1)[0].values()) == 42
    )
    mask["b"][3, 2] = False
    with pytest.raises(MaskError, match="units: got a mask that keeps parts of groups in b, exp"):
        prune.schedule(allocate.units(0.5, scope=scope, dense=()), mask, 2)


# Scores of both signs.


def test_the_norm_of_scores_below_zero_is_below_zero():
    scores = {"w": -jnp.array([[1.0, 5.0, 3.0], [1.0, 5.0, 3.0]])}
    mask = {"w": jnp.ones((2, 3), bool)}
    for allocation in (
        allocate.units(0.5, reduction="norm", dense=()),
        allocate.units(0.5, dense=()),
    ):
        kept = allocation.select(scores, mask, {"w": 2})["w"]
        assert kept.tolist() == [[True, False, False]] * 2


@pytest.mark.usefixtures("full_compilation")
def test_the_norm_of_scores_that_are_not_negative_is_that_of_squares_to_the_bit():
    scores = np.random.default_rng(0).gamma(0.3, 2, (50, 33)).astype(np.float32)
    scores[0], scores[1, :2], scores[2, 0] = 0, (np.inf, 0), np.nan
    squares = lambda scores: jnp.sqrt(jnp.sum(scores**2, axis=1))  # noqa: E731
    norm = lambda scores: REDUCTIONS["norm"](scores, axis=1)  # noqa: E731
    for run in (jax.jit, lambda function: function):
        cases.assert_same_bits(run(norm)(jnp.array(scores)), run(squares)(jnp.array(scores)))
