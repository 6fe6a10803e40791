"""The options that the factories of image networks share, checked in one place."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from jaxticket.errors import TicketError
from jaxticket.models._arguments import positive_integer, positive_integers
from jaxticket.models._initializers import Initializer, find_initializer
from jaxticket.models._lowering import check_lowering


class Layers(NamedTuple):
    """What all layers of a network share.

    Attributes:
      initializer: of the kernels, a function `(key, shape, dtype) -> array`.
      lowering: of the convolutions; None is the platform's.
    """

    initializer: Initializer
    lowering: str | None


def check_layers(initializer: str | Initializer, lowering: str | None = None) -> Layers:
    """The layers' options, checked.

    Args:
      initializer: a name, or a function.
      lowering: of the convolutions, a name or None.

    Returns:
      The options.

    Raises:
      TicketError: a name is unknown.

    >>> check_layers("glorot_normal", "patches").lowering
    'patches'
    """
    check_lowering(lowering)
    return Layers(find_initializer(initializer), lowering)


def check_images(
    caller: str, input_shape: Sequence[int], classes: int
) -> tuple[tuple[int, ...], int]:
    """The shape of one image and the number of classes, checked.

    Args:
      caller: the factory's name, for the error.
      input_shape: (height, width, channels).
      classes: the number of classes.

    Returns:
      The same shape and number, of Python integers.

    Raises:
      TicketError: the shape is not three positive integers, or there is no class.

    >>> check_images("conv_2", (784,), 10)
    Traceback (most recent call last):
        ...
    jaxticket.errors.TicketError: conv_2: input_shape=(784,), expected (height, width, channels)
    """
    shape = positive_integers(caller, "input_shape", input_shape)
    if len(shape) != 3:
        raise TicketError(f"{caller}: input_shape={shape}, expected (height, width, channels)")
    return shape, positive_integer(caller, "classes", classes)


def scale_widths(
    caller: str, widths: Sequence[int], multiplier: float, multiple_of: int = 1
) -> tuple[int, ...]:
    """Widths of layers times `width_multiplier`, rounded, each at least one `multiple_of`.

    Args:
      caller: the factory's name, for the error.
      widths: of the published network.
      multiplier: what the user gave as `width_multiplier`.
      multiple_of: what a width is a multiple of, heads of attention say.

    Returns:
      The widths.

    Raises:
      TicketError: the multiplier is not a positive number.

    >>> scale_widths("conv_2", (64, 256), 0.125), scale_widths("conv_2", (64,), 0.1, multiple_of=4)
    ((8, 32), (8,))
    """
    number = isinstance(multiplier, int | float) and not isinstance(multiplier, bool)
    if not (number and 0 < multiplier < math.inf):
        raise TicketError(f"{caller}: width_multiplier={multiplier!r}, expected a positive number")
    return tuple(multiple_of * max(1, round(width * multiplier / multiple_of)) for width in widths)
