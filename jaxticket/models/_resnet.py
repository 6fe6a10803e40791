"""Residual networks for small images, with batch normalisation."""

from collections.abc import Sequence

import jax
from flax import linen

from jaxticket.models._convolution import Convolution
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer
from jaxticket.models._normalisation import batch_norm
from jaxticket.models._options import Layers, check_images, check_layers, scale_widths
from jaxticket.types import Model

# Width of each stage, and its number of blocks.
_STAGES = {
    "resnet_18": ((64, 128, 256, 512), 2),
    "resnet_20": ((16, 32, 64), 3),
    "resnet_32": ((16, 32, 64), 5),
    "resnet_56": ((16, 32, 64), 9),
}


class _Unit(linen.Module):
    """A convolution and its normalisation, without a bias between them."""

    features: int
    size: int
    stride: int
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        around = self.size // 2
        x = Convolution(
            self.features,
            (self.size, self.size),
            strides=(self.stride, self.stride),
            # "SAME" pads an even image below and to the right alone where the stride is two.
            padding=((around, around), (around, around)),
            use_bias=False,
            kernel_init=self.layers.initializer,
            lowering=self.layers.lowering,
            name="convolution",
        )(x)
        return batch_norm(x, train, "norm")


class _Block(linen.Module):
    features: int
    stride: int
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        y = _Unit(self.features, 3, self.stride, self.layers, name="branch_0")(x, train)
        y = _Unit(self.features, 3, 1, self.layers, name="branch_1")(linen.relu(y), train)
        # A block widens where it strides. By the arrays' own widths one could not tell, since
        # channels may have been removed from them.
        if self.stride != 1:
            x = _Unit(self.features, 1, self.stride, self.layers, name="shortcut")(x, train)
        return linen.relu(x + y)


class _ResNet(linen.Module):
    widths: tuple[int, ...]
    blocks: int
    classes: int
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        # Dicts flatten in the order of their names: "base", "block_00", ..., "output".
        x = linen.relu(_Unit(self.widths[0], 3, 1, self.layers, name="base")(x, train))
        for number in range(len(self.widths) * self.blocks):
            stage, place = divmod(number, self.blocks)
            stride = 2 if stage > 0 and place == 0 else 1
            name = f"block_{number:02}"
            x = _Block(self.widths[stage], stride, self.layers, name=name)(x, train)
        x = x.mean((1, 2))
        return linen.Dense(self.classes, kernel_init=self.layers.initializer, name="output")(x)


def resnet_20(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """ResNet-20 for CIFAR, which the lottery ticket paper calls ResNet-18.

    A 3 x 3 convolution, three stages of three blocks, 16, 32 and 64 wide, the mean over all
    pixels and a dense layer; batch normalisation after every convolution. Where a block halves
    the image, its shortcut is a 1 x 1 convolution with batch normalisation, as in open_lth
    (He et al. pad with zeros there: 269,722 parameters). On CIFAR-10 it has 272,474 parameters.

    Its params are "base", "block_00", ..., "output", blocks of "branch_0", "branch_1" and
    "shortcut", each `{"convolution": {"kernel"}, "norm": {"scale", "bias"}}`; its model state is
    `{"batch_stats": ...}`. Scales of normalisation begin at one (open_lth draws them from
    [0, 1] by default); open_lth's kaiming normal is "kaiming_gaussian" here.

    Args:
      input_shape: (height, width, channels) of one image.
      classes: the number of classes.
      width_multiplier: of all convolutions.
      initializer: of the kernels; see `mlp`.
      lowering: of the convolutions; see `convolve`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float[batch, classes]`.

    Raises:
      TicketError: an option is out of range. `apply` raises it where it trains on one example.

    >>> import jax
    >>> from jaxticket.models import resnet_20
    >>> params, _ = jax.eval_shape(resnet_20().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    272474

    Source: He et al. 2016, section 4.2, https://arxiv.org/abs/1512.03385; models/cifar_resnet.py
    in https://github.com/facebookresearch/open_lth.
    """
    return _resnet("resnet_20", input_shape, classes, width_multiplier, initializer, lowering)


def resnet_32(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """ResNet-32 for CIFAR: `resnet_20` with five blocks a stage, 466,906 parameters.

    Args, Returns, Raises and Source are those of `resnet_20`.

    >>> import jax
    >>> from jaxticket.models import resnet_32
    >>> list(jax.eval_shape(resnet_32(width_multiplier=0.25).init, jax.random.key(0))[0])[-2:]
    ['block_14', 'output']
    """
    return _resnet("resnet_32", input_shape, classes, width_multiplier, initializer, lowering)


def resnet_56(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """ResNet-56 for CIFAR: `resnet_20` with nine blocks a stage, 855,770 parameters.

    Args, Returns, Raises and Source are those of `resnet_20`.

    >>> import jax
    >>> from jaxticket.models import resnet_56
    >>> list(jax.eval_shape(resnet_56(width_multiplier=0.25).init, jax.random.key(0))[0])[-2:]
    ['block_26', 'output']
    """
    return _resnet("resnet_56", input_shape, classes, width_multiplier, initializer, lowering)


def resnet_18(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """ResNet-18, the ImageNet network in its form for CIFAR, 11,173,962 parameters.

    `resnet_20` with four stages of two blocks, 64, 128, 256 and 512 wide. It has no max pool,
    and its first convolution is 3 x 3. It is not what the lottery ticket paper calls ResNet-18.

    Args, Returns and Raises are those of `resnet_20`.

    >>> import jax
    >>> from jaxticket.models import resnet_18
    >>> params, _ = jax.eval_shape(resnet_18(width_multiplier=0.125).init, jax.random.key(0))
    >>> params["block_07"]["branch_1"]["convolution"]["kernel"].shape
    (3, 3, 64, 64)

    Source: He et al. 2016, table 1, https://arxiv.org/abs/1512.03385; the form for CIFAR is
    common (unverified).
    """
    return _resnet("resnet_18", input_shape, classes, width_multiplier, initializer, lowering)


def _resnet(
    caller: str,
    input_shape: Sequence[int],
    classes: int,
    width_multiplier: float,
    initializer: str | Initializer,
    lowering: str | None,
) -> Model:
    input_shape, classes = check_images(caller, input_shape, classes)
    widths, blocks = _STAGES[caller]
    widths = scale_widths(caller, widths, width_multiplier)
    layers = check_layers(initializer, lowering)
    return from_linen(_ResNet(widths, blocks, classes, layers), input_shape)
