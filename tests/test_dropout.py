"""Dropout: linen's bits at a number, the same at a traced scalar, a population of rates."""

import functools
import inspect

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen
from jax import lax

from jaxticket import models
from jaxticket.errors import TicketError
from jaxticket.models._dropout import dropout

uniform = "glorot_uniform"
NETWORKS = {
    "mlp": functools.partial(models.mlp, (4,), (6, 5), 3, initializer=uniform),
    "lenet_5": functools.partial(
        models.lenet_5, (14, 13, 1), 3, width_multiplier=0.2, initializer=uniform
    ),
    "conv_2": functools.partial(
        models.conv_2, (6, 7, 2), 3, width_multiplier=0.03, initializer=uniform
    ),
    "vision_transformer_tiny": functools.partial(
        models.vision_transformer_tiny, (4, 8, 2), 3, width_multiplier=0.03, depth=1
    ),
}
SHAPES = {
    "mlp": (4,),
    "lenet_5": (14, 13, 1),
    "conv_2": (6, 7, 2),
    "vision_transformer_tiny": (4, 8, 2),
}
WITHOUT = {name for name in models.__all__ if name.startswith(("resnet", "vgg"))} | {"mlp_7"}
WITH = {name for name in models.__all__ if name.startswith(("conv_", "lenet", "mlp", "vision"))}
WITH -= {"conv_general_dilated", *WITHOUT}

# Quicker to compile than the default generator.
KEY = jax.random.key(0, impl="rbg")


@functools.cache
def variables(name):
    """Params drawn at random and five examples."""
    generator = np.random.default_rng(0)

    def draw(leaf):
        return generator.normal(size=leaf.shape, scale=0.5).astype(np.float32)

    params, _ = jax.tree.map(draw, jax.eval_shape(NETWORKS[name]().init, jax.random.key(0)))
    return params, draw(np.empty((5, *SHAPES[name])))


def outcome(name, rate, key=KEY, train=True):
    """The output of one network and its gradient."""
    params, x = variables(name)

    def loss(params):
        model = NETWORKS[name](dropout_rate=rate)
        output, _ = model.apply(params, {}, x, train=train, key=key)
        return (output**2).mean(), output

    gradient, output = jax.grad(loss, has_aux=True)(params)
    return output, gradient


class Linens(linen.Module):
    """Two layers of Flax, inside of a module that has a name."""

    rate: float

    @linen.compact
    def __call__(self, x, train):
        for _ in range(2):
            x = linen.Dropout(self.rate, deterministic=not train)(x)
        return x


class Ours(linen.Module):
    """The same of this project."""

    @linen.compact
    def __call__(self, x, train, rate):
        return dropout(dropout(x, rate, train), rate, train)


class Outer(linen.Module):
    """A name above the layers, from which their streams are derived too."""

    inner: linen.Module

    @linen.compact
    def __call__(self, x, *arguments):
        return self.inner(x, *arguments)


def draw(dtype=jnp.float32):
    return jnp.asarray(np.random.default_rng(0).normal(size=(40, 50)), dtype)


@pytest.mark.usefixtures("full_compilation")
@pytest.mark.parametrize(("rate", "dtype"), [(0.6, jnp.float32), (0.1, jnp.bfloat16)])
def test_a_number_has_linens_bits(rate, dtype):
    x, streams = draw(dtype), {"dropout": jax.random.key(3)}
    theirs = jax.jit(lambda: Outer(Linens(rate)).apply({}, x, True, rngs=streams))
    ours = jax.jit(lambda: Outer(Ours()).apply({}, x, True, rate, rngs=streams))
    assert 0 < (ours() != 0).sum() < x.size
    cases.assert_same_bits(ours(), theirs())


@pytest.mark.usefixtures("full_compilation")
@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_traced_rate_has_the_bits_of_the_number_it_equals(rate):
    rate = np.float32(rate)
    x, streams = draw(), {"dropout": jax.random.key(3)}

    def run(x, rate):
        def loss(x):
            output = Ours().apply({}, x, True, rate, rngs=streams)
            return (output**2).sum(), output

        return jax.grad(loss, has_aux=True)(x)

    cases.assert_same_bits(jax.jit(run)(x, rate), jax.jit(lambda x: run(x, float(rate)))(x))
    if rate == 0:
        cases.assert_same_bits(jax.jit(run)(x, rate)[1], x)


@cases.every(NETWORKS)
def test_a_population_has_one_rate_a_network(name):
    """Rates 0 and 0.5 in one program against each number alone."""
    rates = np.asarray([0.0, 0.5], np.float32)
    together = jax.jit(jax.vmap(lambda rate: outcome(name, rate)[0]))(rates)
    alone = jax.jit(lambda: [outcome(name, float(rate))[0] for rate in rates])()
    cases.assert_close(list(together), alone, 1e-4)
    assert (together[0] != together[1]).any()


def test_gradients_over_a_population_are_those_of_each_rate_alone():
    rates = np.asarray([0.25, 0.5], np.float32)
    together = jax.jit(jax.vmap(lambda rate: outcome("mlp", rate)))(rates)
    mapped = jax.jit(lambda rates: lax.map(lambda rate: outcome("mlp", rate), rates))(rates)
    alone = jax.jit(lambda: cases.stack([outcome("mlp", float(rate)) for rate in rates]))()
    cases.assert_close(together, alone, 1e-4)
    cases.assert_close(mapped, alone, 1e-4)
    assert all(bool(leaf.any()) for leaf in jax.tree.leaves(alone))


@cases.every(NETWORKS)
def test_evaluation_drops_nothing_and_params_stay_where_they_were(name):
    params, x = variables(name)

    def programs(rate):
        model = NETWORKS[name](dropout_rate=rate)
        evaluate = functools.partial(model.apply, train=False)
        traced = jax.make_jaxpr(evaluate)(params, {}, x), jax.make_jaxpr(model.init)(KEY)
        paths = [path for path, _ in jax.tree.leaves_with_path(jax.eval_shape(model.init, KEY))]
        return [str(program) for program in traced], paths

    expected = programs(0.0)
    assert programs(0.5) == expected
    seen = []
    jax.eval_shape(lambda rate: seen.append(programs(rate)), jnp.float32(0.5))
    assert seen == [expected]


@cases.every(NETWORKS)
def test_only_the_number_zero_needs_no_key(name):
    jax.eval_shape(lambda: outcome(name, 0.0, key=None))
    jax.eval_shape(lambda rate: outcome(name, rate, key=None, train=False), np.float32(0.5))
    for rate in (0.5, jnp.float32(0.0)):
        with pytest.raises(TicketError, match="key=None: pass apply"):
            jax.eval_shape(lambda rate=rate: outcome(name, rate, key=None))


def test_a_traced_rate_does_not_leak():
    with jax.checking_leaks():
        output, _ = jax.jit(lambda rate: outcome("mlp", rate))(np.float32(0.5))
    assert output.shape == (5, 3)


def test_one_program_serves_all_rates():
    traces = []

    @jax.jit
    def run(rate):
        traces.append(rate)
        return outcome("mlp", rate)[0]

    assert (run(np.float32(0.25)) != run(np.float32(0.75))).any()
    assert len(traces) == 1


def test_hidden_layers_of_the_mlp_drop_after_their_relu():
    params, x = variables("mlp")
    hidden = {"hidden_0": 0, "hidden_1": 1}

    def layer(x, name):
        return x @ params[name]["kernel"] + params[name]["bias"][None]

    class Oracle(linen.Module):
        @linen.compact
        def __call__(self, x):
            for name in hidden:
                x = linen.Dropout(0.5, deterministic=False)(jax.nn.relu(layer(x, name)))
            return layer(x, "output")

    expected = jax.jit(lambda: Oracle().apply({}, x, rngs={"dropout": KEY}))()
    cases.assert_close(jax.jit(lambda: outcome("mlp", 0.5)[0])(), expected, 1e-5)


def test_only_networks_with_dropout_take_a_rate():
    taking = {
        name
        for name in WITH | WITHOUT
        if "dropout_rate" in inspect.signature(getattr(models, name)).parameters
    }
    assert taking == WITH
    assert {"mlp", "lenet_300_100", "lenet_5"} < WITH


@pytest.mark.parametrize("name", sorted(WITH))
@pytest.mark.parametrize(
    "rate", [1.0, -0.1, float("nan"), True, "0.5", None, np.float32(1.5), 0.5j]
)
@pytest.mark.usefixtures("unchecked")
def test_numbers_outside_the_range_are_refused(name, rate):
    with pytest.raises(TicketError) as error:
        getattr(models, name)(dropout_rate=rate)
    assert str(error.value) == f"{name}: dropout_rate={rate!r}, expected a share in [0, 1)"


@pytest.mark.parametrize("rate", [jnp.zeros(2), jnp.int32(0)])
def test_arrays_that_are_no_rate_are_refused(rate):
    with pytest.raises(TicketError, match=r"mlp: dropout_rate of shape .*, expected a floating-p"):
        models.mlp(dropout_rate=rate)


def test_from_linen_refuses_an_argument_that_the_module_does_not_name():
    with pytest.raises(TicketError, match="argument of __call__ 'rates': did you mean 'rate'"):
        models.from_linen(Ours(), (4,), arguments={"rates": 0.5})
