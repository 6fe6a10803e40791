"""`convolve` under the signature of `jax.lax.conv_general_dilated`, for other people's layers."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import DTypeLike

from jaxticket.errors import TicketError
from jaxticket.models._lowering import DIMENSIONS, convolve
from jaxticket.models._operands import Padding


def conv_general_dilated(
    lhs: jax.Array,
    rhs: jax.Array,
    window_strides: Sequence[int],
    padding: Padding,
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: DTypeLike | None = None,
    out_sharding: Any = None,
    *,
    lowering: str | None = None,
) -> jax.Array:
    """`convolve` in the place of `jax.lax.conv_general_dilated`, in one or two dimensions.

    For a network that is not from this room, and would otherwise train very slowly on a CPU:
    `linen.Conv(..., conv_general_dilated=conv_general_dilated)`, and the same for `nnx.Conv`.
    `functools.partial(conv_general_dilated, lowering="direct")` names a lowering.

    Args:
      lhs: `float[batch, height, width, channels]` or `float[batch, width, channels]`.
      rhs: the kernel, `float[height, width, channels / groups, features]` or without height.
      window_strides: steps between windows.
      padding: as of `convolve`.
      lhs_dilation: ones or None; a transposed convolution is not for this function.
      rhs_dilation: distance of the kernel's taps.
      dimension_numbers: channels last, as Flax gives it.
      feature_group_count: the groups.
      batch_group_count: 1.
      precision: of the multiplications.
      preferred_element_type: dtype of the result.
      out_sharding: None.
      lowering: as of `convolve`.

    Returns:
      What `jax.lax.conv_general_dilated` returns, up to the order of summation.

    Raises:
      TicketError: for what is said above not to be for this function, and as `convolve`.

    Example:
      >>> import jax
      >>> from flax import linen
      >>> layer = linen.Conv(5, (3, 3), conv_general_dilated=conv_general_dilated)
      >>> jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((1, 8, 8, 2)))[0].shape
      (1, 8, 8, 5)
    """
    dimensions = lhs.ndim - 2
    _check_axes(lhs, rhs, dimension_numbers)
    _check_neutral(
        lhs_dilation=lhs_dilation, batch_group_count=batch_group_count, out_sharding=out_sharding
    )
    dilation = (1,) * dimensions if rhs_dilation is None else tuple(rhs_dilation)
    strides = tuple(window_strides)
    if dimensions == 1:
        lhs, rhs = lhs[:, None], rhs[None]
        strides, dilation = (1, *strides), (1, *dilation)
        padding = padding if isinstance(padding, str) else ((0, 0), *padding)
    y = convolve(
        lhs,
        rhs,
        strides=strides,
        padding=padding,
        dilation=dilation,
        groups=feature_group_count,
        lowering=lowering,
        precision=precision,
    )
    y = y[:, 0] if dimensions == 1 else y
    return y if preferred_element_type is None else y.astype(preferred_element_type)


def _check_axes(lhs: Any, rhs: Any, dimension_numbers: Any) -> None:
    if lhs.ndim not in (3, 4) or rhs.ndim != lhs.ndim:
        raise TicketError(
            f"conv_general_dilated: lhs of shape {jnp.shape(lhs)} and rhs of shape "
            f"{jnp.shape(rhs)}, expected images or sequences: use jax.lax.conv_general_dilated"
        )
    given = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    letters = [axes.replace("H", "") if lhs.ndim == 3 else axes for axes in DIMENSIONS]
    if given != lax.conv_dimension_numbers(lhs.shape, rhs.shape, tuple(letters)):
        raise TicketError(
            f"conv_general_dilated: dimension_numbers={dimension_numbers!r}, expected channels "
            f"last, {tuple(letters)}: transpose, or use jax.lax.conv_general_dilated"
        )


def _check_neutral(**options: Any) -> None:
    for name, given in options.items():
        values = given if isinstance(given, Sequence) else (given,)
        if any(value not in (None, 1) for value in values):
            raise TicketError(
                f"conv_general_dilated: {name}={given!r}, expected ones or None: "
                "use jax.lax.conv_general_dilated"
            )
