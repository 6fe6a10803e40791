"""Laws of curvature: known spectra by NumPy, softmax regression by its explicit Hessian."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxticket import Plan, TicketError, masks
from jaxticket.analysis import curvature, loss_over
from jaxticket.population import over, populate

KEY = jax.random.key(3)
SIZE = 12


def symmetric(seed=0, values=None):
    """A symmetric matrix, with these eigenvalues if they are given."""
    generator = np.random.default_rng(seed)
    basis = np.linalg.qr(generator.normal(size=(SIZE, SIZE)))[0]
    values = generator.normal(size=SIZE) * 3 if values is None else np.asarray(values, float)
    return (basis * values) @ basis.T


PARAMS = {"w": np.zeros((3, 4), np.float32)}
ALL = {"w": np.ones((3, 4), bool)}
KEPT = {"w": np.arange(12).reshape(3, 4) % 4 > 0}
FREE = KEPT["w"].ravel()


def product_of(matrix):
    """The product with a matrix over the params, row after row."""
    a = jnp.float32(matrix)
    return lambda vector: {"w": (a @ vector["w"].ravel()).reshape(3, 4)}


@functools.partial(jax.jit, static_argnames="steps")
def run(matrix, mask, key, steps):
    """Lanczos in the subspace of a mask."""
    whole = product_of(matrix)
    inside = lambda v: masks.apply(whole(masks.apply(v, mask)), mask)  # noqa: E731
    return curvature.lanczos(inside, PARAMS, mask, key, steps, keep_basis=True)


def spectrum_of(matrix, mask=ALL, steps=SIZE, key=KEY):
    found = jax.device_get(run(jnp.float32(matrix), mask, key, steps))
    return found, curvature.ritz(found)


@pytest.mark.parametrize("seed", [0, 1])
def test_as_many_steps_as_dimensions_give_all_eigenvalues(seed):
    matrix = symmetric(seed)
    found, exact = spectrum_of(matrix)
    np.testing.assert_allclose(exact.values, np.linalg.eigvalsh(matrix), atol=2e-5)
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(SIZE), atol=1e-5)
    assert exact.errors.max() < 1e-4
    top, errors = curvature.top_eigenvalues(exact, 3)
    np.testing.assert_allclose(top, np.linalg.eigvalsh(matrix)[::-1][:3], atol=2e-5)
    assert errors.shape == (3,)
    vectors = curvature.eigenvectors(exact, found.basis, 3)
    np.testing.assert_allclose(matrix @ vectors.T, vectors.T * top, atol=1e-4)


def test_few_steps_bound_how_far_the_next_eigenvalue_is():
    values = np.r_[10.0, np.linspace(-1, 1, SIZE - 1)]
    matrix = symmetric(2, values)
    _, found = spectrum_of(matrix, steps=5)
    distances = np.abs(found.values[:, None] - values[None]).min(axis=1)
    assert (distances <= found.errors + 1e-5).all()
    assert found.errors.max() > 0.01
    assert curvature.top_eigenvalues(found, 1)[0] == pytest.approx(10, abs=1e-3)


@pytest.mark.parametrize("values", [np.full(SIZE, 2.0), np.r_[5, 5, 5, np.zeros(9)], np.zeros(12)])
def test_a_breakdown_starts_anew_and_finds_multiple_eigenvalues(values):
    found, exact = spectrum_of(symmetric(0, values))
    np.testing.assert_allclose(exact.values, np.sort(values), atol=1e-5)
    np.testing.assert_allclose(found.basis @ found.basis.T, np.eye(SIZE), atol=1e-5)
    # What the first direction does not reach has no weight: its moments stay exact.
    start = np.float64(found.basis[0])
    matrix = symmetric(0, values)
    for power in range(4):
        moment = start @ np.linalg.matrix_power(matrix, power) @ start
        np.testing.assert_allclose((exact.weights * exact.values**power).sum(), moment, rtol=1e-4)


def test_masked_is_the_same_matrix_without_the_pruned_coordinates():
    matrix = symmetric(4)
    small = np.linalg.eigvalsh(matrix[np.ix_(FREE, FREE)])
    found, exact = spectrum_of(matrix, KEPT)
    number = int(FREE.sum())
    assert int(found.reached) == number < SIZE
    np.testing.assert_allclose(exact.values[:number], small, atol=2e-5)
    assert np.isnan(exact.values[number:]).all()
    assert (exact.weights[number:] == 0).all()
    assert not found.basis[:, ~FREE].any()
    assert not found.basis[number:].any()
    top = curvature.top_eigenvalues(exact, SIZE)[0]
    np.testing.assert_allclose(top[:number], small[::-1], atol=2e-5)


def test_what_is_not_finite_is_shown():
    matrix = symmetric().astype(np.float32)
    matrix[0, 0] = np.nan
    _, found = spectrum_of(matrix)
    assert np.isnan(found.values).all()


# Quadrature and traces.


@functools.cache
def quadrature(directions=200):
    matrix = symmetric(5)
    keys = jax.random.split(KEY, directions)
    steps = functools.partial(run, matrix, ALL, steps=SIZE)
    return matrix, curvature.ritz(jax.device_get(jax.jit(jax.vmap(lambda key: steps(key)))(keys)))


def test_the_moments_of_the_density_are_those_of_the_spectrum():
    matrix, found = quadrature()
    values = np.linalg.eigvalsh(matrix)
    for power in (1, 2, 3):
        each = (found.weights * found.values**power).sum(axis=-1)
        error = each.std(ddof=1) / len(each) ** 0.5
        assert error > 0
        assert abs(each.mean() - np.mean(values**power)) < 4 * error


def test_the_density_is_that_of_the_eigenvalues_and_integrates_to_one():
    matrix, found = quadrature()
    width = 1.0
    grid = curvature.density_grid(found, width, 201)
    density = curvature.spectral_density(found, grid, width)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-6)
    values = np.linalg.eigvalsh(matrix)
    bumps = np.exp(-0.5 * ((grid[:, None] - values[None]) / width) ** 2)
    exact = bumps.mean(axis=1) / (width * np.sqrt(2 * np.pi))
    each = np.stack([curvature.spectral_density(one, grid, width) for one in singly(found)])
    error = each.std(axis=0, ddof=1) / len(each) ** 0.5
    assert (abs(density - exact) < 5 * error + 1e-3).all()
    np.testing.assert_allclose(each.mean(axis=0), density, atol=1e-12)


def singly(found):
    return [curvature.Ritz(*(leaf[n : n + 1] for leaf in found)) for n in range(len(found.values))]


def test_the_share_of_eigenvalues_above_a_threshold():
    matrix, found = quadrature()
    share = np.mean(np.linalg.eigvalsh(matrix) > 0)
    each = np.array([curvature.share_above(one, 0.0) for one in singly(found)])
    error = each.std(ddof=1) / len(each) ** 0.5
    assert 0 < abs(curvature.share_above(found, 0.0) - share) < 4 * error
    assert curvature.share_above(found, -1e3) == pytest.approx(1)


@functools.partial(jax.jit, static_argnames="probes")
def traced(matrix, mask, key, probes):
    return curvature.hutchinson(product_of(matrix), PARAMS, mask, key, probes)


def test_the_trace_is_within_its_own_standard_error():
    matrix = symmetric(6)
    found = traced(matrix, ALL, KEY, 400)
    assert abs(found.mean - np.trace(matrix)) < 4 * found.standard_error
    # Of one probe the variance is twice the squares off the diagonal.
    off = np.sum(matrix**2) - np.sum(np.diag(matrix) ** 2)
    assert found.standard_error == pytest.approx((2 * off / 400) ** 0.5, rel=0.15)


def test_the_trace_of_a_diagonal_is_exact_and_of_the_free_coordinates():
    entries = np.arange(1.0, 13)
    found = traced(np.diag(entries), KEPT, KEY, 3)
    assert float(found.mean) == pytest.approx(entries[FREE].sum(), rel=1e-6)
    assert float(found.standard_error) == pytest.approx(0, abs=1e-4)
    assert np.isnan(traced(np.diag(entries), KEPT, KEY, 1).standard_error)


# Softmax regression, whose Hessian is explicit and is the Fisher information.

EXAMPLES = jax.tree.map(jnp.asarray, cases.examples(24))
FEATURES, CLASSES = 6, 3


def softmax():
    """A linear network: its objective, params and a mask."""

    def apply(params, model_state, x, *, train, key=None):
        return x.reshape(len(x), -1) @ params["kernel"] + params["bias"][None], model_state

    generator = np.random.default_rng(1)
    params = {
        "kernel": np.float32(generator.normal(size=(FEATURES, CLASSES))),
        "bias": np.float32(generator.normal(size=CLASSES)),
    }
    objective = cases.learner().objective._replace(apply=apply)
    mask = {"kernel": np.arange(18).reshape(6, 3) % 4 > 0, "bias": None}
    return objective, params, mask


@functools.cache
def explicit():
    """The masked Hessian and the empirical Fisher information by NumPy, in the flattened order."""
    objective, params, mask = softmax()
    x = np.asarray(objective.prepare(EXAMPLES), np.float64).reshape(24, FEATURES)
    x = np.c_[x, np.ones(24)]
    both = np.r_[params["kernel"], params["bias"][None]].astype(np.float64)
    logits = x @ both
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    hessian = np.zeros((21, 21))
    fisher = np.zeros((21, 21))
    for row, chance, label in zip(x, p, EXAMPLES.labels, strict=True):
        inner = np.diag(chance) - np.outer(chance, chance)
        hessian += np.kron(np.outer(row, row), inner)
        slope = np.kron(row, chance - np.eye(CLASSES)[int(label)])
        fisher += np.outer(slope, slope)
    # ravel_pytree puts the bias, by its name, first.
    order = np.r_[18:21, 0:18]
    free = np.r_[np.ones(3, bool), mask["kernel"].ravel()]
    keep = np.outer(free, free) / 24
    return hessian[np.ix_(order, order)] * keep, fisher[np.ix_(order, order)] * keep


def columns(product, params):
    """The whole matrix, by products with the unit vectors."""
    flat, unravel = ravel_pytree(params)
    return jax.jit(jax.vmap(lambda e: ravel_pytree(product(unravel(e)))[0]))(jnp.eye(flat.size))


@pytest.mark.parametrize("at_a_time", [1_000, 10])
def test_the_hessian_product_is_that_of_the_explicit_hessian(at_a_time):
    objective, params, mask = softmax()
    loss = loss_over(objective, {}, EXAMPLES, key=KEY, at_a_time=at_a_time)
    found = columns(curvature.hessian_product(loss, params, mask), params)
    np.testing.assert_allclose(found, explicit()[0], atol=1e-5)
    if at_a_time == 1_000:
        flat, unravel = ravel_pytree(params)
        whole = np.asarray(jax.jit(jax.hessian(lambda w: loss(unravel(w))))(flat))
        free = np.diag(explicit()[0]) > 0
        assert free.sum() == 3 + mask["kernel"].sum()
        np.testing.assert_allclose(found, whole * np.outer(free, free), atol=1e-5)


@pytest.mark.parametrize("at_a_time", [24, 6])
def test_fisher_products_are_those_of_the_definition(at_a_time):
    objective, params, mask = softmax()
    for empirical, expected in zip((False, True), explicit(), strict=True):
        choices = {"empirical": empirical, "at_a_time": at_a_time}
        product = curvature.fisher_product(objective, params, {}, EXAMPLES, mask, **choices)
        np.testing.assert_allclose(columns(product, params), expected, atol=1e-5)


def test_the_trace_of_the_empirical_fisher_information_is_exact():
    objective, params, mask = softmax()
    of = lambda params: curvature.empirical_fisher_trace(objective, params, {}, EXAMPLES, mask)  # noqa: E731
    assert float(jax.jit(of)(params)) == pytest.approx(np.trace(explicit()[1]), rel=1e-5)


# Sharpness.


@functools.partial(jax.jit, static_argnames="steps")
def climb(matrix, mask, steps):
    product = product_of(matrix)
    loss = lambda params: 1 + jnp.vdot(params["w"], product(params)["w"]) / 2  # noqa: E731
    return curvature.sharpness(loss, PARAMS, mask, KEY, radius=0.5, steps=steps)


def sharpest(matrix, mask=ALL, steps=40):
    return climb(np.float32(matrix), mask, steps)


def test_the_sharpness_of_a_bowl_is_that_of_its_largest_eigenvalue():
    matrix = symmetric(7, np.r_[6.0, np.linspace(-3, 3, SIZE - 1)])
    found = sharpest(matrix, steps=40)
    assert float(found.rise) == pytest.approx(0.5 * 0.5**2 * 6, rel=1e-3)
    direction = np.float64(found.direction["w"]).ravel()
    assert abs(direction @ np.linalg.eigh(matrix)[1][:, -1]) == pytest.approx(1, abs=1e-2)
    fewer = float(sharpest(matrix, steps=3).rise)
    assert 0 <= fewer < float(found.rise) <= 0.5 * 0.5**2 * 6 * (1 + 1e-5)


def test_sharpness_stays_in_the_subspace_and_never_falls_below_zero():
    matrix = symmetric(8)
    found = sharpest(matrix, KEPT)
    largest = np.linalg.eigvalsh(matrix[np.ix_(FREE, FREE)])[-1]
    assert float(found.rise) == pytest.approx(0.5 * 0.5**2 * largest, rel=1e-2)
    assert not np.asarray(found.direction["w"])[~KEPT["w"]].any()
    assert float(sharpest(-matrix @ matrix, steps=3).rise) == 0


def test_a_loss_that_is_nan_on_the_way_is_shown():
    matrix = np.full((SIZE, SIZE), np.nan)
    assert np.isnan(sharpest(matrix, steps=3).rise)


# Populations, and what is refused.


@functools.cache
def measured_alone():
    of = jax.jit(measure)
    return [jax.device_get(of(one)) for one in given()]


def given():
    _, params, kept = softmax()
    other = [jax.tree.map(lambda leaf, n=n: leaf * np.float32(n), params) for n in (1, 2, 3)]
    flipped = kept | {"kernel": ~kept["kernel"]}
    return [
        (jnp.float32(symmetric(seed)), KEPT, other[seed], (kept, flipped, kept)[seed])
        for seed in range(3)
    ]


def measure(network):
    """All that is measured of curvature, of a matrix and of a softmax regression."""
    matrix, mask, params, kept = network
    objective, _, _ = softmax()
    fisher = curvature.fisher_product(objective, params, {}, EXAMPLES, kept, at_a_time=12)
    return {
        "lanczos": run(matrix, mask, KEY, SIZE)._replace(basis=None),
        "hutchinson": traced(matrix, mask, KEY, 5),
        "sharpness": climb(matrix, mask, 3),
        "fisher": fisher(jax.tree.map(jnp.ones_like, params)),
        "fisher_trace": curvature.hutchinson(fisher, params, kept, KEY, 2).mean,
        "empirical": curvature.empirical_fisher_trace(objective, params, {}, EXAMPLES, kept),
    }


@pytest.mark.parametrize("plan", [Plan("map", devices=2), Plan("vmap")], ids=str)
def test_a_network_is_the_same_alone_and_in_company(plan):
    together = over(populate(measure, plan), plan.padded(3))(jax.device_get(cases.stack(given())))
    for index, alone in enumerate(measured_alone()):
        cases.assert_close(cases.member(together, index), alone, 1e-4)
    values = curvature.ritz(together["lanczos"]).values
    for index, alone in enumerate(measured_alone()):
        expected = curvature.ritz(alone["lanczos"]).values
        np.testing.assert_allclose(values[index], expected, atol=1e-4)
    for name in ("fisher_trace", "empirical"):
        assert len(set(together[name].tolist())) == 3


def test_what_cannot_be_is_refused():
    product = product_of(symmetric())
    with pytest.raises(TicketError, match="got 0 steps, expected at least 1"):
        curvature.lanczos(product, PARAMS, ALL, KEY, 0)
    with pytest.raises(TicketError, match="got 0 probes"):
        curvature.hutchinson(product, PARAMS, ALL, KEY, 0)
    with pytest.raises(TicketError, match="got radius 0 and 20 steps"):
        curvature.sharpness(lambda params: 0.0, PARAMS, ALL, KEY, radius=0)
    found = spectrum_of(symmetric())[1]
    with pytest.raises(TicketError, match="got 13 of 12 steps of Lanczos, expected 1 to 12"):
        curvature.top_eigenvalues(found, 13)
    with pytest.raises(TicketError, match="got width 0"):
        curvature.spectral_density(found, np.zeros(2), 0)
    objective, params, mask = softmax()
    with pytest.raises(TicketError, match="got 24 examples, 7 at a time, expected a divisor"):
        curvature.fisher_product(objective, params, {}, EXAMPLES, mask, at_a_time=7)
