"""Convolution in the one form that XLA's CPU backend computes fast wherever it stands.

XLA's CPU backend hands a convolution to Eigen only if images are NHWC, the kernel is HWIO and
nothing is reversed. It rewrites others into that form in a program's outermost computation, but
not inside a loop, where both derivatives of a convolution then run many times slower.
Here all three (the result and both derivatives) are written in that form from the start.

The convolution and its two derivatives are one trilinear form seen from three sides, so each is
a JAX primitive whose transposes are the other two: forward mode, reverse mode and any mixture of
both work as for `jax.lax.conv_general_dilated`. Only on a CPU are they cut to fit it.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.interpreters import ad

from jaxticket.models._operands import Pads, Pair
from jaxticket.models._primitive import make_primitive

CACHE_BYTES = 512 * 1024
"""Images whose kernel gradient is computed at a time: a quarter of a core's second-level cache,
the best of the sizes measured in docs/performance.md."""


def canonical(
    x: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, ...],
    pads: Pads,
    dilation: tuple[int, ...],
    precision: Any = None,
) -> jax.Array:
    """A convolution without groups: y[h, w, o] = Σ_{i,j,c} x[s h + d i, s w + d j, c] k[i, j, c].

    Args:
      x: `float[batch, height, width, channels]`.
      kernel: `float[height, width, channels, features]`.
      strides: steps between windows, in pixels down and across.
      pads: pixels of zeros, ((above, below), (left, right)).
      dilation: distance of the kernel's taps, in pixels down and across.
      precision: of the multiplications, as of `jax.lax.conv_general_dilated`.

    Returns:
      `float[batch, height, width, features]`.

    Example:
      >>> x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
      >>> canonical(x, kernel, (1, 1), ((1, 1), (1, 1)), (1, 1)).shape
      (1, 4, 4, 5)
    """
    return _forward.bind(
        x,
        kernel,
        strides=strides,
        pads=pads,
        dilation=dilation,
        image=x.shape[1:3],
        window=kernel.shape[:2],
        precision=precision,
    )


def _convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Pair,
    pads: Pads,
    base: Pair,
    dilation: Pair,
    precision: Any,
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        lhs_dilation=base,
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _compute(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    image: Pair,
    window: Pair,
    precision: Any,
    for_cpu: bool = False,
) -> jax.Array:
    del image
    *_, channels, features = kernel.shape
    across = x.shape[2] + sum(pads[1]) - window[1] + 1
    together = 1
    if for_cpu:
        together = _pixels_together(across, channels, features, window, strides, dilation)
    if together == 1:
        return _convolve(x, kernel, strides, pads, (1, 1), dilation, precision)
    # So many neighbours across are computed as the features of one wider window. A row-major
    # result is then the same memory, and a narrow layer fills the vector units.
    wide = jnp.concatenate(
        [
            jnp.pad(kernel, ((0, 0), (place, together - 1 - place), (0, 0), (0, 0)))
            for place in range(together)
        ],
        axis=3,
    )
    y = _convolve(x, wide, (1, together), pads, (1, 1), (1, 1), precision)
    return y.reshape(*y.shape[:2], across, features)


def _compute_image_gradient(
    y: jax.Array,
    kernel: jax.Array,
    *,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    image: Pair,
    window: Pair,
    precision: Any,
    for_cpu: bool = False,
) -> jax.Array:
    """The derivative by the images: y is spread out by the strides and meets the kernel turned."""
    extents = [(size - 1) * d + 1 for size, d in zip(window, dilation, strict=True)]
    spread = [(size - 1) * s + 1 for size, s in zip(y.shape[1:3], strides, strict=True)]
    before = [extent - 1 - pad[0] for extent, pad in zip(extents, pads, strict=True)]
    after = [
        size + extent - 1 - wide - low
        for size, extent, wide, low in zip(image, extents, spread, before, strict=True)
    ]
    turned = lax.rev(kernel, (0, 1)).swapaxes(2, 3)
    around = tuple(zip(before, after, strict=True))
    if strides == (1, 1):
        return _compute(
            y,
            turned,
            strides=strides,
            pads=around,
            dilation=dilation,
            image=y.shape[1:3],
            window=window,
            precision=precision,
            for_cpu=for_cpu,
        )
    return _convolve(y, turned, (1, 1), around, strides, dilation, precision)


def _compute_kernel_gradient(
    x: jax.Array,
    y: jax.Array,
    *,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    image: Pair,
    window: Pair,
    precision: Any,
    for_cpu: bool = False,
) -> jax.Array:
    """The derivative by the kernel: channels as the batch, and images as the channels."""
    del image
    features, together = y.shape[3], 1
    if for_cpu:
        together = _pixels_together(y.shape[2], x.shape[3], features, window, strides, dilation)
    y = y.reshape(*y.shape[:2], y.shape[2] // together, features * together)
    window = (window[0], window[1] + together - 1)
    strides = (strides[0], strides[1] * together)
    around = _reached(x.shape[1:3], y.shape[1:3], window, strides, pads, dilation)

    def part(x: jax.Array, y: jax.Array) -> jax.Array:
        images, y = x.transpose(3, 1, 2, 0), y.transpose(1, 2, 0, 3)
        return _convolve(images, y, dilation, around, (1, 1), strides, precision)

    wide = (_in_parts(part, x, y) if for_cpu else part(x, y)).transpose(1, 2, 0, 3)
    taps = window[1] - together + 1
    narrow = [
        wide[:, place : place + taps, :, place * features : (place + 1) * features]
        for place in range(together)
    ]
    return functools.reduce(jnp.add, narrow)


def _reached(
    image: Pair, result: Pair, window: Pair, strides: Pair, pads: Pads, dilation: Pair
) -> Pads:
    """Pads and cuts an image to what its windows reach; lax cuts where a padding is negative."""
    sizes = [
        (size - 1) * s + (taps - 1) * d + 1
        for size, s, taps, d in zip(result, strides, window, dilation, strict=True)
    ]
    pairs = zip(pads, sizes, image, strict=True)
    return tuple((low, wanted - size - low) for (low, _), wanted, size in pairs)


def _in_parts(part: Callable[..., jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
    """Sums a function of images over parts that fit the cache."""
    number = x.shape[0]
    size = max(1, min(number, CACHE_BYTES // (x[0].size * x.dtype.itemsize)))
    whole = number // size
    if whole <= 1:
        return part(x, y)
    take = functools.partial(lax.dynamic_slice_in_dim, slice_size=size)
    first = part(x[:size], y[:size])
    total = lax.fori_loop(
        1, whole, lambda i, sum: sum + part(take(x, i * size), take(y, i * size)), first
    )
    rest = number - whole * size
    return total + part(x[-rest:], y[-rest:]) if rest else total


def _pixels_together(
    across: int, channels: int, features: int, window: Pair, strides: Pair, dilation: Pair
) -> int:
    """How many pixels across are computed as one, for layers too narrow for the vector units."""
    plain = strides == (1, 1) and dilation == (1, 1) and window[1] > 1
    if features > 16 or not plain:
        return 1
    wanted = 4 if features <= 8 or channels < 8 else 2
    return next(number for number in (wanted, 2, 1) if across % number == 0)


_CHOICES = ("strides", "pads", "dilation", "image", "window", "precision")

_forward = make_primitive("convolution", _compute, _CHOICES)
_image_gradient = make_primitive("convolution_by_image", _compute_image_gradient, _CHOICES)
_kernel_gradient = make_primitive("convolution_by_kernel", _compute_kernel_gradient, _CHOICES)

# Each rule is given a cotangent and both operands, and needs the one it is not the derivative by.
ad.defbilinear(
    _forward,
    lambda y, x, kernel, **choices: _image_gradient.bind(y, kernel, **choices),
    lambda y, x, kernel, **choices: _kernel_gradient.bind(x, y, **choices),
)
ad.defbilinear(
    _image_gradient,
    lambda x, y, kernel, **choices: _forward.bind(x, kernel, **choices),
    lambda x, y, kernel, **choices: _kernel_gradient.bind(x, y, **choices),
)
ad.defbilinear(
    _kernel_gradient,
    lambda kernel, x, y, **choices: _image_gradient.bind(y, kernel, **choices),
    lambda kernel, x, y, **choices: _forward.bind(x, kernel, **choices),
)
