"""The laws of masks: they describe themselves, count exactly and prune to exactly zero."""

import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxticket import MaskError, TicketError, allocate, criteria, masks, prune
from jaxticket.criteria.base import Evidence

SIZE = sum(int(np.prod(shape)) for shape in cases.LAYERS.values())
seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.integers(0, 7), min_size=0, max_size=3).map(tuple)


@st.composite
def mask_pairs(draw):
    """Two masks over the handwritten network's params, on the host."""
    bits = np.array(draw(st.lists(st.booleans(), min_size=2 * SIZE, max_size=2 * SIZE)))
    return tuple(
        {
            "hidden_0": {"kernel": part[:30].reshape(6, 5), "bias": None},
            "output": {"kernel": part[30:].reshape(5, 3), "bias": None},
        }
        for part in np.split(bits, 2)
    )


one_mask = mask_pairs().map(lambda pair: pair[0])


def flat(mask):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(mask)])


@given(one_mask)
def test_counts_are_the_sums_by_path_and_density_is_their_share(mask):
    expected = {
        "hidden_0/kernel": int(mask["hidden_0"]["kernel"].sum()),
        "output/kernel": int(mask["output"]["kernel"].sum()),
    }
    assert masks.counts(mask) == expected
    assert all(type(kept) is int for kept in masks.counts(mask).values())
    assert masks.sizes(mask) == {"hidden_0/kernel": 30, "output/kernel": 15}
    assert masks.density(mask) == sum(expected.values()) / 45


def test_counts_are_exact_where_float32_is_not():
    size = 2**24 + 1
    kept = np.broadcast_to(True, (size,))
    assert masks.counts({"w": kept}) == {"w": size}
    assert masks.density({"w": kept, "v": np.zeros(1, bool)}) == size / (size + 1) < 1


@given(shape=shapes, seed=seeds)
def test_unpack_undoes_pack_at_one_bit_a_weight(shape, seed):
    leaf = np.random.default_rng(seed).random(shape) < 0.5
    mask, like = {"w": leaf, "b": None}, {"w": np.zeros(shape, np.float32), "b": np.zeros(3)}
    packed = masks.pack(mask)
    assert packed["w"].dtype == np.uint8
    assert packed["w"].size == -(-leaf.size // 8)
    back = masks.unpack(packed, like)
    assert back["b"] is None
    assert back["w"].dtype == bool
    np.testing.assert_array_equal(back["w"], leaf)


@given(one_mask, seeds)
def test_expand_undoes_compress_of_masked_params(mask, seed):
    params = masks.apply(cases.params(seed % 1000), mask)
    values = masks.compress(params, mask)
    assert values["output"]["kernel"].shape == (masks.counts(mask)["output/kernel"],)
    assert values["output"]["bias"].shape == (3,)
    cases.assert_same_bits(masks.expand(values, mask), jax.tree.map(np.asarray, params))


shuffled = jax.jit(masks.shuffle)


@given(one_mask, seeds)
def test_shuffle_keeps_the_count_of_every_leaf(mask, seed):
    assert masks.counts(shuffled(jax.random.key(seed), mask)) == masks.counts(mask)


def test_shuffle_moves_weights_differently_by_key_and_by_leaf():
    mask = {"a": jnp.arange(100) < 50, "b": jnp.arange(100) < 50, "c": None}
    keys = jax.random.split(jax.random.key(0), 2)
    first, second = (shuffled(key, mask) for key in keys)
    assert first["c"] is None
    cases.assert_same_bits(first, shuffled(keys[0], mask))
    drawn = [mask["a"], first["a"], first["b"], second["a"], second["b"]]
    assert len({leaf.tobytes() for leaf in map(np.asarray, drawn)}) == 5


def test_shuffle_puts_kept_weights_everywhere_alike():
    mask = {"w": jnp.arange(20).reshape(4, 5) < 5}
    keys = jax.random.split(jax.random.key(1), 2000)
    often = np.asarray(jax.jit(jax.vmap(lambda key: masks.shuffle(key, mask)["w"]))(keys)).mean(0)
    # The standard deviation of each mean is 0.0097.
    np.testing.assert_allclose(often, 0.25, atol=0.05)


@pytest.mark.slow
def test_shuffle_is_the_same_eager_compiled_and_in_a_population():
    population = cases.stack([cases.mask(seed) for seed in range(3)])
    keys = jax.random.split(jax.random.key(2), 3)
    together = jax.vmap(masks.shuffle)(keys, population)
    for index in range(3):
        alone = masks.shuffle(keys[index], cases.member(population, index))
        cases.assert_same_bits(shuffled(keys[index], cases.member(population, index)), alone)
        cases.assert_same_bits(cases.member(together, index), alone)


jitted_intersect, jitted_overlap = jax.jit(masks.intersect), jax.jit(masks.overlap)


@given(mask_pairs())
def test_intersect_is_the_largest_common_subset(pair):
    a, b = pair
    both = jitted_intersect(a, b)
    np.testing.assert_array_equal(flat(both), flat(a) & flat(b))
    assert both["output"]["bias"] is None
    assert masks.is_subset(both, a)
    assert masks.is_subset(both, b)
    cases.assert_same_bits(jitted_intersect(b, a), both)
    cases.assert_same_bits(jitted_intersect(a, a), jax.tree.map(jnp.asarray, a))


@given(mask_pairs())
def test_is_subset_is_implication(pair):
    a, b = pair
    assert masks.is_subset(a, b) == bool((~flat(a) | flat(b)).all())
    assert masks.is_subset(a, a)


@given(mask_pairs())
def test_overlap_is_intersection_over_union(pair):
    a, b = pair
    union = int((flat(a) | flat(b)).sum())
    expected = np.float32((flat(a) & flat(b)).sum() / union if union else 1.0)
    assert jitted_overlap(a, b) == expected == jitted_overlap(b, a)
    assert jitted_overlap(a, a) == 1


def test_overlap_of_masks_that_share_nothing_is_zero_and_of_empty_masks_one():
    mask = cases.mask()
    other = jax.tree.map(jnp.logical_not, mask)
    empty = jax.tree.map(jnp.zeros_like, mask)
    assert masks.overlap(mask, other) == 0
    assert masks.overlap(empty, mask) == 0
    assert masks.overlap(empty, empty) == 1
    assert masks.overlap(mask, other).dtype == jnp.float32
    alone = {"w": jnp.array([True, False])}
    assert masks.overlap(alone, alone) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, -0.0])
def test_apply_gives_plus_zero_whatever_was_there(value):
    mask = cases.mask()
    params = jax.tree.map(lambda leaf: jnp.full_like(leaf, value), cases.params())
    masked = masks.apply(params, mask)
    cases.assert_zero_where_pruned(masked, mask)
    kept = lambda tree: jax.tree.leaves(masks.compress(tree, mask))  # noqa: E731
    cases.assert_same_bits(kept(masked), kept(params))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_apply_keeps_the_dtype(dtype):
    params = jax.tree.map(lambda leaf: leaf.astype(dtype), cases.params())
    masked = masks.apply(params, cases.mask())
    assert {leaf.dtype for leaf in jax.tree.leaves(masked)} == {jnp.dtype(dtype)}


def test_gradients_through_apply_are_zero_where_pruned():
    mask = cases.mask()
    total = lambda params: sum(jnp.sum(p**2) for p in jax.tree.leaves(masks.apply(params, mask)))  # noqa: E731
    cases.assert_zero_where_pruned(jax.grad(total)(cases.params()), mask)


def test_ones_keeps_all_that_is_prunable_and_is_none_elsewhere():
    params = cases.params()
    mask = masks.ones(params)
    assert masks.counts(mask) == masks.sizes(mask) == {"hidden_0/kernel": 30, "output/kernel": 15}
    assert mask["hidden_0"]["bias"] is None
    assert masks.density(mask) == 1
    masks.check(mask, params)
    cases.assert_same_bits(masks.apply(params, mask), params)


def test_ones_refuses_params_without_a_prunable_leaf_and_lists_them():
    with pytest.raises(MaskError, match="no leaf of hidden/scale, hidden/shift is prunable"):
        masks.ones({"hidden": {"scale": jnp.ones(2), "shift": jnp.ones(2)}})


@pytest.mark.parametrize(
    ("prunable", "expected"),
    [
        (masks.kernels, {"conv/kernel", "hidden_0/kernel", "output/kernel"}),
        (masks.all_but_output, {"conv/kernel", "hidden_0/kernel"}),
        (masks.matching("conv/*", "*/bias"), {"conv/kernel", "conv/bias", "hidden_0/bias"}),
        (masks.matching("hidden_?/kernel"), {"hidden_0/kernel"}),
        (masks.excluding("conv/*"), {"hidden_0/kernel", "output/kernel"}),
        (masks.excluding("*/kernel", base=masks.matching("conv/*")), {"conv/bias"}),
    ],
    ids=["kernels", "all_but_output", "matching", "wildcard", "excluding", "excluding_from"],
)
def test_prunable_predicates_choose_by_path(prunable, expected):
    tree = {
        "conv": {"kernel": jnp.ones((3, 3, 1, 2)), "bias": jnp.ones(2)},
        "hidden_0": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
        "norm": {"kernel": jnp.ones(2), "scale": jnp.ones((2, 2))},
        "output": {"kernel": jnp.ones((2, 2))},
    }
    assert set(masks.counts(masks.ones(tree, prunable))) == expected


@pytest.mark.parametrize("path", ["kernel", "block/conv/kernel"])
def test_a_kernel_is_prunable_at_any_depth(path):
    assert masks.kernels(path, np.ones((2, 2)))
    assert not masks.kernels(f"{path}_of_something", np.ones((2, 2)))
    assert not masks.kernels(path.replace("kernel", "embedding"), np.ones((2, 2)))


def test_path_string_names_dicts_lists_and_fields():
    leaves = jax.tree_util.tree_leaves_with_path({"a": [jnp.ones(1), (jnp.ones(1),)]})
    assert [masks.path_string(path) for path, _ in leaves] == ["a/0", "a/1/0"]


def test_check_lists_every_offender_with_given_expected_and_fix():
    params = {"a": jnp.ones((2, 3)), "b": jnp.ones(2), "c": jnp.ones(4), "d": jnp.ones(1)}
    mask = {
        "a": jnp.ones((3, 2), bool),  # another shape
        "b": jnp.ones(2),  # another dtype
        "d": True,  # no array
        "e": jnp.ones(1, bool),  # too many; and c is missing
    }
    with pytest.raises(MaskError) as error:
        masks.check(mask, params)
    assert str(error.value) == (
        "mask does not fit params: a: got bool[3, 2], expected bool[2, 3] or None; "
        "b: got float32[2], expected bool[2] or None; d: got bool True, expected bool[1] or None; "
        "c: missing; e: not in params; make a dense mask with masks.ones(params)"
    )


def test_check_accepts_masks_with_unprunable_leaves():
    masks.check(cases.mask(), cases.params())


def test_summary_has_a_row_a_layer_and_the_total_and_prints_as_a_table():
    mask = cases.mask(density=0.2)
    table = masks.summary(mask)
    assert [(row.path, row.kept, row.size) for row in table] == [
        ("hidden_0/kernel", 6, 30),
        ("output/kernel", 3, 15),
        ("total", 9, 45),
    ]
    assert table[-1].density == masks.density(mask) == 0.2
    lines = str(table).splitlines()
    assert len(lines) == 4
    assert len(set(map(len, lines))) == 1
    assert lines[1].split() == ["hidden_0/kernel", "6", "30", "20.00%"]


def test_masks_that_cannot_be_measured_are_refused_in_one_line():
    with pytest.raises(MaskError, match="density: got a mask without prunable weights"):
        masks.density({"b": None})
    with pytest.raises(MaskError, match=r"overlap: got masks over {'a': .* and over {'b': "):
        masks.overlap({"a": jnp.ones(2, bool)}, {"b": jnp.ones(2, bool)})


@pytest.mark.parametrize("compare", [masks.overlap, masks.is_subset, masks.intersect])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"a": np.ones((1, 2), bool)}, {"a": np.ones((3, 2), bool)}),
        ({"a": np.ones(2, bool), "b": None}, {"a": np.ones(2, bool), "b": np.ones(2, bool)}),
        ({"a": np.ones(2, bool)}, None),
        ({"a": np.ones(2, bool)}, {"a": np.ones(2, bool), "b": None}),
    ],
    ids=["shapes", "prunable", "none", "structure"],
)
def test_masks_of_different_networks_are_not_compared(compare, first, second):
    for pair in ((first, second), (second, first)):
        with pytest.raises(MaskError, match=f"{compare.__name__}: got masks over .*one network"):
            compare(*pair)
    with pytest.raises(MaskError, match="got masks over"):
        jax.jit(masks.intersect)(first, second)


def test_masks_without_prunable_leaves_are_alike():
    none = {"a": None}
    assert masks.intersect(none, none) == none
    assert masks.is_subset(none, none)
    assert masks.overlap(none, none) == 1


def test_what_selects_eagerly_compiles_once_for_a_shape(caplog):
    mask = {"w": jnp.arange(41) < 20}
    params = {"w": jnp.arange(41.0)}
    evidence = Evidence(params, params, jax.random.key(0))
    selections = {
        "first_highest": lambda n: masks.first_highest(jnp.arange(41, dtype=jnp.uint32), n),
        "shuffle": lambda n: masks.shuffle(jax.random.key(n), mask),
        "keep_highest": lambda n: allocate.keep_highest(params["w"], mask["w"], n),
        "prune": lambda n: prune.prune(
            criteria.magnitude(), allocate.uniform(0.5), evidence, mask, {"w": n}
        ),
    }
    for name, select in selections.items():
        select(9)
        caplog.clear()
        with jax.log_compiles():
            select(7)
        assert not [line for line in caplog.messages if "Compiling" in line], name
    with jax.log_compiles():
        masks.first_highest(jnp.arange(43, dtype=jnp.uint32), 7)
    assert any("Compiling jit(first_highest)" in line for line in caplog.messages)


@pytest.mark.parametrize("size", range(9))
def test_the_first_of_what_ties_are_marked_however_many(size):
    """Of all numbers of two bits, the greatest one among them, which the threshold may pass."""
    for values in itertools.product((0, 254, 255), repeat=size) if size < 6 else [(255,) * size]:
        given = np.array(values, np.uint8)
        order = sorted(range(size), key=lambda place: (-values[place], place))
        marked = jax.vmap(masks.first_highest, in_axes=(None, 0))(given, jnp.arange(size + 1))
        for number, found in enumerate(np.asarray(marked)):
            assert np.flatnonzero(found).tolist() == sorted(order[:number])


def test_only_unsigned_integers_are_selected_by_bits(unchecked):
    for values in (jnp.array([5, 7, 5, 6]), jnp.ones(4)):
        with pytest.raises(TicketError, match=f"first_highest: got {values.dtype}, expected unsi"):
            masks.first_highest(values, 1)


def test_a_leaf_without_weights_lacks_none():
    table = masks.summary({"a": np.ones((0, 3), bool), "b": np.array([True, False])})
    assert [row.density for row in table] == [1.0, 0.5, 0.5]
    assert "100.00%" in str(table)
    assert str(masks.summary({"a": None})).endswith("100.00%")
