"""Convolutions and pooling: every lowering against XLA's own and against the definition."""

import functools
import itertools
import time

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

from jaxticket import models
from jaxticket.errors import TicketError
from jaxticket.models import _canonical, _lowering

# Shapes of images and kernel, and what goes to `convolve`.
CONVOLUTIONS = {
    "same": ((2, 5, 6, 3), (3, 3, 3, 4), {}),
    "valid": ((2, 5, 6, 3), (3, 2, 3, 4), {"padding": "VALID"}),
    "strided": ((2, 5, 6, 3), (3, 3, 3, 4), {"strides": (2, 3)}),
    "strided_valid": ((2, 7, 6, 2), (3, 2, 2, 4), {"strides": (3, 2), "padding": "VALID"}),
    "even_kernel": ((2, 5, 6, 3), (2, 4, 3, 4), {"strides": (2, 1)}),
    "pairs": ((2, 5, 6, 3), (3, 3, 3, 4), {"padding": ((1, 2), (0, 3))}),
    "cropped": ((2, 5, 6, 3), (3, 3, 3, 4), {"padding": ((-1, 0), (1, -2))}),
    "same_lower": ((2, 5, 6, 3), (2, 2, 3, 4), {"padding": "same_lower"}),
    "dilated": ((2, 7, 6, 3), (3, 2, 3, 4), {"dilation": (2, 3)}),
    "wide": ((2, 4, 5, 2), (3, 3, 2, 17), {}),
    "four_together": ((2, 4, 8, 3), (3, 3, 3, 4), {}),
    "two_together": ((2, 4, 6, 9), (2, 3, 9, 9), {"padding": "VALID"}),
    "one_by_one": ((2, 5, 6, 3), (1, 1, 3, 4), {}),
    "shortcut": ((2, 5, 6, 3), (1, 1, 3, 4), {"strides": (2, 2)}),
    "groups": ((2, 5, 6, 6), (3, 3, 2, 9), {"groups": 3, "strides": (2, 1)}),
    "depthwise": ((2, 5, 6, 3), (3, 2, 1, 6), {"groups": 3, "dilation": (2, 1)}),
}
every_lowering = pytest.mark.parametrize("lowering", _lowering.LOWERINGS)


@functools.cache
def operands(name, networks=None):
    """Images, a kernel (or one for every network) and a cotangent, drawn at random."""
    shape, kernel_shape, options = CONVOLUTIONS[name]
    generator = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(generator.normal(size=shape), jnp.float32)  # noqa: E731
    x, kernel = (
        draw(*shape),
        draw(*(kernel_shape if networks is None else (networks, *kernel_shape))),
    )
    one = kernel if networks is None else kernel[0]
    y = jax.eval_shape(functools.partial(models.convolve, lowering="direct", **options), x, one)
    return x, kernel, draw(*y.shape)


def xla(x, kernel, strides=(1, 1), padding="SAME", dilation=(1, 1), groups=1):
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        padding.upper() if isinstance(padding, str) else padding,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def gradients(function, x, kernel, cotangent):
    y, pull = jax.vjp(function, x, kernel)
    return y, *pull(cotangent)


@every_lowering
@cases.every(CONVOLUTIONS)
def test_lowerings_agree_with_xla_forward_and_backward(name, lowering):
    options = CONVOLUTIONS[name][2]
    ours = functools.partial(models.convolve, lowering=lowering, **options)
    actual = jax.jit(functools.partial(gradients, ours))(*operands(name))
    expected = jax.jit(functools.partial(gradients, functools.partial(xla, **options)))(
        *operands(name)
    )
    cases.assert_close(actual, expected)


@every_lowering
@cases.every(["strided", "groups", "depthwise", "one_by_one"])
def test_lowerings_agree_with_one_kernel_a_network(name, lowering):
    options = CONVOLUTIONS[name][2]
    ours = functools.partial(models.convolve, lowering=lowering, **options)
    x, kernels, cotangent = operands(name, networks=3)
    over_kernels = jax.vmap(functools.partial(gradients, ours), (None, 0, None))
    together = jax.jit(over_kernels)(x, kernels, cotangent)
    alone = [gradients(functools.partial(xla, **options), x, k, cotangent) for k in kernels]
    cases.assert_close(together, cases.stack(alone))


@every_lowering
@cases.every(["strided", "dilated", "four_together", "groups"])
def test_lowerings_have_second_derivatives(name, lowering):
    options = CONVOLUTIONS[name][2]

    def curvature(function, x, kernel):
        loss = jax.grad(lambda pair: jnp.sin(function(*pair, **options)).sum())
        return jax.jvp(loss, ((x, kernel),), ((kernel.sum() * x, kernel**2),))[1]

    ours = functools.partial(models.convolve, lowering=lowering)
    x, kernel, _ = operands(name)
    actual, expected = jax.jit(
        lambda x, kernel: [curvature(function, x, kernel) for function in (ours, xla)]
    )(x / 9, kernel / 9)
    cases.assert_close(actual, expected, 1e-4)


@every_lowering
def test_a_convolution_is_its_definition(lowering):
    strides, dilation, groups, pads = (2, 1), (1, 2), 2, ((1, 0), (2, 1))
    generator = np.random.default_rng(1)
    x, kernel = generator.normal(size=(2, 5, 6, 4)), generator.normal(size=(3, 2, 2, 6))
    padded = np.pad(x, ((0, 0), *pads, (0, 0)))
    expected = np.zeros((2, 2, 7, 6))
    taps = itertools.product(range(2), range(7), range(3), range(2), range(6))
    for row, column, i, j, feature in taps:
        group = feature // 3
        seen = padded[:, 2 * row + i, column + 2 * j, 2 * group : 2 * group + 2]
        expected[:, row, column, feature] += seen @ kernel[i, j, :, feature]
    actual = models.convolve(
        jnp.asarray(x, jnp.float32),
        jnp.asarray(kernel, jnp.float32),
        strides=strides,
        padding=pads,
        dilation=dilation,
        groups=groups,
        lowering=lowering,
    )
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_gradients_do_not_depend_on_how_many_images_go_at_once(monkeypatch):
    monkeypatch.setattr(_canonical, "CACHE_BYTES", 2 * 4 * 3 * 5 * 2)
    generator = np.random.default_rng(4)
    x, kernel = (
        jnp.asarray(generator.normal(size=size), jnp.float32)
        for size in ((5, 3, 5, 2), (3, 3, 2, 3))
    )
    ours = functools.partial(models.convolve, lowering="canonical")
    actual, expected = (
        jax.grad(lambda kernel, f=f: (f(x, kernel) ** 2).sum())(kernel) for f in (ours, xla)
    )
    cases.assert_close(actual, expected)
    assert "while" in str(jax.jit(jax.grad(lambda k: ours(x, k).sum())).lower(kernel).as_text())


@every_lowering
@cases.every(["same", "groups"])
def test_the_compute_dtype_follows_the_operands(name, lowering):
    options = CONVOLUTIONS[name][2]
    x, kernel, _ = operands(name)
    half = models.convolve(
        x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), lowering=lowering, **options
    )
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), xla(x, kernel, **options), atol=0.15)


# The choice.


def primitives(function, *arguments):
    """The traced program as text, for looking up the names of primitives."""
    return str(jax.make_jaxpr(function)(*arguments))


@pytest.mark.parametrize(
    ("platform", "lowering"),
    [("cpu", "canonical"), ("gpu", "patches"), ("tpu", "direct"), ("abacus", "direct")],
)
def test_the_choice_is_by_platform_and_read_when_traced(platform, lowering, monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert models.choose_lowering() == models.choose_lowering(platform) == lowering
    assert models.explain_lowering().startswith(f"convolutions on {platform}: {lowering} (")
    # JAX remembers what it traced by function, hence a new one.
    traced = primitives(lambda x, kernel: models.convolve(x, kernel), *operands("same")[:2])
    assert ("conv_general_dilated" in traced) == (lowering == "direct")


def test_a_lowering_that_is_named_is_taken():
    direct = functools.partial(models.convolve, lowering="direct")
    assert "conv_general_dilated" in primitives(direct, *operands("same")[:2])
    patches = functools.partial(models.convolve, lowering="patches", groups=3)
    text = primitives(jax.grad(lambda *pair: patches(*pair).sum(), (0, 1)), *operands("groups")[:2])
    assert "conv_general_dilated" not in text
    assert "dot_general" in text


def test_a_loop_does_not_slow_a_convolution_down(full_compilation):
    """Bounds the ratio of a scan's step to a plain one: about 1, and 30 for XLA's convolution."""
    operands = jnp.ones((8, 16, 16, 32)), jnp.ones((3, 3, 32, 32)) / 288

    def step(operands):
        gradient = jax.grad(lambda operands: (models.convolve(*operands) ** 2).mean())
        return jax.tree.map(lambda a, b: a - 0.1 * b, operands, gradient(operands))

    def scan(operands):
        return lax.scan(lambda carry, _: (step(carry), None), operands, length=3)[0]

    def seconds(function):
        jax.block_until_ready(function(operands))
        times = []
        for _ in range(7):
            start = time.perf_counter()
            jax.block_until_ready(function(operands))
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(jax.jit(scan)) / 3 < 10 * seconds(jax.jit(step))


# In Flax.

uniform = jax.nn.initializers.uniform(1.0)

LAYERS = {
    "plain": ({}, {}),
    "strided": ({"strides": (2, 1)}, {"strides": (2, 1)}),
    "pairs": ({"padding": ((1, 2), (0, 0))}, {"padding": ((1, 2), (0, 0))}),
    "dilated": ({"dilation": (2, 2)}, {"kernel_dilation": 2}),
    "groups": ({"groups": 2, "use_bias": False}, {"feature_group_count": 2, "use_bias": False}),
}


def filled(layer, x):
    """A layer's variables with values drawn at random, since compiling its own draws is slow."""
    generator = np.random.default_rng(3)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    return jax.tree.map(lambda s: jnp.asarray(generator.normal(size=s.shape), jnp.float32), shapes)


@cases.every(LAYERS)
def test_the_layer_and_the_adapter_are_linens_convolution(name):
    ours, theirs = LAYERS[name]
    x = operands("groups")[0]
    layers = (
        linen.Conv(4, (3, 2), **theirs),
        linen.Conv(4, (3, 2), conv_general_dilated=models.conv_general_dilated, **theirs),
        models.Convolution(4, (3, 2), **ours),
    )
    variables = [filled(layer, x) for layer in layers]
    cases.assert_same_bits(variables[1:], variables[:1] * 2)
    outputs = jax.jit(lambda variables: [layer.apply(variables, x) for layer in layers])
    expected, *others = outputs(variables[0])
    cases.assert_close(others, [expected] * 2)
    for layer in layers[1:]:
        assert "conv_general_dilated" not in primitives(layer.apply, variables[0], x)


def test_the_layer_draws_what_linens_draws():
    x = operands("same")[0]
    ours, theirs = (
        layer(4, (3, 3), kernel_init=uniform) for layer in (models.Convolution, linen.Conv)
    )
    drawn = ours.init(jax.random.key(3), x)
    cases.assert_same_bits(drawn, theirs.init(jax.random.key(3), x))


def test_the_layer_takes_half_precision():
    x = operands("same")[0]
    layer = models.Convolution(4, (3, 3))
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (filled(layer, x), x))
    assert jax.eval_shape(layer.apply, *half).dtype == jnp.bfloat16


def test_the_adapter_takes_sequences_and_nnx():
    x = operands("same")[0]
    sequence = x.reshape(2, 30, 3)
    options = {"strides": 2, "padding": ((2, 0),), "kernel_dilation": 2}
    ours, theirs = (
        linen.Conv(4, (3,), conv_general_dilated=adapter, **options)
        for adapter in (models.conv_general_dilated, lax.conv_general_dilated)
    )
    variables = filled(ours, sequence)
    cases.assert_close(ours.apply(variables, sequence), theirs.apply(variables, sequence))
    adapted = functools.partial(models.conv_general_dilated, lowering="patches")
    ours, theirs = (
        nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0), conv_general_dilated=adapter, kernel_init=uniform)
        for adapter in (adapted, lax.conv_general_dilated)
    )
    cases.assert_close(ours(x), theirs(x))


# Pooling.

WINDOWS = {
    "halves": ((2, 2), None),
    "odd": ((2, 3), None),
    "overlapping": ((3, 3), (2, 2)),
    "one_apart": ((2, 3), (1, 2)),
    "gaps": ((2, 1), (3, 2)),
    "whole": ((4, 6), None),
}


def reduce_window(x, window, strides, initial, operation):
    strides = strides or window
    return lax.reduce_window(x, initial, operation, (1, *window, 1), (1, *strides, 1), "VALID")


def both_gradients(ours, theirs, x, cotangent):
    return [(y, pull(cotangent)) for y, pull in (jax.vjp(pool, x) for pool in (ours, theirs))]


@cases.every(WINDOWS)
def test_pooling_is_reduce_window_forward_and_backward(name):
    window, strides = WINDOWS[name]
    generator = np.random.default_rng(2)
    # Small integers, so that most windows have ties.
    x = jnp.asarray(generator.integers(0, 3, (2, 4, 6, 3)), jnp.float32)
    size = window[0] * window[1]
    pairs = (
        (models.max_pool, lambda x: reduce_window(x, window, strides, -jnp.inf, lax.max)),
        (models.average_pool, lambda x: reduce_window(x, window, strides, 0.0, lax.add) / size),
    )
    for ours, theirs in pairs:
        weights = jnp.asarray(generator.normal(size=jax.eval_shape(theirs, x).shape), jnp.float32)
        ours = functools.partial(ours, window=window, strides=strides)
        actual, expected = jax.jit(both_gradients, static_argnums=(0, 1))(ours, theirs, x, weights)
        cases.assert_close(actual, expected)


@pytest.mark.parametrize("place", range(4))
def test_pooling_does_not_hide_a_number_that_is_none(place):
    x = jnp.zeros(4).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
    assert jnp.isnan(models.max_pool(x, (2, 2))).all()
    assert jnp.isnan(models.average_pool(x, (2, 2))).all()


@pytest.mark.parametrize("pool", [models.max_pool, models.average_pool])
def test_pooling_keeps_the_dtype_and_has_a_quick_gradient(pool):
    x = jnp.ones((1, 5, 5, 2), jnp.bfloat16)
    assert pool(x, (2, 2)).dtype == jnp.bfloat16
    text = primitives(jax.grad(lambda x: pool(x, (3, 3), (2, 2)).sum()), x)
    assert "select_and" not in text
    assert "reduce_window" not in text


# What goes wrong is said in one line.


@pytest.mark.parametrize(
    ("shape", "kernel_shape", "options", "expected"),
    [
        ((1, 5, 5, 3), (3, 3, 2, 4), {}, r"x of shape \(1, 5, 5, 3\) and kernel of shape \(3, 3"),
        ((1, 5, 5, 4), (3, 3, 2, 5), {"groups": 2}, "in groups=2, expected"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"groups": 0}, "in groups=0, expected"),
        ((5, 5, 4), (3, 3, 4, 5), {}, r"expected \[batch, height, width, channels\]"),
        ((1, 5, 5, 4), (3, 4, 5), {}, r"expected \[batch, height, width, channels\]"),
        ((1, 2, 5, 4), (3, 3, 4, 5), {"padding": "VALID"}, "3 x 3 pixels and the padded image 2 x"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"dilation": (1, 3), "padding": "VALID"}, "spans 3 x 7"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"padding": "SOME"}, "padding 'SOME': did you mean 'SAME'"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"padding": (1, 1)}, r"padding=\(1, 1\), expected a name or"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"strides": 2}, "strides=2, expected two positive integers"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"dilation": (0, 1)}, r"dilation=\(0, 1\), expected two"),
        ((1, 5, 5, 4), (3, 3, 4, 5), {"lowering": "patch"}, "lowering 'patch': did you mean 'pat"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_convolutions_refuse_what_does_not_fit(shape, kernel_shape, options, expected):
    with pytest.raises(TicketError, match=expected) as error:
        models.convolve(jnp.ones(shape), jnp.ones(kernel_shape), **options)
    assert "\n" not in str(error.value)


def test_convolutions_refuse_two_dtypes():
    x, kernel, _ = operands("same")
    with pytest.raises(TicketError, match="x is bfloat16 and kernel is float32"):
        models.convolve(x.astype(jnp.bfloat16), kernel)


@pytest.mark.parametrize("pool", [models.max_pool, models.average_pool])
@pytest.mark.usefixtures("unchecked")
def test_pooling_refuses_what_does_not_fit(pool):
    with pytest.raises(TicketError, match=rf"{pool.__name__}: window=2, expected two positive"):
        pool(jnp.ones((1, 4, 4, 1)), 2)
    with pytest.raises(TicketError, match=r"strides=\(0, 1\), expected two positive"):
        pool(jnp.ones((1, 4, 4, 1)), (2, 2), (0, 1))
    with pytest.raises(TicketError, match=r"\(1, 1, 4, 1\), expected .* at least 2 x 2 pixels"):
        pool(jnp.ones((1, 1, 4, 1)), (2, 2))


@pytest.mark.parametrize(
    ("shape", "options", "expected"),
    [
        ((1, 4, 4, 4, 2), {}, "expected images or sequences"),
        ((1, 4, 4, 2), {"dimension_numbers": None}, "expected channels last"),
        ((1, 4, 4, 2), {"lhs_dilation": (2, 2)}, r"lhs_dilation=\(2, 2\)"),
        ((1, 4, 4, 2), {"batch_group_count": 2}, "batch_group_count=2, expected ones or"),
    ],
)
def test_the_adapter_refuses_what_it_does_not_compute(shape, options, expected):
    dimensions = len(shape) - 2
    options = {"dimension_numbers": ("NHWC", "HWIO", "NHWC"), **options}
    kernel = jnp.ones(((3,) * dimensions) + (2, 4))
    with pytest.raises(TicketError, match=expected) as error:
        models.conv_general_dilated(jnp.ones(shape), kernel, (1,) * dimensions, "SAME", **options)
    assert "use jax.lax.conv_general_dilated" in str(error.value)
