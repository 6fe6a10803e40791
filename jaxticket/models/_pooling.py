"""Pooling of images by slices, since the gradient of `lax.reduce_window` is slow on a CPU."""

from collections.abc import Sequence
from functools import reduce

import jax
import jax.numpy as jnp

from jaxticket.errors import TicketError
from jaxticket.models._lowering import window_slices
from jaxticket.models._operands import pair


def max_pool(
    x: jax.Array, window: Sequence[int], strides: Sequence[int] | None = None
) -> jax.Array:
    """The largest value in each window, whole windows only ("VALID").

    The gradient goes to the first of equal values, row by row, as that of `lax.reduce_window`.

    Args:
      x: `float[batch, height, width, channels]`.
      window: pixels down and across.
      strides: steps between windows, in pixels; None is `window`, so that none overlap.

    Returns:
      `float[batch, windows down, windows across, channels]`, of the dtype of `x`.

    Raises:
      TicketError: `x` has another rank or is smaller than one window, or a size is not two
        positive integers.

    Example:
      >>> import jax.numpy as jnp
      >>> max_pool(jnp.arange(10.0).reshape(1, 2, 5, 1), (2, 2)).ravel().tolist()
      [6.0, 8.0]
    """
    return reduce(_larger, _taps("max_pool", x, window, strides))


def average_pool(
    x: jax.Array, window: Sequence[int], strides: Sequence[int] | None = None
) -> jax.Array:
    """The mean of each window, whole windows only ("VALID").

    Args:
      x: `float[batch, height, width, channels]`.
      window: pixels down and across.
      strides: steps between windows, in pixels; None is `window`, so that none overlap.

    Returns:
      `float[batch, windows down, windows across, channels]`, of the dtype of `x`.

    Raises:
      TicketError: as `max_pool`.

    Example:
      >>> import jax.numpy as jnp
      >>> average_pool(jnp.arange(10.0).reshape(1, 2, 5, 1), (2, 2)).ravel().tolist()
      [3.0, 5.0]
    """
    taps = _taps("average_pool", x, window, strides)
    return reduce(jnp.add, taps) / len(taps)


def _larger(first: jax.Array, second: jax.Array) -> jax.Array:
    # jnp.maximum would halve the gradient of ties; a NaN must not get lost in a comparison.
    return jnp.where((first >= second) | jnp.isnan(first), first, second)


def _taps(
    caller: str, x: jax.Array, window: Sequence[int], strides: Sequence[int] | None
) -> list[jax.Array]:
    window = pair(caller, "window", window)
    strides = window if strides is None else pair(caller, "strides", strides)
    if jnp.ndim(x) != 4 or x.shape[1] < window[0] or x.shape[2] < window[1]:
        raise TicketError(
            f"{caller}: x has shape {jnp.shape(x)}, expected [batch, height, width, channels] of "
            f"at least {window[0]} x {window[1]} pixels: pool less, or take larger images"
        )
    return window_slices(x, window, strides)
