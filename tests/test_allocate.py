"""The laws of allocation: exact counts, ties by the lower flat index, nested masks."""

import math
import re
from fractions import Fraction

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jaxticket import MaskError, TicketError, allocate, masks, prune

# Many ties, both zeros, NaN and infinities.
awkward = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, 1e-40, np.nan, -np.nan, np.inf, -np.inf])
scores_of = lambda size: st.lists(awkward, min_size=size, max_size=size)  # noqa: E731
bools_of = lambda size: st.lists(st.booleans(), min_size=size, max_size=size)  # noqa: E731


def oracle(scores, kept, keep):
    """Keeps the `keep` best, by the definition: NaN last, then higher first, then lower index."""
    candidates = [index for index in range(len(scores)) if kept[index]]
    worth = lambda i: -np.inf if np.isnan(scores[i]) else scores[i]  # noqa: E731
    candidates.sort(key=lambda i: (np.isnan(scores[i]), -worth(i), i))
    chosen = np.zeros(len(scores), bool)
    chosen[candidates[:keep]] = True
    return chosen


jitted_keep = jax.jit(allocate.keep_highest)


@given(scores_of(12), bools_of(12), st.integers(0, 12))
def test_keep_highest_keeps_the_best_exactly(scores, kept, keep):
    # XLA flushes numbers below the normal range, so the definition sees them flushed too.
    scores = np.array(scores, np.float32)
    scores[np.abs(scores) < np.finfo(np.float32).tiny] = 0.0
    keep = min(keep, sum(kept))
    chosen = jitted_keep(jnp.array(scores), jnp.array(kept), jnp.int32(keep))
    assert int(chosen.sum()) == keep
    np.testing.assert_array_equal(chosen, oracle(scores, kept, keep))


def test_ties_break_by_the_lower_index_and_nan_ranks_below_minus_infinity():
    scores = jnp.array([np.nan, 1.0, 1.0, -np.inf, 1.0])
    mask = jnp.ones(5, bool)
    order = [1, 2, 4, 3, 0]
    for keep in range(6):
        chosen = np.flatnonzero(jitted_keep(scores, mask, jnp.int32(keep)))
        assert chosen.tolist() == sorted(order[:keep])


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_scores_of_any_precision_are_ranked(dtype):
    scores = jnp.array([0.5, -2.0, 3.0, 0.25, jnp.nan, -jnp.inf], dtype)
    for keep, best in enumerate(([], [2], [2, 0], [2, 0, 3], [2, 0, 3, 1])):
        chosen = allocate.keep_highest(scores, jnp.ones(6, bool), keep)
        assert sorted(best) == np.flatnonzero(chosen).tolist()


def test_scores_of_double_precision_are_ranked_by_all_their_digits():
    with jax.enable_x64(True):
        scores = jnp.array([1.0, 1 + 1e-12, -1.0, -1 - 1e-12, jnp.nan, 0.0])
        for keep, best in enumerate(([], [1], [1, 0], [1, 0, 5], [1, 0, 5, 2], [1, 0, 5, 2, 3])):
            chosen = allocate.keep_highest(scores, jnp.ones(6, bool), keep)
            assert sorted(best) == np.flatnonzero(chosen).tolist()


@pytest.mark.parametrize("densities", [(0.5, 0.5), (0.5, 0.0), (1.0, 0.5), (0.5, -0.1)])
def test_densities_fall_from_level_to_level_and_stay_above_zero(densities):
    with pytest.raises(TicketError, match=r"densities: got .*, each below the one before"):
        allocate.totals(densities, 100, 3)
    assert allocate.totals((0.5, 0.25, 0.1), 100, 3) == [100, 50, 25]


def tree_of(flat):
    flat = np.asarray(flat)
    return {
        "hidden_0": {"kernel": jnp.array(flat[:30].reshape(6, 5)), "bias": None},
        "output": {"kernel": jnp.array(flat[30:45].reshape(5, 3)), "bias": None},
    }


def flat_of(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def expected_masks(name, scores, levels):
    """The masks of all levels by the definition; the scores are new at every level."""
    rates = {"layerwise": ["1/5", "1/10"], "uniform": ["3/10"] * 2, "globally": ["1/4"]}[name]
    parts = [slice(0, 45)] if name == "globally" else [slice(0, 30), slice(30, 45)]
    kept, every = np.ones(45, bool), [np.ones(45, bool)]
    for level in range(1, levels):
        following = np.zeros(45, bool)
        for rate, part in zip(rates, parts, strict=True):
            number = int(kept[part].sum())
            # Python rounds a Fraction's half to even, as the definition does.
            keep = number - round(Fraction(rate) * number)
            following[part] = oracle(scores[level][part], kept[part], keep)
        kept = following
        every.append(kept)
    return every


jitted = {name: jax.jit(allocation.select) for name, allocation in cases.ALLOCATIONS.items()}


@cases.every(["layerwise", "uniform", "globally"])
@given(seed=st.integers(0, 2**32 - 1))
def test_every_level_is_the_oracles_and_nested_in_the_one_before(name, seed):
    allocation, levels = cases.ALLOCATIONS[name], 5
    generator = np.random.default_rng(seed)
    # Few distinct values: ties everywhere.
    scores = generator.integers(-2, 3, (levels, 45)).astype(np.float32)
    mask = tree_of(np.ones(45, bool))
    counts = prune.schedule(allocation, mask, levels)
    for level, expected in enumerate(expected_masks(name, scores, levels)):
        if level:
            kept = {path: jnp.int32(number) for path, number in counts[level].items()}
            following = jitted[name](tree_of(scores[level]), mask, kept)
            assert masks.is_subset(following, mask)
            mask = following
        np.testing.assert_array_equal(flat_of(mask), expected)
        assert sum(masks.counts(mask).values()) == sum(counts[level].values())
        assert mask["output"]["bias"] is None


@cases.every(cases.ALLOCATIONS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_every_level_keeps_what_it_must_of_the_one_before(name, seed):
    generator = np.random.default_rng(seed)
    mask, levels = tree_of(np.ones(45, bool)), 5
    for counts in prune.schedule(cases.ALLOCATIONS[name], mask, levels)[1:]:
        # Ties, and scores of either sign.
        scores = tree_of(generator.integers(-2, 3, 45).astype(np.float32))
        kept = {path: jnp.int32(number) for path, number in counts.items()}
        following = jitted[name](scores, mask, kept)
        assert masks.is_subset(following, mask)
        cases.assert_kept(name, following, counts)
        assert all(masks.counts(following).values()) or name in ("globally", "by_cost")
        assert following["output"]["bias"] is None
        mask = following


@cases.every(cases.ALLOCATIONS)
def test_an_allocation_says_whether_it_keeps_all_that_it_may(name):
    assert cases.ALLOCATIONS[name].exact is (name not in cases.UNUSED)


@cases.every(cases.ALLOCATIONS)
def test_a_schedule_begins_with_all_that_is_kept(name):
    allocation, mask = cases.ALLOCATIONS[name], tree_of(np.ones(45, bool))
    kept = allocation.kept(mask)
    for levels in (1, 3):
        first = allocation.schedule(mask, levels)[0]
        assert first == {term: int(kept[term]) for term in first}


@pytest.mark.parametrize(
    "allocation",
    [
        allocate.per_output(0.5),
        allocate.blocks(0.5, (1, None)),
        allocate.blocks(0.5, (None, 1), scope="global"),
        allocate.units(0.5, dense=()),
        allocate.units(0.5, scope="global", dense=()),
        allocate.n_of_m(1, 2),
    ],
)
def test_groups_along_axes_of_one_weight_or_of_none(allocation):
    shapes = {"one": (4, 1), "none": (4, 0), "some": (4, 4)}
    scores = {path: jnp.arange(1.0, math.prod(s) + 1).reshape(s) for path, s in shapes.items()}
    mask = {path: jnp.ones(shape, bool) for path, shape in shapes.items()}
    counts = prune.schedule(allocation, mask, 2, empty_layers=True)[1]
    kept = masks.counts(allocation.select(scores, mask, counts))
    assert kept["none"] == 0 < kept["some"] < 16
    assert sum(kept.values()) <= sum(counts.values()) < 20


@pytest.mark.slow
@cases.every(cases.ALLOCATIONS)
def test_selection_is_the_same_eager_compiled_and_in_a_population(name):
    allocation = cases.ALLOCATIONS[name]
    counts = prune.schedule(allocation, tree_of(np.ones(45, bool)), 4)
    population = [
        (cases.params(seed), tree_of(np.ones(45, bool)), counts[1 + seed]) for seed in range(3)
    ]
    as_arrays = [
        (scores, mask, {path: jnp.int32(kept) for path, kept in number.items()})
        for scores, mask, number in population
    ]
    together = jax.vmap(allocation.select)(*cases.stack(as_arrays))
    for index, (scores, mask, number) in enumerate(population):
        eager = allocation.select(scores, mask, number)
        cases.assert_same_bits(jitted[name](*as_arrays[index]), eager)
        cases.assert_same_bits(cases.member(together, index), eager)
        cases.assert_kept(name, eager, number)


def test_global_selection_takes_params_of_tuples_and_ties_go_by_the_order_of_leaves():
    scores = [(jnp.ones((2, 2)), jnp.ones(2)), (jnp.full((2, 2), 1.0), jnp.ones(2))]
    mask = [(jnp.ones((2, 2), bool), None), (jnp.ones((2, 2), bool), None)]
    chosen = allocate.globally(0.5).select(scores, mask, {"*": 5})
    assert flat_of(chosen).tolist() == [True] * 5 + [False] * 3
    assert [bias for _, bias in chosen] == [None, None]


def test_global_scope_compares_raw_scores_of_all_layers():
    small, large = jnp.full((2, 2), 1.0), jnp.full((2, 2), 2.0)
    mask = {"a": jnp.ones((2, 2), bool), "b": jnp.ones((2, 2), bool)}
    chosen = allocate.globally(0.5).select({"a": small, "b": large}, mask, {"*": 4})
    assert masks.counts(chosen) == {"a": 0, "b": 4}


# Schedules.

LENET = {"hidden_0/kernel": (784, 300), "hidden_1/kernel": (300, 100), "output/kernel": (100, 10)}
CONV_2 = {"conv_0": 1_728, "conv_1": 36_864, "fc_0": 4_194_304, "fc_1": 65_536, "output": 2_560}
CONV_4 = {
    "conv_0": 1_728,
    "conv_1": 36_864,
    "conv_2": 73_728,
    "conv_3": 147_456,
    "fc_0": 2_097_152,
    "fc_1": 65_536,
    "output": 2_560,
}


def dense(shapes):
    return {path: np.broadcast_to(True, shape) for path, shape in shapes.items()}


def percentages(allocation, shapes, levels):
    counts = prune.schedule(allocation, dense(shapes), levels)
    whole = sum(counts[0].values())
    return [round(100 * sum(level.values()) / whole, 2) for level in counts]


def test_the_layerwise_schedule_of_lenet_is_the_papers():
    measured = percentages(allocate.layerwise(masks.LAYERWISE_2019), LENET, 19)
    assert [measured[level] for level in (3, 7, 9, 15)] == [51.28, 21.07, 13.52, 3.58]
    assert measured == [
        *(100, 80.04, 64.06, 51.28, 41.05, 32.87, 26.32, 21.07, 16.88, 13.52),
        *(10.83, 8.68, 6.95, 5.57, 4.47, 3.58, 2.87, 2.31, 1.85),
    ]


def test_the_global_schedule_of_20_percent_is_the_papers():
    measured = percentages(allocate.globally(0.2), LENET, 12)
    assert measured == [100, 80, 64, 51.2, 40.96, 32.77, 26.21, 20.97, 16.78, 13.42, 10.74, 8.59]


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [(CONV_2, {11: 8.81, 14: 4.57}), (CONV_4, {11: 11.06, 12: 9.18})],
    ids=["conv_2", "conv_4"],
)
def test_the_layerwise_schedules_of_small_convolutional_networks_are_the_papers(shapes, expected):
    rates = {"conv_*": 0.1, "fc_*": 0.2, "output": 0.1}
    measured = percentages(allocate.layerwise(rates), shapes, 15)
    assert {level: measured[level] for level in expected} == expected


@example(kept=90, percent=35)  # 31.5 goes to 32; in floats it is 31.499...
@given(kept=st.integers(1, 2**40), percent=st.integers(1, 99))
def test_counts_are_exact_integers_of_any_size(kept, percent):
    # k - round(p k) in integers: halves go to the even neighbour.
    quotient, rest = divmod(percent * kept, 100)
    gone = quotient + (rest > 50 or (rest == 50 and quotient % 2 == 1))
    _, number = allocate.totals(percent / 100, kept, 2)
    assert type(number) is int
    assert number == kept - gone


def test_schedules_are_exact_past_what_float32_can_count():
    mask = {"w": np.broadcast_to(True, (2**24 + 1,))}
    for allocation, path in ((allocate.uniform(0.2), "w"), (allocate.globally(0.2), "*")):
        first, second = prune.schedule(allocation, mask, 2)
        assert (first[path], second[path]) == (16_777_217, 13_421_774)


def test_the_last_pattern_that_matches_decides():
    paths = ("hidden/kernel", "output/kernel", "output/bias")
    allocation = allocate.layerwise({"*": 0.5, "output/*": 0.1, "*/bias": 0.9})
    counts = allocation.schedule({path: np.ones(100, bool) for path in paths}, 2)[1]
    assert counts == {"hidden/kernel": 50, "output/kernel": 90, "output/bias": 10}


# Mistakes.


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1, 1.5, float("nan")])
@pytest.mark.parametrize(
    "make",
    [allocate.uniform, allocate.globally, lambda rate: allocate.layerwise({"*": 0.2, "a": rate})],
    ids=["uniform", "globally", "layerwise"],
)
def test_rates_outside_0_to_1_are_refused(make, rate):
    with pytest.raises(TicketError, match=rf"prune rate.*got {rate}, expected a share"):
        make(rate)


def test_patterns_without_a_layer_and_layers_without_a_pattern_are_all_listed():
    allocation = allocate.layerwise({"hidden_0/*": 0.2, "dense/*": 0.1, "fc/*": 0.1})
    with pytest.raises(TicketError) as error:
        prune.schedule(allocation, cases.mask(), 3)
    message = str(error.value)
    assert "no pattern for ['output/kernel'], no layer for ['dense/*', 'fc/*']" in message
    assert message.endswith("the prunable leaves are ['hidden_0/kernel', 'output/kernel']")


def test_a_layer_without_weights_is_not_emptied():
    mask = masks.ones({"a": np.ones((4, 5)), "b": np.ones((5, 0))}, masks.matching("*"))
    for allocation in (allocate.uniform(0.5), allocate.globally(0.5)):
        counts = prune.schedule(allocation, mask, 3)
        assert [sum(level.values()) for level in counts] == [20, 10, 5]


def test_a_schedule_that_empties_layers_names_them_and_the_level():
    mask = {"a": np.ones(4, bool), "b": np.ones(4, bool), "c": np.ones(1000, bool)}
    with pytest.raises(MaskError, match=re.escape("empties a, b at level 3 of 9; ask for at most")):
        prune.schedule(allocate.uniform(0.6), mask, 10)
    assert len(prune.schedule(allocate.uniform(0.6), mask, 3)) == 3
    with pytest.raises(TicketError, match="levels: got 0, expected at least 1"):
        prune.schedule(allocate.uniform(0.6), mask, 0)


# Which allocation it is does not matter to a criterion, nor the other way round.
@pytest.mark.parametrize(
    ("criterion", "allocation"),
    [
        *((criterion, "uniform") for criterion in cases.CRITERIA),
        *(pytest.param(name, "globally", marks=pytest.mark.slow) for name in cases.CRITERIA),
        *(("magnitude", allocation) for allocation in cases.ALLOCATIONS),
    ],
)
def test_prune_is_the_allocations_selection_of_the_criterions_scores(criterion, allocation):
    name, allocation = allocation, cases.ALLOCATIONS[allocation]
    # What rounds do is tests/test_pruning.py's.
    criterion = cases.CRITERIA[criterion]._replace(rounds=None)
    mask = tree_of(np.ones(45, bool))
    counts = prune.schedule(allocation, mask, 3)
    evidence = cases.evidence()
    observed = cases.observed(criterion, evidence)
    evidence = evidence._replace(objective=cases.OBJECTIVE)
    pruned = prune.prune(criterion, allocation, evidence, mask, counts[2], observed)
    scores = criterion.score(observed, evidence)
    cases.assert_same_bits(pruned, allocation.select(scores, mask, counts[2]))
    cases.assert_kept(name, pruned, counts[2])
    masks.check(pruned, cases.params())


# What is no float of JAX.


@pytest.mark.parametrize(
    "scores",
    [
        np.array([1.0, 2.0, 3.0]),
        np.array([-3.0, -2.0, -1.0]),
        np.array([-5, -3, -1]),
        jnp.array([-5, -3, 300]),
        np.array([0, 7, 9], np.uint8),
        np.array([-9, 7, 9], np.int64),
        np.array([0.5, 1, 2], np.float16),
    ],
    ids=lambda scores: f"{type(scores).__module__.split('.')[0]}-{scores.dtype}-{scores[0]}",
)
def test_scores_of_any_type_are_ranked_by_value(scores):
    mask = np.ones(3, bool)
    for keep in range(4):
        expected = [place >= 3 - keep for place in range(3)]
        assert allocate.keep_highest(scores, mask, keep).tolist() == expected
    kept = allocate.keep_affordable(scores, mask, jnp.ones(3, jnp.int32), 1)
    assert kept.tolist() == [False, False, True]


# Rates that are no Python floats.

RATES = [np.float32(0.2), np.float64(0.2), np.float16(0.2), Fraction(1, 5), jnp.float32(0.2)]
RATES += [np.array(0.2, np.float32)]
AT_A_RATE = {
    "globally": allocate.globally,
    "uniform": allocate.uniform,
    "per_output": allocate.per_output,
    "units": lambda rate: allocate.units(rate, dense=()),
    "blocks": lambda rate: allocate.blocks(rate, (1, None), scope="global"),
    "by_cost": lambda rate: allocate.by_cost(rate, {"*": 3}),
    "erdos_renyi": allocate.erdos_renyi,
    "smart_ratio": allocate.smart_ratio,
    "layerwise_adaptive": allocate.layerwise_adaptive,
}


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: f"{type(rate).__name__}-{rate!r}")
@cases.every(AT_A_RATE)
def test_a_rate_is_the_decimal_that_was_written_whatever_holds_it(name, rate, unchecked):
    mask = {"w": np.ones((25, 10), bool)}
    assert AT_A_RATE[name](rate).schedule(mask, 3) == AT_A_RATE[name](0.2).schedule(mask, 3)


def test_a_third_is_a_third(unchecked):
    assert allocate.totals(Fraction(1, 3), 999, 3) == [999, 666, 444]
    densities = [0.5, np.float32(0.3), jnp.float32(0.1)]
    assert allocate.totals(densities, 100, 4) == [100, 50, 30, 10]


@pytest.mark.parametrize("rate", [1j, None, np.bool_(True)], ids=str)
def test_what_is_no_rate_is_refused_where_the_allocation_is_made(rate, unchecked):
    with pytest.raises(
        TicketError, match=r"prune rate.*expected a concrete number between 0 and 1"
    ):
        allocate.globally(rate)


def test_rates_outside_of_zero_to_one_and_traced_ones_are_refused(unchecked):
    for rate in (np.float32(1.5), Fraction(4, 3), jnp.float32(0)):
        with pytest.raises(TicketError, match=r"prune rate: got .*, expected a share"):
            allocate.globally(rate)
    with pytest.raises(TicketError, match="expected a concrete number"):
        jax.jit(lambda rate: allocate.totals(rate, 9, 2))(0.5)


# Leaves without weights, and masks without leaves.


@cases.every(AT_A_RATE)
def test_leaves_without_weights_are_passed_over(name):
    mask = {"w": jnp.ones((6, 4), bool)}
    scores = {"w": jnp.arange(24.0).reshape(6, 4)}
    allocation = AT_A_RATE[name]((0.5,))
    alone = allocation.select(scores, mask, allocation.schedule(mask, 2)[1])
    for place in "az":
        both = mask | {place: jnp.ones((0, 4), bool)}
        counts = allocation.schedule(both, 2)[1]
        kept = allocation.select(scores | {place: jnp.ones((0, 4))}, both, counts)
        assert kept[place].shape == (0, 4)
        if name != "smart_ratio":
            np.testing.assert_array_equal(kept["w"], alone["w"])
        assert masks.density(kept) == 0.5


@cases.every(["globally", "layerwise_adaptive", "by_cost"])
def test_a_mask_without_prunable_leaves_is_refused(name):
    with pytest.raises(MaskError, match="got a mask without prunable weights; make one with masks"):
        AT_A_RATE[name](0.5).select({"w": jnp.ones(2)}, {"w": None}, {"*": 0, "cost": 0})
