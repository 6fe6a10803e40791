"""What a recipe must know of a network before it makes it."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from jaxticket import models
from jaxticket.errors import TicketError, unknown
from jaxticket.types import Model


class Architecture(NamedTuple):
    """What a network has, and which images fit it.

    Attributes:
      convolutions: whether any of its layers is one.
      batch_norm: whether it normalises by statistics of a batch.
      dropout: whether it takes a dropout rate, a number or traced.
      smallest: pixels along the shorter side, at least, for its pools.
      multiple: what both sides are a multiple of.
    """

    convolutions: bool = True
    batch_norm: bool = False
    dropout: bool = False
    smallest: int = 1
    multiple: int = 1


_RESIDUAL = Architecture(batch_norm=True)
_VGG = Architecture(batch_norm=True, smallest=16)

ARCHITECTURES: dict[str, Architecture] = {
    "lenet_300_100": Architecture(convolutions=False, dropout=True),
    "deep_mlp": Architecture(convolutions=False, batch_norm=True),
    "mlp_7": Architecture(convolutions=False),
    "linear_mlp_7": Architecture(convolutions=False),
    "lenet_5": Architecture(dropout=True, smallest=12),
    "conv_2": Architecture(dropout=True, smallest=2),
    "conv_4": Architecture(dropout=True, smallest=4),
    "conv_6": Architecture(dropout=True, smallest=8),
    "resnet_18": _RESIDUAL,
    "resnet_20": _RESIDUAL,
    "resnet_32": _RESIDUAL,
    "resnet_56": _RESIDUAL,
    "vgg_11": _VGG,
    "vgg_16": _VGG,
    "vgg_19": _VGG,
    "vision_transformer_tiny": Architecture(convolutions=False, dropout=True, multiple=4),
}
"""Networks by their name in `jaxticket.models`."""


def architecture(name: str) -> Architecture:
    """Gives what is known of a network.

    Args:
      name: a key of `ARCHITECTURES`.

    Returns:
      Its row.

    Raises:
      TicketError: for another name.

    Example:
      >>> architecture("conv_6").smallest
      8
    """
    if name not in ARCHITECTURES:
        raise unknown("model", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def check_fit(name: str, input_shape: Sequence[int]) -> None:
    """Checks that a network takes images of a shape.

    Args:
      name: a key of `ARCHITECTURES`.
      input_shape: (height, width, channels).

    Raises:
      TicketError: if it does not.

    Example:
      >>> check_fit("vgg_16", (8, 8, 1))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: --model vgg_16: got images of 8 x 8 pixels, expected at least \
16 x 16, for its pools: choose a smaller network or larger images
    """
    row, (height, width, *_) = architecture(name), input_shape
    given = f"--model {name}: got images of {height} x {width} pixels, expected"
    if min(height, width) < row.smallest:
        raise TicketError(
            f"{given} at least {row.smallest} x {row.smallest}, for its pools: choose a smaller "
            "network or larger images"
        )
    if height % row.multiple or width % row.multiple:
        raise TicketError(
            f"{given} multiples of {row.multiple}, the side of its patches: choose another network"
        )


def factory(name: str) -> Callable[..., Model]:
    """Gives the function that makes a network.

    Args:
      name: a key of `ARCHITECTURES`.

    Returns:
      `factory(input_shape, classes, *, width_multiplier, **options) -> Model`.

    Raises:
      TicketError: for another name.

    Example:
      >>> factory("conv_2") is models.conv_2
      True
    """
    architecture(name)
    return getattr(models, name)
