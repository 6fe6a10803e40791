"""Koopman criteria find the fixed point and the decay of dynamics that are linear."""

import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import TicketError, criteria
from jaxticket.criteria import Evidence, combine, dynamic_modes, koopman

RATES = np.array([0.9, 0.6, 0.25])


def system(rates=RATES, moves=1.0):
    """A path x_{t+1} = A x_t + b in 64 bits, its A, and its fixed point."""
    generator = np.random.default_rng(0)
    directions = np.linalg.qr(generator.normal(size=(40, len(rates))))[0]
    fixed = generator.normal(size=40)
    matrix = directions * rates @ directions.T
    start = fixed + moves * directions @ np.ones(len(rates)) * np.sqrt(40)
    path = [start]
    for _ in range(9):
        path.append(fixed + matrix @ (path[-1] - fixed))
    return np.stack(path), matrix, fixed


def as_tree(path):
    return {"a": path[..., :12].reshape(*path.shape[:-1], 3, 4), "b": path[..., 12:]}


def flat(tree):
    return np.concatenate([np.ravel(tree["a"]), np.ravel(tree["b"])])


def closest_to_one(modes):
    return int(np.argmin(np.abs(np.asarray(modes.eigenvalues) - 1)))


def test_a_linear_system_is_recovered_in_double_precision():
    path, _, fixed = system()
    with jax.enable_x64(True):
        snapshots = jax.tree.map(jnp.asarray, as_tree(path))
        modes = dynamic_modes(snapshots, rank=4)
        mode = combine(snapshots, modes.coefficients[closest_to_one(modes)])
        whole = combine(snapshots, jnp.sum(modes.coefficients, axis=0))
    found = np.sort(np.abs(np.asarray(modes.eigenvalues)))[-4:]
    np.testing.assert_allclose(found, np.sort([*RATES, 1.0]), rtol=1e-6)
    assert np.linalg.norm(flat(mode) - fixed) < 1e-6 * np.linalg.norm(fixed)
    assert np.linalg.norm(flat(whole) - path[-1]) < 1e-6 * np.linalg.norm(path[-1])


def test_a_rotation_has_a_pair_of_modes():
    angle = 0.5
    turn = 0.8 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    path = [np.array([1.0, 2.0, 3.0])]
    for _ in range(4):
        path.append(np.array([*(turn @ path[-1][:2]), 3.0]))
    modes = dynamic_modes({"w": jnp.asarray(np.stack(path), jnp.float32)}, rank=3)
    expected = [0.8 * np.exp(1j * angle), 0.8 * np.exp(-1j * angle), 1.0]
    for value in expected:
        assert np.abs(np.asarray(modes.eigenvalues) - value).min() < 1e-4


@pytest.mark.parametrize("moves", [1.0, 1e-3])
def test_float32_sees_movements_of_a_thousandth_of_the_weights(moves):
    """Which the Gram matrix of the snapshots themselves hides in its rounding."""
    path, _, fixed = system(np.array([0.8, 0.4]), moves)
    snapshots = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), as_tree(path[:4]))
    modes = dynamic_modes(snapshots)
    found = np.sort(np.abs(np.asarray(modes.eigenvalues)))
    np.testing.assert_allclose(found, [0.4, 0.8, 1.0], rtol=1e-2)
    mode = flat(combine(snapshots, modes.coefficients[closest_to_one(modes)]))
    assert np.linalg.norm(mode - fixed) < 0.02 * np.linalg.norm(path[3] - fixed)


def test_snapshots_that_were_not_taken_are_not_read():
    path, _, _ = system()
    part = jnp.asarray(path[:3], jnp.float32)
    padded = jnp.concatenate([part, jnp.full((4, path.shape[1]), 7.0, jnp.float32)])
    short, long = dynamic_modes({"w": part}), dynamic_modes({"w": padded}, 3)
    modes = [
        combine({"w": snapshots}, found.coefficients[closest_to_one(found)])["w"]
        for snapshots, found in ((part, short), (padded, long))
    ]
    np.testing.assert_allclose(*modes, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(long.coefficients)[:, 3:], 0)


def test_weights_that_stand_still_are_their_own_fixed_point():
    still = {"w": jnp.full((5, 3), 2.0)}
    modes = dynamic_modes(still)
    np.testing.assert_allclose(np.sum(np.abs(modes.eigenvalues)), 1, rtol=1e-6)
    mode = combine(still, modes.coefficients[closest_to_one(modes)])
    np.testing.assert_allclose(mode["w"], 2, rtol=1e-6)


# The criteria.


def watched(criterion, path):
    return cases.observe(criterion, [as_tree(jnp.asarray(p, jnp.float32)) for p in path])


def evidence(path, mask=None):
    first, last = (as_tree(jnp.asarray(p, jnp.float32)) for p in (path[0], path[-1]))
    return Evidence(first, last, jax.random.key(0), mask)


def test_koopman_magnitude_is_the_size_of_the_fixed_point():
    path, _, fixed = system()
    criterion = criteria.koopman_magnitude(snapshots=5)
    scores = flat(criterion.score(watched(criterion, path[:5]), evidence(path[:5])))
    error = np.linalg.norm(scores - np.abs(fixed)) / np.linalg.norm(fixed)
    assert error < 1e-2
    assert error < 0.05 * np.linalg.norm(path[4] - fixed) / np.linalg.norm(fixed)


def test_koopman_gradient_is_snip_on_a_quadratic_loss():
    """Gradient descent moves by −η g there, and the modes say how it goes on."""
    path, matrix, fixed = system()
    path = path[:5]
    criterion = criteria.koopman_gradient(snapshots=5)
    scores = flat(criterion.score(watched(criterion, path), evidence(path)))
    step = matrix @ (path[-1] - fixed) - (path[-1] - fixed)
    # Directions outside of the three that decay are not moved in at all.
    expected = np.abs(path[-1] * step)
    assert np.linalg.norm(scores - expected) < 1e-2 * np.linalg.norm(expected)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["koopman_magnitude", "koopman_gradient"])
def test_half_precision_is_decomposed_in_float32_and_rounded_once(name, dtype):
    criterion, path = criteria.CRITERIA[name](snapshots=5), jnp.asarray(system()[0][:5], dtype)

    def scored(path):
        state = cases.observe(criterion, [as_tree(params) for params in path])
        given = Evidence(as_tree(path[0]), as_tree(path[-1]), jax.random.key(0))
        return criterion.score(state, given)

    expected = scored(path.astype(jnp.float32))
    cases.assert_same_bits(scored(path), jax.tree.map(lambda s: s.astype(dtype), expected))


def test_pruned_weights_take_no_part():
    path, _, _ = system()
    mask = {"a": jnp.arange(12).reshape(3, 4) % 3 != 0, "b": None}
    spoiled = path.copy()
    spoiled[:, :12:3] = np.random.default_rng(1).normal(size=(10, 4)) * 100
    criterion = criteria.koopman_magnitude(snapshots=5)
    clean, other = (
        criterion.score(watched(criterion, p[:5]), evidence(p[:5], mask)) for p in (path, spoiled)
    )
    cases.assert_same_bits(clean, other)


@pytest.mark.parametrize(
    ("snapshots", "every", "steps"), [(4, 1, 3), (4, 1, 9), (3, 4, 22), (5, 3, 7)]
)
def test_the_ring_holds_the_last_snapshots_in_their_order(snapshots, every, steps):
    path = [{"w": jnp.array([step, -step], jnp.float32)} for step in range(steps + 1)]
    state = koopman.ring(path[0], snapshots)
    observe = jax.jit(koopman.observed, static_argnums=2)
    for params in path[1:]:
        state = observe(state, params, every)
    expected = [np.asarray(p["w"]) for p in path[::every]][-snapshots:]
    taken, number = koopman.in_order(state, every)
    assert int(number) == len(expected)
    np.testing.assert_array_equal(taken["w"][: len(expected)], np.stack(expected))


@pytest.mark.parametrize("name", ["koopman_magnitude", "koopman_gradient"])
def test_what_was_not_watched_is_named(name):
    path, _, _ = system()
    criterion = criteria.CRITERIA[name](every=3)
    with pytest.raises(TicketError, match=f"{name}: got no snapshots; train with this criterion"):
        criterion.score((), evidence(path))
    state = watched(criterion, path[:3])
    message = f"{name}: took 1 snapshot in 2 steps, expected at least 2; train longer, or take"
    with pytest.raises(TicketError, match=re.escape(message)):
        criterion.score(state, evidence(path))
    scores = jax.jit(criterion.score)(state, evidence(path))
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(scores))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"snapshots": 1}, "koopman_magnitude: got snapshots 1, expected at least 2"),
        ({"every": 0}, "koopman_magnitude: got every 0, expected at least 1"),
        ({"rank": 0}, "koopman_magnitude: got rank 0, expected at least 1"),
    ],
)
def test_choices_that_cannot_be_are_refused(choices, message):
    with pytest.raises(TicketError, match=message):
        criteria.koopman_magnitude(**choices)
    with pytest.raises(TicketError, match="dynamic_modes: got 1 snapshots, expected at least 2"):
        dynamic_modes({"w": jnp.ones((1, 2))})
