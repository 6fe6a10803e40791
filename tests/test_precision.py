"""What is rounded when a network computes in less than float32, and what never is."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxticket import TicketError, learners
from jaxticket.precision import PRECISIONS, check_precision, in_precision

HERE = [name for name in PRECISIONS if name != "tf32"]


def step(model, precision):
    """One training step of a network in a precision, jitted."""
    learner = learners.supervised(in_precision(model, precision), optax.adam(0.01))
    state, key = learner.init(jax.random.key(0)), jax.random.key(1)
    mask = cases.mask_like(learner)
    state = learner.restart(state, state.params, mask, moments=False)
    return state, mask, jax.jit(learner.step)(state, mask, cases.examples(8), key)


@pytest.mark.parametrize("precision", HERE)
@cases.every(["handwritten", "mlp", "linen_with_batch_statistics"])
def test_everything_that_is_kept_stays_float32(name, precision):
    before, mask, (after, metrics) = step(cases.MODELS[name](), precision)
    for leaf in jax.tree.leaves((after.params, after.model_state, metrics)):
        assert leaf.dtype == jnp.float32
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree) for tree in (before, after)]
    assert shapes[0] == shapes[1]
    cases.assert_zero_where_pruned(after.params, mask)


def test_float32_is_what_it_is_without_a_choice():
    model = cases.handwritten()
    learner = learners.supervised(model, optax.adam(0.01))
    state, mask, (chosen, _) = step(model, "float32")
    plain, _ = jax.jit(learner.step)(state, mask, cases.examples(8), jax.random.key(1))
    cases.assert_same_bits(chosen, plain)


def test_bfloat16_rounds_and_no_more_than_it_should():
    model = cases.handwritten()
    params, state = model.init(jax.random.key(0))
    x = jnp.asarray(np.random.default_rng(0).uniform(size=(5, 2, 3, 1)), jnp.float32)
    exact, _ = model.apply(params, state, x, train=False)
    rounded, _ = in_precision(model, "bfloat16").apply(params, state, x, train=False)
    assert rounded.dtype == jnp.float32
    assert not np.array_equal(exact, rounded)
    np.testing.assert_allclose(exact, rounded, rtol=0.05, atol=0.02)


@pytest.mark.parametrize(("precision", "name"), [("float32", "HIGHEST"), ("tf32", "HIGH")])
def test_matrix_products_ask_for_their_precision_backwards_too(precision, name):
    model = in_precision(cases.handwritten(), precision)
    params, state = model.init(jax.random.key(0))

    def loss(params, x):
        return jnp.sum(model.apply(params, state, x, train=True)[0])

    program = str(jax.make_jaxpr(jax.grad(loss, (0, 1)))(params, jnp.ones((4, 2, 3, 1))))
    # Two layers, each once forward and twice backward.
    assert program.count("dot_general[") == 6
    assert program.count(f"precision=(Precision.{name}, Precision.{name})") == 6


@pytest.mark.parametrize(
    ("precision", "platform", "said"),
    [("float16", None, "unknown precision"), ("tf32", "cpu", "choose float32 or bfloat16")],
)
def test_what_cannot_be_is_refused_in_one_line(precision, platform, said):
    with pytest.raises(TicketError, match=said) as caught:
        check_precision(precision, platform)
    assert "\n" not in str(caught.value)
    check_precision("tf32")
    check_precision("tf32", "gpu")
