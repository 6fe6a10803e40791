"""Diagonals of the curvature are those of explicit matrices."""

import cases
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import TicketError, criteria
from jaxticket.criteria import curvature


def given(seed=0):
    return cases.evidence(seed)._replace(objective=cases.OBJECTIVE)


def losses_of(evidence):
    """Each example's loss as a function of flat params, written from the network's definition."""
    flat, unravel = jax.flatten_util.ravel_pytree(evidence.final)

    def losses(flat):
        params = unravel(flat)
        x = jnp.asarray(evidence.examples.images, jnp.float32).reshape(9, 6) / 255
        hidden, output = params["hidden_0"], params["output"]
        x = jnp.tanh(x @ hidden["kernel"] + hidden["bias"][None])
        logits = x @ output["kernel"] + output["bias"][None]
        chosen = jnp.take_along_axis(logits, evidence.examples.labels[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(logits, axis=1) - chosen

    return losses, flat, unravel


def test_the_fisher_diagonal_is_the_mean_of_each_examples_squared_gradient():
    evidence = given()
    losses, flat, unravel = losses_of(evidence)
    jacobian = np.asarray(jax.jit(jax.jacobian(losses))(flat))
    expected = unravel(flat**2 / 2 * np.mean(jacobian**2, axis=0))
    scores = criteria.fisher_diagonal().score((), evidence)
    cases.assert_close(scores, expected)
    of_the_mean = unravel(flat**2 / 2 * np.mean(jacobian, axis=0) ** 2)
    assert any(
        not np.allclose(a, b, rtol=0.1)
        for a, b in zip(*map(jax.tree.leaves, (scores, of_the_mean)), strict=True)
    )


@pytest.mark.parametrize("chunk", [7, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_hessian_diagonal_is_that_of_the_explicit_hessian(chunk):
    evidence = given()
    losses, flat, unravel = losses_of(evidence)
    hessian = jax.jit(jax.hessian(lambda flat: jnp.mean(losses(flat))))(flat)
    scores = criteria.hessian_diagonal(chunk=chunk).score((), evidence)
    cases.assert_close(scores, unravel(flat**2 / 2 * jnp.diagonal(hessian)), 1e-4)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(scores)) > 1e-2


def test_the_estimated_diagonal_is_unbiased_with_the_stated_variance():
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(6, 6)).astype(np.float32)
    matrix = matrix + matrix.T
    product = lambda v: {"w": matrix @ v["w"]}  # noqa: E731
    estimate = lambda key, probes: curvature.estimated_diagonal(  # noqa: E731
        product, {"w": jnp.zeros(6)}, key, probes
    )["w"]
    probes, number = 4, 2000
    keys = jax.random.split(jax.random.key(0), number)
    drawn = np.asarray(jax.jit(jax.vmap(lambda key: estimate(key, probes)))(keys))
    variance = (np.sum(matrix**2, axis=1) - np.diag(matrix) ** 2) / probes
    error = np.abs(drawn.mean(axis=0) - np.diag(matrix)) / np.sqrt(variance / number)
    assert error.max() < 4.5
    np.testing.assert_allclose(drawn.var(axis=0), variance, rtol=0.15)


def test_probes_are_drawn_from_the_key_and_come_near_the_exact_scores():
    evidence = given()
    score = jax.jit(
        lambda key: criteria.hessian_diagonal(probes=100).score((), evidence._replace(key=key))
    )
    flat = lambda scores: jax.flatten_util.ravel_pytree(scores)[0]  # noqa: E731
    one, other = (flat(score(jax.random.key(seed))) for seed in (0, 1))
    exact = flat(criteria.hessian_diagonal().score((), evidence))
    assert not np.array_equal(one, other)
    assert np.linalg.norm(one - exact) < 0.5 * np.linalg.norm(exact)


@pytest.mark.parametrize("choice", ["probes", "chunk"])
def test_less_than_one_is_refused(choice):
    with pytest.raises(TicketError, match=f"hessian_diagonal: got {choice} 0, expected at least 1"):
        criteria.hessian_diagonal(**{choice: 0})
