"""Smaller networks: the same outputs and derivatives, and errors where there is no such network."""

import functools
import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.experimental import sparse

from jaxticket import MaskError, TicketError, masks, models
from jaxticket.structure import compact, from_bcoo, kept_of, mask_of, to_bcoo, trace, zeroed
from jaxticket.types import Model


class _Passed(linen.Module):
    """Layers that are made outside of the compact method, and kernels of three axes."""

    first: linen.Module
    heads: linen.Module

    def setup(self):
        self.joined = linen.DenseGeneral(5, axis=(-2, -1))
        self.last = linen.Dense(2)

    def __call__(self, x):
        return self.last(jnp.tanh(self.joined(self.heads(linen.relu(self.first(x))))))


def passed():
    return models.from_linen(_Passed(linen.Dense(4), linen.DenseGeneral((3, 2))), (3,))


class _Residual(linen.Module):
    """A stream of channels that two layers write and two read, with batch normalisation."""

    @linen.compact
    def __call__(self, x, train):
        def layer(x, features, name):
            x = models.Convolution(features, (3, 3), use_bias=False, name=name)(x)
            return linen.BatchNorm(use_running_average=not train, name=f"norm_{name}")(x)

        x = linen.relu(layer(x, 4, "base"))
        y = layer(linen.relu(layer(x, 6, "branch_0")), 4, "branch_1")
        return linen.Dense(3, name="output")(linen.relu(x + y).mean((1, 2)))


IMAGE = (8, 8, 3)
NETWORKS = {
    **{name: (make, cases.SHAPE) for name, make in cases.MODELS.items()},
    "passed": (passed, (3,)),
    "residual": (lambda: models.from_linen(_Residual(), (4, 4, 2)), (4, 4, 2)),
    "conv_2": (lambda: models.conv_2(IMAGE, 3, width_multiplier=0.06), IMAGE),
    "vgg_11": (lambda: models.vgg_11((16, 16, 3), 3, width_multiplier=0.05), (16, 16, 3)),
    "resnet_20": (lambda: models.resnet_20(IMAGE, 3, width_multiplier=0.25), IMAGE),
    "vision_transformer_tiny": (
        lambda: models.vision_transformer_tiny(IMAGE, 3, depth=1, width_multiplier=0.05),
        IMAGE,
    ),
}
GROUPS = {
    **dict.fromkeys(cases.MODELS, 1),
    **{"passed": 4, "residual": 2, "conv_2": 4, "vgg_11": 8},
    **{"resnet_20": 12, "vision_transformer_tiny": 2},
}


@functools.cache
def made(name):
    """A network whose biases, scales and statistics are far from zero and one, and its graph."""
    make, shape = NETWORKS[name]
    model, generator = make(), np.random.default_rng(0)

    def draw(leaf):
        values = generator.uniform(0.3, 1.0, leaf.shape)
        if len(leaf.shape) > 1:
            fan_in = np.prod(leaf.shape[:-1])
            values = generator.normal(size=leaf.shape) * np.sqrt(2 / fan_in)
        return values.astype(np.float32)

    params, model_state = jax.tree.map(draw, jax.eval_shape(model.init, jax.random.key(0)))
    x = generator.normal(size=(3, *shape)).astype(np.float32)
    return model, params, model_state, x, trace(model, params, model_state, shape)


def random_choice(graph, seed):
    """At least one unit of each group, and never all of all."""
    generator = np.random.default_rng(seed)
    kept = {group.name: generator.random(group.size) < 0.5 for group in graph.groups}
    for on in kept.values():
        on[generator.integers(on.size)] = True
    first = kept[graph.groups[0].name]
    first[:] = np.arange(first.size) == seed % first.size
    return kept


def evaluated(model, params, model_state, x):
    return jax.jit(lambda p, s, x: model.apply(p, s, x, train=False)[0])(params, model_state, x)


def check_equality(name, seed):
    model, params, model_state, x, graph = made(name)
    kept = random_choice(graph, seed)
    mask = mask_of(graph, jax.tree.map(np.array, masks.ones(params)), kept)
    small = compact(graph, model, params, model_state, kept_of(graph, mask))
    found = evaluated(small.model, small.params, small.model_state, x)
    sizes = [sum(leaf.size for leaf in jax.tree.leaves(tree)) for tree in (small.params, params)]
    assert sizes[0] < sizes[1]
    # The mask leaves biases, scales and statistics of the removed units as they are.
    masked = jax.tree.map(
        lambda p, m: p if m is None else p * m, params, mask, is_leaf=lambda leaf: leaf is None
    )
    for dense in (masked, zeroed(graph, params, kept)):
        expected = evaluated(model, dense, model_state, x)
        assert np.abs(expected).max() > 0.05
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", cases.slow_but("passed", NETWORKS))
def test_a_structured_ticket_gives_the_same_outputs_when_it_is_made_smaller(name):
    graph = made(name)[-1]
    assert len(graph.groups) == GROUPS[name]
    check_equality(name, 0)


@pytest.mark.slow
@settings(max_examples=12)
@given(st.sampled_from(["handwritten", "passed", "residual"]), st.integers(0, 99))
def test_any_structured_ticket_gives_the_same_outputs_when_it_is_made_smaller(name, seed):
    check_equality(name, seed)


@pytest.mark.parametrize("name", ["passed", "residual"])
def test_smaller_networks_train_as_the_dense_ones_do_under_the_mask(name):
    model, params, model_state, x, graph = made(name)
    kept = random_choice(graph, 3)
    labels = jnp.array([0, 1, 0])
    dense = jax.tree.map(np.asarray, zeroed(graph, params, kept))

    def step(apply, params, model_state):
        def loss(params):
            logits, after = apply(params, model_state, x, train=True, key=jax.random.key(0))
            return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(3), labels]), after

        return jax.jit(jax.grad(loss, has_aux=True))(params)

    small = compact(graph, model, dense, model_state, kept)
    found = step(small.model.apply, small.params, small.model_state)
    gradients, after = step(model.apply, dense, model_state)
    # What is left of the dense network's derivatives and new statistics is what was cut.
    expected = compact(graph, model, gradients, after, kept)
    cases.assert_close(found, (expected.params, expected.model_state), 1e-4)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(found[0])) > 0.01


def test_a_smaller_network_starts_from_what_the_dense_one_starts_from():
    model, params, model_state, _, graph = made("residual")
    kept = random_choice(graph, 1)
    small = compact(graph, model, params, model_state, kept)
    key = jax.random.key(5)
    drawn = jax.jit(small.model.init)(key)
    expected = compact(graph, model, *jax.jit(model.init)(key), kept)
    cases.assert_same_bits(drawn, (expected.params, expected.model_state))
    assert jax.tree.map(jnp.shape, drawn[0]) == jax.tree.map(jnp.shape, small.params)


def test_everything_kept_is_the_same_network_to_the_bit():
    model, params, model_state, _, graph = made("conv_2")
    kept = {group.name: np.ones(group.size, bool) for group in graph.groups}
    small = compact(graph, model, params, model_state, kept)
    cases.assert_same_bits((small.params, small.model_state), (params, model_state))


def test_the_dense_network_is_what_it_was_after_a_smaller_one_was_applied():
    model, params, model_state, x, graph = made("passed")
    before = model.apply(params, model_state, x, train=False)[0]
    small = compact(graph, model, params, model_state, random_choice(graph, 0))
    small.model.apply(small.params, small.model_state, x, train=False)
    cases.assert_same_bits(model.apply(params, model_state, x, train=False)[0], before)
    fresh = jax.eval_shape(model.init, jax.random.key(0))[0]
    assert jax.tree.map(jnp.shape, fresh) == jax.tree.map(jnp.shape, params)


def between(function):
    shapes = {"a": (3, 4), "b": (4, 2), "wide": (3, 6)}
    shapes |= dict.fromkeys(("first", "middle", "last"), (2, 2))
    params = {name: np.ones(shape, np.float32) for name, shape in shapes.items()}

    def apply(params, state, x, *, train, key=None):
        return function(params, x), state

    return Model(lambda key: (params, {}), apply), params


REFUSED = {
    "scaled_by_its_width": (
        lambda p, x: (x @ p["a"]) / p["a"].shape[1] @ p["b"],
        "with smaller arrays the network computes something else from 'div'",
    ),
    "of_a_fixed_width": (
        lambda p, x: (x @ p["a"]).reshape(-1, 4) @ p["b"],
        "the network does not take its widths from its params, which gave TypeError: ",
    ),
    "longer_when_smaller": (
        lambda p, x: (lambda h: h if h.shape[1] == 4 else jnp.tanh(h))(x @ p["a"]) @ p["b"],
        "with smaller arrays the network computes something else from 'dot_general'",
    ),
    "another_function": (
        lambda p, x: (lambda h: (jnp.tanh if h.shape[1] == 4 else jnp.sin)(h))(x @ p["a"]) @ p["b"],
        "with smaller arrays the network computes something else from 'tanh'",
    ),
    # Of six units two and two and two are read; the middle ones move if one before them goes.
    "cut_at_a_fixed_place": (
        lambda p, x: (
            lambda h: h[:, :-4] @ p["first"] + h[:, 2:4] @ p["middle"] + h[:, -2:] @ p["last"]
        )(x @ p["wide"]),
        "with smaller arrays the network computes something else from 'slice'",
    ),
}


@cases.every(REFUSED)
def test_networks_that_are_another_function_when_smaller_are_refused(name):
    function, message = REFUSED[name]
    model, params = between(function)
    graph = trace(model, params, {}, (3,))
    kept = {group.name: np.ones(group.size, bool) for group in graph.groups}
    kept[graph.groups[0].name][1] = False
    with pytest.raises(TicketError, match=re.escape(f"compact: {message}")):
        compact(graph, model, params, {}, kept)


def test_a_group_that_would_be_empty_is_refused():
    model, params, model_state, _, graph = made("handwritten")
    with pytest.raises(TicketError, match="compact: no unit of hidden_0/kernel is kept, expected"):
        compact(graph, model, params, model_state, {"hidden_0/kernel": np.zeros(5, bool)})


# Sparse arrays.


def test_sparse_arrays_hold_what_the_mask_keeps_and_nothing_else():
    params, mask = cases.params(), cases.mask()
    # A kept weight may be zero, and stays an entry.
    params["output"]["kernel"] = jnp.zeros((5, 3))
    exported = to_bcoo(params, mask)
    cases.assert_same_bits(from_bcoo(exported), masks.apply(params, mask))
    for layer in ("hidden_0", "output"):
        kernel = exported[layer]["kernel"]
        assert isinstance(kernel, sparse.BCOO)
        assert kernel.nse == int(mask[layer]["kernel"].sum())
        assert kernel.indices_sorted
        assert kernel.unique_indices
        cases.assert_same_bits(exported[layer]["bias"], params[layer]["bias"])


def test_products_with_sparse_arrays_are_those_with_masked_ones():
    params, mask = cases.params(), cases.mask()
    x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    kernel = to_bcoo(params, mask)["hidden_0"]["kernel"]
    expected = x @ np.asarray(masks.apply(params, mask)["hidden_0"]["kernel"])
    np.testing.assert_allclose(jnp.asarray(x) @ kernel, expected, rtol=1e-5, atol=1e-6)


def test_a_mask_of_other_params_is_refused():
    with pytest.raises(MaskError, match="mask does not fit params: hidden_0/bias: missing"):
        to_bcoo(cases.params(), {"hidden_0": {"kernel": None}, "output": {"kernel": None}})
