"""Criteria from the loss are their definitions, computed in another way."""

import re

import cases
import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import TicketError, criteria


def given(seed=0):
    return cases.evidence(seed)._replace(objective=cases.OBJECTIVE)


def loss_of(evidence, temperature=1.0):
    """The mean loss as a function of params, written from the network's definition."""

    def loss(params):
        x = jnp.asarray(evidence.examples.images, jnp.float32).reshape(9, 6) / 255
        hidden, output = params["hidden_0"], params["output"]
        x = jnp.tanh(x @ hidden["kernel"] + hidden["bias"][None])
        logits = (x @ output["kernel"] + output["bias"][None]) / temperature
        chosen = jnp.take_along_axis(logits, evidence.examples.labels[:, None], axis=1)[:, 0]
        return jnp.mean(jax.nn.logsumexp(logits, axis=1) - chosen)

    return loss


def test_snip_is_the_derivative_by_the_mask_at_one():
    evidence = given()
    ones = jax.tree.map(jnp.ones_like, evidence.final)
    by_mask = jax.grad(
        lambda mask: loss_of(evidence)(jax.tree.map(jnp.multiply, mask, evidence.final))
    )(ones)
    scores = criteria.snip().score((), evidence)
    cases.assert_close(scores, jax.tree.map(jnp.abs, by_mask))
    assert all(np.abs(leaf).max() > 1e-3 for leaf in jax.tree.leaves(scores))


def test_signed_snip_is_the_rise_of_the_loss_for_a_share_of_each_weight_that_goes():
    evidence, rate = given(), 1e-2
    scores = criteria.signed_snip().score((), evidence)
    loss, kernel = jax.jit(loss_of(evidence)), evidence.final["output"]["kernel"]

    def without(place, share):
        output = evidence.final["output"] | {"kernel": kernel.at[place].multiply(1 - share)}
        return loss(evidence.final | {"output": output})

    for place in ((0, 0), (2, 1), (4, 2)):
        rise = (without(place, rate) - without(place, -rate)) / (2 * rate)
        assert scores["output"]["kernel"][place] == pytest.approx(float(rise), abs=1e-4)
    cases.assert_same_bits(jax.tree.map(jnp.abs, scores), criteria.snip().score((), evidence))
    signs = [np.sign(leaf) for leaf in jax.tree.leaves(scores)]
    assert {-1, 1} <= set(np.concatenate([leaf.ravel() for leaf in signs]).tolist())


def test_taylor_ranks_weights_as_snip_and_units_otherwise():
    evidence = given()
    taylor, snip = (make().score((), evidence) for make in (criteria.taylor, criteria.snip))
    cases.assert_close(taylor, jax.tree.map(jnp.square, snip))
    units = [np.argsort(s["hidden_0"]["kernel"].sum(axis=0)).tolist() for s in (taylor, snip)]
    assert units[0] != units[1]


@pytest.mark.parametrize("masked", [pytest.param(False, marks=pytest.mark.slow), True])
def test_grasp_is_the_weight_times_hessian_times_gradient(masked):
    temperature, evidence = 5.0, given()
    mask = cases.mask()
    if masked:
        final = jax.tree.map(
            lambda p, m: p if m is None else jnp.where(m, p, 0), evidence.final, mask
        )
        evidence = evidence._replace(final=final, mask=mask)
    flat, unravel = jax.flatten_util.ravel_pytree(evidence.final)
    loss = jax.jit(lambda flat: loss_of(evidence, temperature)(unravel(flat)))
    hessian, gradient = jax.hessian(loss)(flat), jax.grad(loss)(flat)
    trains = jax.flatten_util.ravel_pytree(
        jax.tree.map(
            lambda p, m: jnp.ones_like(p) if m is None or not masked else m.astype(p.dtype),
            evidence.final,
            mask,
        )
    )[0]
    scores = criteria.grasp(temperature).score((), evidence)
    expected = unravel(flat * (hessian @ (trains * gradient)))
    cases.assert_close(scores, expected, 1e-6)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(scores)) > 1e-3
    # The sign: shrinking the weights of high scores lowers the gradient's norm, to first order.
    flow = lambda flat: jnp.sum(trains * jnp.square(jax.grad(loss)(flat)))  # noqa: E731
    shrunk = -jax.jvp(flow, (flat,), (flat,))[1]
    total = sum(jnp.sum(leaf) for leaf in jax.tree.leaves(scores))
    np.testing.assert_allclose(-2 * total, shrunk, rtol=1e-4)


def test_a_temperature_that_is_not_positive_is_refused():
    with pytest.raises(TicketError, match=r"grasp: got temperature 0\.0, expected more than 0"):
        criteria.grasp(0.0)


@pytest.mark.parametrize(
    "name",
    [name for name, make in criteria.CRITERIA.items() if "objective" in make().reads],
)
def test_what_the_evidence_lacks_is_named(name):
    bare = given()._replace(examples=None, objective=None)
    message = f"{name}: the evidence lacks examples, objective; give a batch of training examples"
    with pytest.raises(TicketError, match=re.escape(message)):
        criteria.by_name(name).score((), bare)
