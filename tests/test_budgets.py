"""Budgets against hand calculations, definitions in NumPy, and exact arithmetic."""

import itertools
from fractions import Fraction

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from jaxticket import MaskError, TicketError, allocate, criteria, masks, prune

LENET = {"hidden_0/kernel": (784, 300), "hidden_1/kernel": (300, 100), "output/kernel": (100, 10)}


def dense(shapes):
    return {path: np.ones(shape, bool) for path, shape in shapes.items()}


# Shares of a total.

weights = st.lists(st.integers(1, 50), min_size=1, max_size=6)


@given(weights, st.data())
def test_a_total_is_divided_exactly_within_the_limits_and_nearly_in_proportion(numbers, data):
    names = [str(index) for index in range(len(numbers))]
    limits = {name: data.draw(st.integers(0, 40)) for name in names}
    total = data.draw(st.integers(0, sum(limits.values())))
    given_weights = {n: Fraction(w, 7) for n, w in zip(names, numbers, strict=True)}
    counts = allocate.apportion(total, given_weights, limits)
    assert sum(counts.values()) == total
    assert all(0 <= counts[name] <= limits[name] for name in names)
    # By bisection: the one ε at which min(limit, ε w) add up to the total.
    low, high = 0.0, 1e6
    for _ in range(200):
        scale = (low + high) / 2
        quotas = {n: min(limits[n], scale * float(given_weights[n])) for n in names}
        low, high = (scale, high) if sum(quotas.values()) < total else (low, scale)
    assert all(abs(counts[name] - quotas[name]) < 1 + 1e-6 for name in names)


def test_largest_remainders_get_what_rounding_down_leaves():
    # Quotas 4.7, 3.2, 2.1: ten in all.
    parts = {"a": Fraction(47), "b": Fraction(32), "c": Fraction(21)}
    counts = allocate.apportion(10, parts, dict.fromkeys(parts, 10))
    assert counts == {"a": 5, "b": 3, "c": 2}
    thirds = dict.fromkeys("abc", Fraction(1))
    assert allocate.apportion(4, thirds, dict.fromkeys("abc", 9)) == {"a": 2, "b": 1, "c": 1}


FACTORIES = {
    "erdos_renyi": allocate.erdos_renyi,
    "smart_ratio": allocate.smart_ratio,
    "layerwise_adaptive": allocate.layerwise_adaptive,
    "by_cost": lambda rate: allocate.by_cost(rate, {"*": 1}),
}


@cases.every(FACTORIES)
@given(rate=st.integers(1, 60), widths=st.lists(st.integers(2, 9), min_size=2, max_size=5))
def test_every_budget_keeps_the_total_of_the_whole_network_exactly(name, rate, widths):
    mask = dense({f"l{i}": pair for i, pair in enumerate(itertools.pairwise(widths))})
    totals = allocate.totals(rate / 100, sum(masks.sizes(mask).values()), 4)
    assume(totals[-1] > 0)
    counts = FACTORIES[name](rate / 100).schedule(mask, 4)
    assert [sum(c.values()) for c in counts] == totals
    for before, after in itertools.pairwise(counts):
        assert all(0 <= after[path] <= before[path] for path in before)


# Erdős–Rényi.


def test_erdos_renyi_densities_of_lenet_by_hand():
    # ε (784 + 300), ε (300 + 100), ε (100 + 10) weights: 1594 ε = 26620, nothing is full.
    counts = prune.schedule(allocate.erdos_renyi((0.1,)), dense(LENET), 2)[1]
    # 18103.19, 6680.30, 1837.08 would be too many for the output layer's 1000. Without it:
    # 1484 ε = 25620, so 18714.28 and 6905.66, of which the second is rounded up.
    assert counts == {"hidden_0/kernel": 18_714, "hidden_1/kernel": 6_906, "output/kernel": 1_000}


CONVOLUTIONS = {"a": (3, 3, 2, 8), "b": (5, 5, 8, 4), "c": (32, 6)}


@pytest.mark.parametrize(("kernel", "sums"), [(True, (16, 22, 38)), (False, (90, 300, 38))])
def test_kernels_count_under_erk_only(kernel, sums):
    # Weights ∝ density times size: ERK 16 = 3+3+2+8; ER (2 + 8) · 9 and (8 + 4) · 25.
    counts = allocate.erdos_renyi((0.05,), kernel=kernel).schedule(dense(CONVOLUTIONS), 2)[1]
    total = round(Fraction("0.05") * (144 + 800 + 192))
    assert sum(counts.values()) == total
    for kept, part in zip(counts.values(), sums, strict=True):
        assert abs(kept - total * part / sum(sums)) < 1


def test_a_leaf_without_inputs_and_outputs_has_no_erdos_renyi_density():
    mask = {"a": np.ones((3, 2), bool), "b": np.ones(4, bool)}
    with pytest.raises(TicketError, match="erdos_renyi: got b of fewer than two axes"):
        prune.schedule(allocate.erdos_renyi(0.2), mask, 2)


# Smart ratio.


def test_smart_ratio_follows_depth_and_leaves_fixed_layers_out():
    mask = {name: np.ones(1000, bool) for name in ("base", "deep", "output")}
    # 12 : 6 : 2 of 300.
    counts = allocate.smart_ratio((0.1,)).schedule(mask, 2)[1]
    assert counts == {"base": 180, "deep": 90, "output": 30}
    turned = allocate.smart_ratio((0.1,), layers=("output", "deep", "base")).schedule(mask, 2)[1]
    assert turned == {"base": 30, "deep": 90, "output": 180}
    # 200 of 400 for the output layer, 12 : 6 of the rest.
    fixed = allocate.smart_ratio((0.15,), fixed={"output": 0.2}).schedule(mask, 2)[1]
    assert fixed == {"base": 167, "deep": 83, "output": 200}


def test_smart_ratios_that_cannot_be_are_refused():
    mask = {name: np.ones(10, bool) for name in ("a", "b")}
    with pytest.raises(TicketError, match=r"got layers \['a', 'c'\], expected each prunable leaf"):
        allocate.smart_ratio(0.2, layers=("a", "c")).schedule(mask, 2)
    with pytest.raises(TicketError, match=r"density of 'a': got 1\.5"):
        allocate.smart_ratio(0.2, fixed={"a": 1.5})
    with pytest.raises(TicketError, match=r"no layer for \['x'\]"):
        allocate.smart_ratio(0.2, fixed={"x": 0.5}).schedule(mask, 2)
    with pytest.raises(TicketError, match="budget: got -2 weights for b, expected 0 to 10"):
        allocate.smart_ratio((0.3,), fixed={"a": 0.8}).schedule(mask, 2)


@pytest.mark.parametrize("make", [allocate.erdos_renyi, allocate.smart_ratio])
def test_a_share_that_empties_layers_is_refused_by_name(make):
    mask = dense({"a": (500, 500), "b": (2, 2), "c": (2, 2)})
    with pytest.raises(MaskError, match=r"the schedule empties .*c at level 1 of 1"):
        prune.schedule(make((0.000004,)), mask, 2)


# LAMP.


def lamp(scores, kept, total):
    """The definition: each weight's square over the squares not before it, then globally."""
    rows = []
    for place, (leaf, here) in enumerate(zip(scores, kept, strict=True)):
        order = sorted(np.flatnonzero(here), key=lambda i: (-leaf[i], i))
        spent = 0.0
        for rank, index in enumerate(order):
            spent += float(leaf[index]) ** 2
            worth = 1.0 if rank == 0 else float(leaf[index]) ** 2 / spent if spent else 0.0
            rows.append((-worth, place, rank, index))
    chosen = [np.zeros(leaf.size, bool) for leaf in scores]
    for _, place, _, index in sorted(rows)[:total]:
        chosen[place][index] = True
    return chosen


select_adaptively = jax.jit(allocate.layerwise_adaptive(0.5).select)


@given(st.integers(0, 2**32 - 1), st.integers(0, 25))
def test_lamp_is_its_definition_on_what_the_mask_keeps(seed, total):
    generator = np.random.default_rng(seed)
    # Squares of few small integers: ties, and sums that floats hold exactly.
    scores = [generator.integers(0, 4, size).astype(np.float32) for size in (9, 16)]
    scores[1] *= 1024
    kept = [generator.random(leaf.size) < 0.8 for leaf in scores]
    total = min(total, sum(int(leaf.sum()) for leaf in kept))
    chosen = select_adaptively(
        [jnp.array(leaf) for leaf in scores], [jnp.array(m) for m in kept], {"*": jnp.int32(total)}
    )
    expected = lamp(scores, kept, total)
    assert sum(int(leaf.sum()) for leaf in chosen) == total
    # Equal worths are equal fractions here, which float64 and float32 round alike.
    for actual, wanted in zip(chosen, expected, strict=True):
        np.testing.assert_array_equal(actual, wanted)


@pytest.mark.parametrize("scale", [1e-38, 1e-25, 1.0, 1e25, 3e38])
def test_lamp_does_not_depend_on_a_layers_scale_and_empties_none(scale):
    scores = [jnp.arange(1.0, 10.0), jnp.linspace(0.3, 0.9, 16)]
    mask = [jnp.ones(9, bool), jnp.ones(16, bool)]
    scaled = [scores[0] / 10 * jnp.float32(scale), scores[1]]
    for total in (2, 7, 20):
        expected = select_adaptively(scores, mask, {"*": jnp.int32(total)})
        assert all(leaf.any() for leaf in expected)
        if scale > 1e-37:  # below, some scores are denormal, which XLA takes for zero
            cases.assert_same_bits(select_adaptively(scaled, mask, {"*": total}), expected)


AWKWARD = [-jnp.inf, -2.0, 0.0, jnp.nan, 5.0, 5.0, jnp.inf, 1e-30, jnp.inf]


def test_lamp_keeps_a_layers_order_and_the_exact_number_whatever_the_scores():
    scores = [jnp.array(AWKWARD), jnp.zeros(16), -jnp.ones(16)]
    mask = [jnp.ones(leaf.size, bool) for leaf in scores]
    mask[2] = jnp.zeros(16, bool)
    order = [6, 8, 4, 5, 7, 2, 1, 0, 3]
    for total in range(26):
        first, second, third = select_adaptively(scores, mask, {"*": jnp.int32(total)})
        assert int(first.sum() + second.sum()) == total
        assert np.flatnonzero(first).tolist() == sorted(order[: int(first.sum())])
        assert np.flatnonzero(second).tolist() == list(range(int(second.sum())))
        assert min(int(first.sum()), int(second.sum())) > 0 or total < 2
        assert not third.any()


# Costs.


def affordable(scores, kept, costs, budget):
    """The longest beginning of the ranking that the budget pays for, by the definition."""
    chosen = np.zeros(len(scores), bool)
    for index in sorted(np.flatnonzero(kept), key=lambda i: (-scores[i], i)):
        budget -= costs[index]
        if budget < 0:
            break
        chosen[index] = True
    return chosen


@pytest.mark.parametrize("per_cost", [False, True])
@given(st.integers(0, 2**32 - 1), st.integers(0, 80))
def test_by_cost_is_its_definition(per_cost, seed, budget):
    generator = np.random.default_rng(seed)
    costs = {"a": 4, "b": 1}
    scores = {name: generator.integers(-3, 4, 12).astype(np.float32) for name in costs}
    mask = {name: generator.random(12) < 0.8 for name in costs}
    select = jitted_by_cost[per_cost]
    chosen = select(
        jax.tree.map(jnp.array, scores), jax.tree.map(jnp.array, mask), {"cost": budget}
    )
    row = np.repeat([4, 1], 12)
    flat = np.concatenate(list(scores.values()))
    expected = affordable(
        flat / row if per_cost else flat, np.concatenate(list(mask.values())), row, budget
    )
    np.testing.assert_array_equal(np.concatenate([chosen["a"], chosen["b"]]), expected)


jitted_by_cost = [
    jax.jit(allocate.by_cost(0.5, {"a": 4, "b": 1}, per_cost=per_cost).select)
    for per_cost in (False, True)
]


def test_with_all_costs_one_a_budget_of_cost_is_the_global_one():
    scores, mask = cases.params(), masks.ones(cases.params())
    costs, weights = allocate.by_cost(0.3, {"*": 1}), allocate.globally(0.3)
    pairs = zip(costs.schedule(mask, 3), weights.schedule(mask, 3), strict=True)
    for spent, kept in pairs:
        assert spent["cost"] == kept["*"]
        cases.assert_same_bits(
            costs.select(scores, mask, spent), weights.select(scores, mask, kept)
        )


@pytest.mark.parametrize(
    ("costs", "message"),
    [
        ({"*": 0}, r"costs: got \{'\*': 0\}, expected positive integers"),
        ({"a": 1}, r"costs \{'a': 1\}: no pattern for \['b'\], no layer for \[\]"),
        ({"*": 1, "c": 2}, r"no layer for \['c'\]"),
        ({"*": 10**9}, "costs: got 4000000000 in all, expected at most 2147483647"),
        ({"a": 100, "b": 1}, r"leaves a cost of 20 at level 1, less than one weight of a \(100\)"),
    ],
)
def test_costs_that_cannot_be_are_refused(costs, message):
    mask = {"a": np.ones(2, bool), "b": np.ones(2, bool)}
    with pytest.raises(TicketError, match=message):
        prune.schedule(allocate.by_cost((0.1,), costs), mask, 2)


def test_a_cost_may_be_as_much_as_can_be_counted_and_a_budget_one_weight():
    most = 2**31 - 1
    mask = {"a": np.ones(1, bool), "b": np.ones(1, bool)}
    costs = {"a": 1, "b": most - 1}
    assert allocate.by_cost((0.5,), costs).schedule(mask, 1) == [{"cost": most}]
    with pytest.raises(TicketError, match=f"got {most + 1} in all"):
        allocate.by_cost((0.5,), costs | {"b": most}).schedule(mask, 1)
    dear = {"a": 100, "b": 20}
    assert allocate.by_cost((0.9, 100 / 120), dear).schedule(mask, 3)[2] == {"cost": 100}
    with pytest.raises(MaskError, match=r"cost of 96 at level 2, less than one weight of a"):
        allocate.by_cost((0.9, 0.8), dear).schedule(mask, 3)


def test_rounds_end_at_the_budget_in_a_sweep_of_different_terms():
    params, dense_mask = cases.params(), masks.ones(cases.params())
    evidence = criteria.Evidence(params, params, jax.random.key(0))
    criterion = criteria.iterative(criteria.magnitude(), 3)
    names = ("by_cost", "globally", "uniform")
    each = {name: prune.schedule(cases.ALLOCATIONS[name], dense_mask, 3)[2] for name in names}
    # As lineages hold them: the terms of all, 0 where they are another's.
    together = {term: 0 for counts in each.values() for term in counts}
    for name, counts in each.items():
        pruned = prune.prune(
            criterion, cases.ALLOCATIONS[name], evidence, dense_mask, together | counts
        )
        cases.assert_kept(name, pruned, counts)
        cases.assert_same_bits(
            pruned, cases.ALLOCATIONS[name].select(evidence_scores(params), dense_mask, counts)
        )


def evidence_scores(params):
    return jax.tree.map(jnp.abs, params)


def test_budgets_take_their_rates_by_name():
    mask = masks.ones({"a": {"kernel": np.ones((4, 6))}, "b": {"kernel": np.ones((6, 3))}})
    for make in (allocate.erdos_renyi, allocate.uniform, allocate.globally):
        assert make(rate=0.5).schedule(mask, 2) == make(0.5).schedule(mask, 2)
