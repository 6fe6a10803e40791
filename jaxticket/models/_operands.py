"""What convolutions and pooling ask of their operands, told in one line where they do not fit."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxticket.errors import TicketError, unknown
from jaxticket.models._arguments import positive_integers

Pair = tuple[int, ...]
Pads = tuple[tuple[int, int], ...]
Padding = str | Sequence[Sequence[int]]

_PADDINGS = ("SAME", "SAME_LOWER", "VALID")


def pair(caller: str, argument: str, given: Any) -> tuple[int, ...]:
    """`given` as two Python integers, each at least 1.

    Args:
      caller: the function's name, for the error.
      argument: the argument's name, for the error.
      given: should be two integers, of Python or NumPy.

    Returns:
      The same integers.

    Raises:
      TicketError: `given` is anything else.

    >>> pair("convolve", "strides", 2)
    Traceback (most recent call last):
        ...
    jaxticket.errors.TicketError: convolve: strides=2, expected two positive integers
    """
    try:
        integers = positive_integers(caller, argument, given)
    except TicketError:
        integers = ()
    if len(integers) != 2:
        raise TicketError(f"{caller}: {argument}={given!r}, expected two positive integers")
    return integers


def check_operands(x: jax.Array, kernel: jax.Array, groups: int) -> None:
    """Checks that a kernel fits the images it is to go over.

    Args:
      x: `float[batch, height, width, channels]`.
      kernel: `float[height, width, channels / groups, features]`.
      groups: parts that channels and features fall into.

    Raises:
      TicketError: for other ranks, channels that do not fit, or two dtypes.
    """
    shapes = f"x of shape {jnp.shape(x)} and kernel of shape {jnp.shape(kernel)}"
    if jnp.ndim(x) != 4 or jnp.ndim(kernel) != 4:
        raise TicketError(
            f"convolve: {shapes}, expected [batch, height, width, channels] and "
            "[height, width, channels / groups, features]"
        )
    if groups < 1 or x.shape[3] != kernel.shape[2] * groups or kernel.shape[3] % groups:
        raise TicketError(
            f"convolve: {shapes} in groups={groups}, expected x.shape[3] to be groups times "
            "kernel.shape[2] and kernel.shape[3] to be a multiple of groups"
        )
    if x.dtype != kernel.dtype:
        raise TicketError(
            f"convolve: x is {x.dtype} and kernel is {kernel.dtype}, expected one dtype: cast one"
        )


def resolve_padding(
    shape: tuple[int, ...],
    kernel_shape: tuple[int, ...],
    strides: Sequence[int],
    padding: Padding,
    dilation: Sequence[int],
) -> Pads:
    """The pixels that a padding adds, as ((above, below), (left, right)).

    Args:
      shape: of the images, `[batch, height, width, channels]`.
      kernel_shape: of the kernel, `[height, width, ...]`.
      strides: steps between windows, in pixels.
      padding: a name, or the pixels themselves.
      dilation: distance of the kernel's taps, in pixels.

    Returns:
      The pixels.

    Raises:
      TicketError: for another padding, or a kernel that reaches beyond the padded image.

    >>> resolve_padding((1, 28, 28, 1), (5, 5, 1, 6), (1, 1), "SAME", (1, 1))
    ((2, 2), (2, 2))
    """
    extents = [(n - 1) * d + 1 for n, d in zip(kernel_shape[:2], dilation, strict=True)]
    if isinstance(padding, str):
        if padding.upper() not in _PADDINGS:
            raise unknown("padding", padding, _PADDINGS)
        padding = lax.padtype_to_pads(shape[1:3], extents, strides, padding.upper())
    pads = _pads(padding)
    height, width = (size + sum(pad) for size, pad in zip(shape[1:3], pads, strict=True))
    if height < extents[0] or width < extents[1]:
        raise TicketError(
            f"convolve: the kernel spans {extents[0]} x {extents[1]} pixels and the padded image "
            f"{height} x {width}, expected an image at least as large: pad it or pool less"
        )
    return pads


def _pads(padding: Sequence[Sequence[int]]) -> Pads:
    try:
        (above, below), (left, right) = padding
        return (int(above), int(below)), (int(left), int(right))
    except (TypeError, ValueError):
        message = (
            f"convolve: padding={padding!r}, expected a name or ((above, below), (left, right))"
        )
        raise TicketError(message) from None
