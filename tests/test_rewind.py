"""Every action is its definition, and what it gives is zero where pruned."""

import cases
import jax
import jax.numpy as jnp
import numpy as np

from jaxticket import masks, rewind

KEPT_SIGN = {"signed_reinit", "signed_reshuffle", "signed_constant"}
PERMUTED = {"reshuffle", "signed_reshuffle"}
CONSTANT = {"random_signed_constant", "signed_constant"}
FRESH = {"reinit", "signed_reinit", "sparsity_aware"}
ISOMETRIES = {"orthogonalized", "isometric"}  # test_signal.py has their definitions
DRAWING = {"reshuffle", "signed_reshuffle", "random_signed_constant", "sparsity_aware"}


def weights(seed: int = 0):
    """Initial and fresh weights that are nowhere zero."""
    return cases.params(seed), cases.params(seed + 100)


def act(name, key=0, seed=0, mask=None):
    initial, fresh = weights(seed)
    mask = cases.mask(seed) if mask is None else mask
    return cases.ACTIONS[name](jax.random.key(key), initial, fresh, mask)


def layers(*trees):
    """The prunable leaves of several trees as NumPy arrays, layer by layer."""
    for path in cases.LAYERS:
        layer, leaf = path.split("/")
        yield tuple(np.asarray(tree[layer][leaf]) for tree in trees)


def test_every_action_has_a_definition_here():
    named = {"rewind", "reinit", "sparsity_aware"} | PERMUTED | CONSTANT | KEPT_SIGN | ISOMETRIES
    assert named == cases.ACTIONS.keys()
    assert all(action.__name__ == name for name, action in cases.ACTIONS.items())


@cases.every(cases.ACTIONS)
def test_what_is_pruned_is_plus_zero_and_what_is_kept_is_not(name):
    mask = cases.mask()
    params = act(name)
    cases.assert_zero_where_pruned(params, mask)
    for leaf, kept in layers(params, mask):
        assert (leaf[kept] != 0).all()


@cases.every(cases.ACTIONS)
def test_biases_come_from_where_the_magnitudes_come_from(name):
    initial, fresh = weights()
    expected = fresh if name in FRESH else initial
    for layer in ("hidden_0", "output"):
        cases.assert_same_bits(act(name)[layer]["bias"], expected[layer]["bias"])


@cases.every(["rewind", "reinit"])
def test_rewinding_and_reinitialising_copy_bit_for_bit(name):
    initial, fresh = weights()
    expected = masks.apply(fresh if name == "reinit" else initial, cases.mask())
    cases.assert_same_bits(act(name), expected)


@cases.every(sorted(PERMUTED))
def test_reshuffling_permutes_the_kept_values_within_each_layer(name):
    initial, _ = weights()
    moved = 0
    for leaf, before, kept in layers(act(name), initial, cases.mask()):
        values = np.abs if name in KEPT_SIGN else np.asarray
        np.testing.assert_array_equal(np.sort(values(leaf[kept])), np.sort(values(before[kept])))
        moved += (values(leaf[kept]) != values(before[kept])).sum()
    assert moved > 0


@cases.every(sorted(CONSTANT))
def test_constants_are_the_standard_deviation_of_the_whole_layer(name):
    initial, _ = weights()
    for leaf, before, kept in layers(act(name), initial, cases.mask()):
        expected = np.std(before.astype(np.float64))
        np.testing.assert_allclose(np.abs(leaf[kept]), expected, rtol=1e-6)


@cases.every(sorted(KEPT_SIGN))
def test_signed_actions_keep_the_sign_of_every_kept_weight(name):
    initial, _ = weights()
    for leaf, before, kept in layers(act(name), initial, cases.mask()):
        np.testing.assert_array_equal(np.sign(leaf[kept]), np.sign(before[kept]))


@cases.every(sorted(KEPT_SIGN))
def test_a_weight_that_was_zero_has_no_sign_and_stays_zero(name):
    params, mask = {"w": jnp.array([0.0, 2.0, -3.0])}, {"w": jnp.ones(3, bool)}
    kept = cases.ACTIONS[name](jax.random.key(0), params, jax.tree.map(jnp.cos, params), mask)["w"]
    assert np.isfinite(kept).all()
    assert kept[0] == 0


def test_signed_reinit_has_the_fresh_magnitudes():
    _, fresh = weights()
    for leaf, new, kept in layers(act("signed_reinit"), fresh, cases.mask()):
        np.testing.assert_array_equal(np.abs(leaf[kept]), np.abs(new[kept]))


def test_random_signs_are_fair_and_apart_from_the_weights_own():
    leaf = {"w": jnp.asarray(np.random.default_rng(0).normal(size=1000), jnp.float32)}
    mask = {"w": jnp.ones(1000, bool)}
    drawn = rewind.random_signed_constant(jax.random.key(0), leaf, leaf, mask)["w"]
    # Both means have a standard deviation of 0.032.
    assert abs(np.sign(drawn).mean()) < 0.13
    assert abs((np.sign(drawn) * np.sign(leaf["w"])).mean()) < 0.13


def test_reshuffling_sends_every_kept_value_everywhere_alike():
    leaf, mask = {"w": jnp.arange(1.0, 7.0)}, {"w": jnp.array([1, 0, 1, 1, 0, 1], bool)}
    keys = jax.random.split(jax.random.key(0), 2000)
    act = jax.jit(jax.vmap(lambda key: rewind.reshuffle(key, leaf, leaf, mask)["w"]))
    drawn = np.asarray(act(keys))[:, np.asarray(mask["w"])]
    for value in (1.0, 3.0, 4.0, 6.0):
        np.testing.assert_allclose((drawn == value).mean(axis=0), 0.25, atol=0.05)


@cases.every(cases.ACTIONS)
def test_only_the_actions_that_draw_read_the_key(name):
    first, again, other = act(name, key=1), act(name, key=1), act(name, key=2)
    cases.assert_same_bits(first, again)
    if name in DRAWING:
        assert all((a != b).any() for a, b in layers(first, other))
    else:
        cases.assert_same_bits(first, other)


def test_layers_of_one_shape_draw_apart():
    leaf = jnp.arange(1.0, 31.0)
    leaf = leaf[:, None]
    params, mask = {"a": leaf, "b": leaf}, {"a": leaf > 0, "b": leaf > 0}
    for name in DRAWING:
        drawn = cases.ACTIONS[name](jax.random.key(0), params, params, mask)
        if name == "random_signed_constant":
            assert (drawn["a"] != drawn["b"]).any()
        else:
            assert (jnp.abs(drawn["a"]) != jnp.abs(drawn["b"])).any()


@cases.every(cases.ACTIONS)
def test_actions_are_the_same_eager_compiled_and_in_a_population(name):
    keys = jax.random.split(jax.random.key(3), 2)
    initial, fresh = map(cases.stack, zip(*(weights(seed) for seed in range(2)), strict=True))
    mask = cases.stack([cases.mask(seed) for seed in range(2)])
    together = jax.jit(jax.vmap(cases.ACTIONS[name]))(keys, initial, fresh, mask)
    for index in range(2):
        own = (cases.member(tree, index) for tree in (initial, fresh, mask))
        alone = cases.ACTIONS[name](keys[index], *own)
        # Standard deviations and products of matrices are sums, which batching may reorder.
        sums = CONSTANT | ISOMETRIES | {"sparsity_aware"}
        compare = cases.assert_close if name in sums else cases.assert_same_bits
        compare(cases.member(together, index), alone)
