"""How a convolution is computed: one equation, a table of lowerings, one choice by platform.

XLA compiles a convolution well where it stands alone in a program, and badly where training
puts it: inside a loop on a CPU, or with one kernel a network under `vmap`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxticket.errors import unknown
from jaxticket.models._canonical import canonical
from jaxticket.models._operands import Padding, Pads, Pair, check_operands, pair, resolve_padding

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
"""Axes of the images, the kernel and the result, in JAX's letters."""


def convolve(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: Sequence[int] = (1, 1),
    padding: Padding = "SAME",
    dilation: Sequence[int] = (1, 1),
    groups: int = 1,
    lowering: str | None = None,
    precision: Any = None,
) -> jax.Array:
    """A convolution of images, without a bias: y[h, w, o] = Σ_{i,j,c} x[s h + d i, s w + d j, c] k.

    All lowerings give the same result up to the order of summation.

    Args:
      x: `float[batch, height, width, channels]`.
      kernel: `float[height, width, channels / groups, features]`, of the dtype of `x`.
      strides: steps between windows, in pixels down and across.
      padding: "SAME", "SAME_LOWER", "VALID", or pixels ((above, below), (left, right)).
      dilation: distance of the kernel's taps, in pixels down and across.
      groups: features of group g see the channels of group g alone; `channels` is depthwise.
      lowering: a name of `LOWERINGS`; None is `choose_lowering()`, read when it is traced.
      precision: of the multiplications, as of `jax.lax.dot_general`.

    Returns:
      `float[batch, height, width, features]`, of the dtype of `x`.

    Raises:
      TicketError: shapes or dtypes that do not fit, or an unknown padding or lowering.

    Example:
      >>> import jax.numpy as jnp
      >>> x, kernel = jnp.ones((1, 4, 4, 2)), jnp.ones((3, 3, 2, 5))
      >>> convolve(x, kernel, strides=(2, 2), lowering="patches").shape
      (1, 2, 2, 5)
    """
    strides = pair("convolve", "strides", strides)
    dilation = pair("convolve", "dilation", dilation)
    check_operands(x, kernel, groups)
    pads = resolve_padding(x.shape, kernel.shape, strides, padding, dilation)
    check_lowering(lowering)
    compute = LOWERINGS[lowering or choose_lowering()]
    return compute(x, kernel, strides, pads, dilation, groups, precision)


def choose_lowering(platform: str | None = None) -> str:
    """The lowering that `convolve` takes where none is named.

    Args:
      platform: "cpu", "gpu" or "tpu"; None is `jax.default_backend()`.

    Returns:
      A name of `LOWERINGS`.

    Example:
      >>> choose_lowering("cpu")
      'canonical'
    """
    return _choice(platform)[1]


def explain_lowering(platform: str | None = None) -> str:
    """Says which lowering `choose_lowering` takes, and why.

    Args:
      platform: as of `choose_lowering`.

    Returns:
      One line.

    Example:
      >>> print(explain_lowering("tpu"))
      convolutions on tpu: direct (XLA's own; not measured)
    """
    name, lowering, reason = _choice(platform)
    return f"convolutions on {name}: {lowering} ({reason})"


def check_lowering(lowering: str | None) -> None:
    """Checks a lowering that someone named.

    Args:
      lowering: a name of `LOWERINGS`, or None for an automatic choice.

    Raises:
      TicketError: the name is unknown.

    Example:
      >>> check_lowering("patches")
    """
    if lowering is not None and lowering not in LOWERINGS:
        raise unknown("lowering", lowering, LOWERINGS)


# A platform's lowering, and why: the only place where one is chosen.
_CHOICES = {
    "cpu": ("canonical", "the form that XLA's CPU backend computes fast inside a loop too"),
    "gpu": (
        "patches",
        "one kernel a network under vmap is a grouped convolution, slow backwards "
        "(jax issues 13800, 15339), and a batched matrix product here; not measured",
    ),
    "tpu": ("direct", "XLA's own; not measured"),
}


def _choice(platform: str | None) -> tuple[str, str, str]:
    name = jax.default_backend() if platform is None else platform
    return name, *_CHOICES.get(name, ("direct", "XLA's own; an unknown platform"))


def window_slices(
    x: jax.Array, window: Sequence[int], strides: Sequence[int], dilation: Sequence[int] = (1, 1)
) -> list[jax.Array]:
    """What each tap of a sliding window sees, row by row: views of `x`, shifted and strided.

    Args:
      x: `[batch, height, width, channels]`, padded already.
      window: taps down and across.
      strides: steps between windows, in pixels.
      dilation: distance of taps, in pixels.

    Returns:
      `window[0] * window[1]` arrays `[batch, windows down, windows across, channels]`.

    Example:
      >>> import jax.numpy as jnp
      >>> [tap.ravel().tolist() for tap in window_slices(jnp.ones((1, 2, 3, 1)), (2, 1), (1, 2))]
      [[1.0, 1.0], [1.0, 1.0]]
    """
    batch, height, width, channels = x.shape
    rows = height - (window[0] - 1) * dilation[0]
    columns = width - (window[1] - 1) * dilation[1]
    return [
        lax.slice(
            x, (0, top, left, 0), (batch, top + rows, left + columns, channels), (1, *strides, 1)
        )
        for top in range(0, window[0] * dilation[0], dilation[0])
        for left in range(0, window[1] * dilation[1], dilation[1])
    ]


def _direct(
    x: jax.Array,
    kernel: jax.Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
    precision: Any,
) -> jax.Array:
    return lax.conv_general_dilated(
        x,
        kernel,
        strides,
        pads,
        rhs_dilation=dilation,
        dimension_numbers=DIMENSIONS,
        feature_group_count=groups,
        precision=precision,
    )


def _patches(
    x: jax.Array,
    kernel: jax.Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
    precision: Any,
) -> jax.Array:
    # Not lax.conv_general_dilated_patches, which is a convolution itself.
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)])
    taps = window_slices(x, kernel.shape[:2], strides, dilation)
    *_, inputs, features = kernel.shape
    if groups == 1:
        patches = taps[0] if len(taps) == 1 else jnp.concatenate(taps, axis=3)
        return jnp.matmul(patches, kernel.reshape(-1, features), precision=precision)
    patches = jnp.stack(taps, axis=3)
    patches = patches.reshape(*patches.shape[:4], groups, inputs)
    kernel = kernel.reshape(len(taps), inputs, groups, features // groups)
    y = jnp.einsum("nhwtgi,tigo->nhwgo", patches, kernel, precision=precision)
    return y.reshape(*y.shape[:3], features)


def _canonical(
    x: jax.Array,
    kernel: jax.Array,
    strides: Pair,
    pads: Pads,
    dilation: Pair,
    groups: int,
    precision: Any,
) -> jax.Array:
    # A pixel of its own is a matrix product, and Eigen's convolution knows no groups.
    if groups > 1 or kernel.shape[:2] == (1, 1):
        return _patches(x, kernel, strides, pads, dilation, groups, precision)
    return canonical(x, kernel, strides, pads, dilation, precision)


LOWERINGS: dict[str, Callable[..., jax.Array]] = {
    "canonical": _canonical,
    "direct": _direct,
    "patches": _patches,
}
"""Ways to compute a convolution: functions of x, kernel, strides, pads, dilation, groups and
precision, positional and checked already, `pads` in pixels."""
