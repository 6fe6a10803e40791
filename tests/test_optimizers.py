"""Contract 1 for every optimizer: pruned weights and their moments are exactly zero."""

import functools
from typing import NamedTuple

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxticket import TicketError, masks, optimizers
from jaxticket.masks.basic import leaves_by_path

STEPS = 5


def gradients(seed: int = 0, steps: int = STEPS):
    """Gradients of several steps, along axis 0."""
    return cases.stack([cases.params(1_000 + 10 * seed + step) for step in range(steps)])


def plain(name):
    """The row's own optimizer; optax itself is not written for strict promotion."""
    made = cases.optimizer(name)

    def update(*args):
        with jax.numpy_dtype_promotion("standard"):
            return made.update(*args)

    return optax.GradientTransformation(made.init, update)


@functools.cache
def trained(name, *, wrapped=True):
    """Makes `run(params, state, mask, grads)`, many updates in one compiled call."""
    step = optimizers.masked(cases.optimizer(name)).update if wrapped else plain(name).update

    def one(carry, grads, mask):
        params, state = carry
        options = {"mask": mask} if wrapped else {}
        updates, state = step(grads, state, params, **options)
        params = optax.apply_updates(params, updates)
        return (params, state), params

    @jax.jit
    def run(params, state, mask, grads):
        return jax.lax.scan(lambda carry, g: one(carry, g, mask), (params, state), grads)

    return run


def moments(state):
    """The parts of a state that are like the params, by path: some lack some of the leaves."""
    layers = cases.params().keys()
    is_like = lambda node: isinstance(node, dict) and node.keys() == layers  # noqa: E731
    return [paths(node) for node in jax.tree.leaves(state, is_leaf=is_like) if is_like(node)]


def paths(tree):
    return dict(leaves_by_path(tree))


def assert_zero_moments(state, mask):
    found = [{path: m[path] for path in m if path in cases.LAYERS} for m in moments(state)]
    for moment in filter(None, found):
        cases.assert_zero_where_pruned(moment, {path: paths(mask)[path] for path in moment})


# How many trees of the params' shape each state holds, so that a moment cannot hide.
MOMENTS = {
    "sgd": 0,
    "momentum": 1,
    "momentum_constant": 1,
    "nesterov": 1,
    "adam": 2,
    "adam_scheduled": 2,
    "adamw": 2,
    "lion": 1,
    "rmsprop": 2,
    "adagrad": 1,
    "lamb": 2,
    "clipped": 1,
    "injected": 2,
    "averaged": 1,
    "recipe_momentum": 1,
    "recipe_adam": 2,
    "one_of": 2,
    "by_layer": 3,
    "kernels_only": 2,
    "muon": 3,
}


def dense():
    return masks.ones(cases.params())


@cases.every(cases.OPTIMIZERS)
def test_pruned_weights_and_all_their_moments_are_exactly_zero_after_any_step(name):
    # The weights start unmasked, and the moments as a dense training left them.
    tx, run, mask = cases.optimizer(name), trained(name), cases.mask()
    params = cases.params()
    (params, state), _ = run(params, tx.init(params), dense(), gradients())
    if name != "sgd":
        assert all(np.asarray(m[p]).all() for m in moments(state) for p in m if p in cases.LAYERS)
    (final, state), every_step = run(params, state, mask, gradients(1))
    assert len(moments(state)) == MOMENTS[name]
    assert_zero_moments(state, mask)
    cases.assert_zero_where_pruned(final, mask)
    for step in range(STEPS):
        cases.assert_zero_where_pruned(cases.member(every_step, step), mask)
    for path in cases.LAYERS:
        layer, leaf = path.split("/")
        kept = np.asarray(mask[layer][leaf])
        assert (final[layer][leaf] != params[layer][leaf])[kept].all()


@cases.every(cases.OPTIMIZERS)
@pytest.mark.parametrize("garbage", [1e3, np.nan])
def test_kept_weights_do_not_feel_what_pruned_ones_hold(name, garbage):
    tx, run, mask = cases.optimizer(name), trained(name), cases.mask()
    spoil = lambda tree, like: jax.tree.map(  # noqa: E731
        lambda leaf, m: leaf if m is None else jnp.where(m, leaf, garbage), tree, like
    )
    params, grads = cases.params(), gradients()
    stacked = cases.stack([mask] * STEPS)
    start = masks.apply(params, mask)
    spoiled = start if np.isnan(garbage) else spoil(params, mask)
    expected = run(start, tx.init(start), mask, masks.apply(grads, stacked))[0]
    actual = run(spoiled, tx.init(start), mask, spoil(grads, stacked))[0]
    cases.assert_same_bits(actual, expected)


@cases.every(cases.OPTIMIZERS)
def test_a_mask_of_ones_changes_nothing(name):
    tx, params = cases.optimizer(name), cases.params()
    arguments = (params, tx.init(params), dense(), gradients())
    actual, expected = trained(name)(*arguments), trained(name, wrapped=False)(*arguments)
    cases.assert_close(actual, expected, 1e-6)


@cases.every(cases.OPTIMIZERS)
def test_kept_weights_train_as_in_a_network_without_the_pruned_ones(name):
    # The unwrapped optimizer on zeroed params and gradients; pruned weights then stay zero.
    tx, mask, params = (
        cases.optimizer(name),
        cases.mask(),
        masks.apply(cases.params(), cases.mask()),
    )
    grads = masks.apply(gradients(), cases.stack([mask] * STEPS))
    (actual, _), _ = trained(name)(params, tx.init(params), mask, gradients())
    (expected, _), _ = trained(name, wrapped=False)(params, tx.init(params), mask, grads)
    cases.assert_close(actual, masks.apply(expected, mask), 1e-6)


@cases.every(cases.OPTIMIZERS)
def test_restarted_training_has_no_memory_but_the_schedules_go_on(name):
    make, rate = cases.OPTIMIZERS[name]
    tx, params = make(rate), cases.params()
    (_, state), _ = trained(name)(params, tx.init(params), dense(), gradients())
    fresh = cases.params(7)
    restarted = optimizers.restart(tx, state, fresh)
    assert jax.tree.structure(restarted) == jax.tree.structure(state)
    cases.assert_same_bits(moments(restarted), moments(tx.init(fresh)))

    # The next step is the first one of a new optimizer with the rate of this step.
    rate_now = rate(STEPS) if callable(rate) else rate
    other = make(float(rate_now))
    with jax.numpy_dtype_promotion("standard"):
        grads = cases.params(8)
        actual, _ = tx.update(grads, restarted, fresh)
        expected, _ = other.update(grads, other.init(fresh), fresh)
    cases.assert_close(actual, expected, 1e-6)


@cases.every([name for name, (_, rate) in cases.OPTIMIZERS.items() if callable(rate)])
def test_schedules_go_on_step_by_step_after_a_restart(name):
    make, rate = cases.OPTIMIZERS[name]
    tx, params = make(rate), cases.params()
    (_, state), _ = trained(name)(params, tx.init(params), dense(), gradients())
    state = optimizers.restart(tx, state, params)
    counts = {int(leaf) for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.int32}
    assert counts <= {0, STEPS}
    assert STEPS in counts
    (_, state), _ = trained(name)(params, state, dense(), gradients())
    counts = {int(leaf) for leaf in jax.tree.leaves(state) if leaf.dtype == jnp.int32}
    assert counts <= {STEPS, 2 * STEPS}
    assert 2 * STEPS in counts


def test_the_bias_correction_of_adam_restarts_with_its_moments():
    tx, params = optax.adam(0.1), {"w": jnp.ones(3)}
    state = tx.init(params)
    with jax.numpy_dtype_promotion("standard"):
        for _ in range(4):
            _, state = tx.update(params, state, params)
        updates, _ = tx.update({"w": jnp.full(3, 1e-2)}, optimizers.restart(tx, state, params))
    # The first step of Adam has the size of the learning rate, whatever the gradient.
    np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-4)


class _Named(NamedTuple):
    """Params that could be taken for a state of another transformation."""

    w: jax.Array


# Adams whose moments are a NamedTuple, or hold one where they are of some weights only.
BIASED = {
    "named": lambda: (optax.adam(0.1), _Named(jnp.ones(2))),
    "masked": lambda: (
        optax.masked(optax.adam(0.1), {"w": True, "b": False}),
        {"w": jnp.ones(2), "b": jnp.ones(1)},
    ),
    "scheduled": lambda: (
        optax.multi_transform(
            {"adam": optax.adam(optax.constant_schedule(0.1)), "sgd": optax.sgd(0.1)},
            {"w": "adam", "b": "sgd"},
        ),
        {"w": jnp.ones(2), "b": jnp.ones(1)},
    ),
}


@cases.every(BIASED)
def test_the_bias_correction_restarts_whatever_the_params_or_moments_are_held_in(name):
    tx, params = BIASED[name]()
    mask = masks.ones(params, masks.matching("w"))
    masked, steps = optimizers.masked(tx), 3
    state = tx.init(params)
    for _ in range(steps):
        _, state = masked.update(params, state, params, mask=mask)
    restarted = optimizers.restart(tx, state, params)
    assert jax.tree.structure(restarted) == jax.tree.structure(state)
    updates, _ = masked.update(
        jax.tree.map(lambda p: 0.01 * p, params), restarted, params, mask=mask
    )
    np.testing.assert_allclose(paths(updates)["w"], -0.1, rtol=1e-4)
    counts = [int(leaf) for leaf in jax.tree.leaves(restarted) if leaf.dtype == jnp.int32]
    assert counts == ([0, steps] if name == "scheduled" else [0])


@cases.every(cases.OPTIMIZERS)
def test_masking_moments_keeps_kept_ones_bit_for_bit_and_counts_as_they_are(name):
    tx, params, mask = cases.optimizer(name), cases.params(), cases.mask()
    (_, state), _ = trained(name)(params, tx.init(params), dense(), gradients())
    cases.assert_same_bits(optimizers.mask_moments(tx, state, dense()), state)
    masked = optimizers.mask_moments(tx, state, mask)
    for before, after in zip(moments(state), moments(masked), strict=True):
        kept = {path: paths(mask).get(path) for path in before}
        cases.assert_same_bits(after, masks.apply(before, kept))
    scalars = lambda tree: [leaf for leaf in jax.tree.leaves(tree) if leaf.ndim == 0]  # noqa: E731
    cases.assert_same_bits(scalars(masked), scalars(state))


def test_update_without_params_says_what_to_do():
    tx, params = optimizers.masked(optax.sgd(0.1)), cases.params()
    with pytest.raises(TicketError, match=r"got params=None.*call update\(grads, state, params"):
        tx.update(params, tx.init(params), mask=cases.mask())


def test_other_keyword_arguments_reach_the_optimizer():
    def update(updates, state, params=None, *, scale, **extra):
        return jax.tree.map(lambda u: u * scale, updates), state

    inner = optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
    params, mask = cases.params(), cases.mask()
    updates, _ = optimizers.masked(inner).update(
        params, optax.EmptyState(), params, mask=mask, scale=3.0
    )
    for path in cases.LAYERS:
        layer, leaf = path.split("/")
        expected = jnp.where(mask[layer][leaf], 3 * params[layer][leaf], -params[layer][leaf])
        cases.assert_same_bits(updates[layer][leaf], expected)
