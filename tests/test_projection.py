"""Laws of the loss over chunks and of the jump of projection, exact where it is a parabola."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import Plan, TicketError, masks
from jaxticket.analysis import loss_over, projection
from jaxticket.population import over, populate
from jaxticket.types import Objective

KEY = jax.random.key(0)
EXAMPLES = cases.examples(23)
LEARNER = cases.learner()


@functools.cache
def loss_of(at_a_time, model="handwritten", statistics="running"):
    learner = cases.learner(model)
    state = learner.init(KEY)
    choices = {"key": KEY, "at_a_time": at_a_time, "statistics": statistics}
    return loss_over(learner.objective, state.model_state, EXAMPLES, **choices), state


@functools.cache
def derivatives(at_a_time, model):
    """The loss, its gradient and a product with its Hessian."""
    loss, state = loss_of(at_a_time, model)
    ways = jax.tree.map(jnp.ones_like, state.params)
    of = jax.jit(lambda p: (loss(p), *jax.jvp(jax.grad(loss), (p,), (ways,))))
    return of(state.params), state


@pytest.mark.parametrize(
    ("at_a_time", "model"),
    [(10, "handwritten"), (1, "handwritten"), (10, "linen_with_batch_statistics")],
)
def test_chunks_change_neither_the_loss_nor_its_derivatives(at_a_time, model):
    whole, state = derivatives(1_000, model)
    nothing = jax.tree.map(lambda leaf: None, state.params)
    expected = jax.jit(cases.learner(model).evaluate)(state, nothing, EXAMPLES)["loss"]
    np.testing.assert_allclose(whole[0], expected, rtol=1e-5)
    cases.assert_close(derivatives(at_a_time, model)[0], whole, 1e-5)


def test_the_statistics_are_those_that_are_chosen():
    model = "linen_with_batch_statistics"
    chosen = [(1_000, "running"), (1_000, "batch"), (12, "batch")]
    losses = [loss_of(size, model, statistics) for size, statistics in chosen]
    values = [float(jax.jit(loss)(state.params)) for loss, state in losses]
    assert len({round(value, 4) for value in values}) == 3


def bowl(seed=0, size=6):
    """A parabola with a slope at θ: L = ½ θᵀ A θ + b · θ."""
    generator = np.random.default_rng(seed)
    root, slope = generator.normal(size=(size, size)), generator.normal(size=size)
    curvature = root @ root.T - np.eye(size)
    a, b = jnp.float32(curvature), jnp.float32(slope)
    return curvature, slope, lambda params: params["w"] @ a @ params["w"] / 2 + b @ params["w"]


@pytest.mark.parametrize("seed", [0, 1])
def test_the_prediction_is_exact_for_a_parabola(seed):
    curvature, slope, loss = bowl(seed)
    theta = np.random.default_rng(seed + 9).normal(size=6)
    kept = np.array([True, False, True, True, False, False])
    of = jax.jit(lambda *given: projection(loss, *given))
    found = of({"w": np.float32(theta)}, {"w": kept})
    change = np.where(kept, 0, -theta)
    np.testing.assert_allclose(found.linear, (curvature @ theta + slope) @ change, rtol=1e-4)
    np.testing.assert_allclose(found.quadratic, change @ curvature @ change / 2, rtol=1e-4)
    np.testing.assert_allclose(found.distance, np.linalg.norm(theta[~kept]), rtol=1e-5)
    np.testing.assert_allclose(found.jump, found.predicted, rtol=1e-4)
    np.testing.assert_allclose(found.loss, theta @ curvature @ theta / 2 + slope @ theta, rtol=1e-4)


def test_the_error_of_the_prediction_is_of_third_order():
    loss, _ = loss_of(1_000)
    params, mask = cases.params(), cases.mask()
    kept, errors = masks.apply(params, mask), []
    of = jax.jit(lambda params: projection(loss, params, mask))
    for share in (1.0, 0.5, 0.25):
        # What is pruned is made smaller, so that δ is.
        here = jax.tree.map(lambda k, p, s=share: k + s * (p - k), kept, params)
        found = of(here)
        errors.append(abs(float(found.jump - found.predicted)))
    assert errors[0] > 1e-3
    assert errors[1] < errors[0] / 4
    assert errors[2] < errors[1] / 4


def test_nothing_pruned_is_no_jump():
    loss, state = loss_of(1_000)
    nothing = jax.tree.map(lambda leaf: None, state.params)
    found = jax.jit(lambda params: projection(loss, params, nothing))(state.params)
    assert [float(value) for value in found[1:]] == [0, 0, 0, 0]


def test_a_loss_that_is_not_finite_is_shown():
    loss = lambda params: jnp.log(params["w"][0])  # noqa: E731
    given = {"w": np.ones(2, np.float32)}, {"w": np.zeros(2, bool)}
    found = jax.jit(lambda *given: projection(loss, *given))(*given)
    assert float(found.jump) == -np.inf
    assert float(found.linear) == -1


NETWORKS = [(cases.params(seed), cases.mask(seed)) for seed in range(3)]


@functools.cache
def one():
    loss, _ = loss_of(10)
    return lambda network: projection(loss, *network)


@functools.cache
def alone():
    of = jax.jit(one())
    return [of(network) for network in NETWORKS]


@pytest.mark.parametrize("plan", [Plan("map", devices=2), Plan("vmap")], ids=str)
def test_a_network_is_the_same_alone_and_in_company(plan):
    together = over(populate(one(), plan), plan.padded(3))(jax.device_get(cases.stack(NETWORKS)))
    for index, expected in enumerate(alone()):
        cases.assert_close(cases.member(together, index), expected, 1e-5)


def test_what_cannot_be_is_refused():
    with pytest.raises(TicketError, match="got a learner without an objective, expected"):
        loss_over(None, {}, EXAMPLES, key=KEY)
    squares = Objective(lambda x: x, lambda p, s, x, **_: (x, s), lambda y, x: y)
    with pytest.raises(TicketError, match="got 23 examples, 0 at a time"):
        loss_over(squares, {}, EXAMPLES, key=KEY, at_a_time=0)
    with pytest.raises(TicketError, match="got 0 examples"):
        loss_over(squares, {}, jnp.zeros(0), key=KEY)
