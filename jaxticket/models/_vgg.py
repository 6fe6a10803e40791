"""VGG networks for small images, with batch normalisation."""

from collections.abc import Sequence

import jax
from flax import linen

from jaxticket.models._convolution import Convolution
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer
from jaxticket.models._normalisation import batch_norm
from jaxticket.models._options import Layers, check_images, check_layers, scale_widths
from jaxticket.models._pooling import max_pool
from jaxticket.types import Model

_STAGES = {
    "vgg_11": ((64,), (128,), (256,) * 2, (512,) * 2, (512,) * 2),
    "vgg_16": ((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg_19": ((64,) * 2, (128,) * 2, (256,) * 4, (512,) * 4, (512,) * 4),
}


class _Vgg(linen.Module):
    stages: tuple[tuple[int, ...], ...]
    classes: int
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        initializer, lowering = self.layers
        number = 0
        for index, stage in enumerate(self.stages):
            x = x if index == 0 else max_pool(x, (2, 2))
            for features in stage:
                name = f"convolution_{number:02}"
                x = Convolution(
                    features, (3, 3), kernel_init=initializer, lowering=lowering, name=name
                )(x)
                x = linen.relu(batch_norm(x, train, f"norm_{number:02}"))
                number += 1
        x = x.mean((1, 2))
        return linen.Dense(self.classes, kernel_init=initializer, name="output")(x)


def vgg_19(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """VGG-19 in the form for CIFAR: 16 convolutions with batch normalisation, one dense layer.

    Five stages of 3 x 3 convolutions, 64, 128, 256, 512 and 512 wide, with a 2 x 2 max pool
    between stages and the mean over all pixels after the last. On CIFAR-10 it has 20,040,522
    parameters.

    Its params are "convolution_00", ..., "norm_00", ..., "output"; its model state is
    `{"batch_stats": ...}`. Scales of normalisation begin at one (open_lth draws them from
    [0, 1] by default); open_lth's kaiming normal is "kaiming_gaussian" here.

    Args:
      input_shape: (height, width, channels) of one image, 16 x 16 pixels or more.
      classes: the number of classes.
      width_multiplier: of all convolutions.
      initializer: of the kernels; see `mlp`.
      lowering: of the convolutions; see `convolve`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float[batch, classes]`.

    Raises:
      TicketError: an option is out of range, or the images are too small for the pools. `apply`
        raises it where it trains on one example.

    >>> import jax
    >>> from jaxticket.models import vgg_19
    >>> params, _ = jax.eval_shape(vgg_19().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    20040522

    Source: Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556, for ImageNet; this form
    is that of Frankle and Carbin 2019, https://arxiv.org/abs/1803.03635, section 4, and of
    models/cifar_vgg.py in https://github.com/facebookresearch/open_lth.
    """
    return _vgg("vgg_19", input_shape, classes, width_multiplier, initializer, lowering)


def vgg_16(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """VGG-16 in the form for CIFAR: `vgg_19` with 13 convolutions, 14,728,266 parameters.

    Args, Returns, Raises and Source are those of `vgg_19`.

    >>> import jax
    >>> from jaxticket.models import vgg_16
    >>> params, _ = jax.eval_shape(vgg_16(width_multiplier=0.125).init, jax.random.key(0))
    >>> sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    13
    """
    return _vgg("vgg_16", input_shape, classes, width_multiplier, initializer, lowering)


def vgg_11(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
    lowering: str | None = None,
) -> Model:
    """VGG-11 in the form for CIFAR: `vgg_19` with 8 convolutions, 9,231,114 parameters.

    Args, Returns, Raises and Source are those of `vgg_19`.

    >>> import jax
    >>> from jaxticket.models import vgg_11
    >>> params, _ = jax.eval_shape(vgg_11(width_multiplier=0.125).init, jax.random.key(0))
    >>> sum(leaf.ndim == 4 for leaf in jax.tree.leaves(params))
    8
    """
    return _vgg("vgg_11", input_shape, classes, width_multiplier, initializer, lowering)


def _vgg(
    caller: str,
    input_shape: Sequence[int],
    classes: int,
    width_multiplier: float,
    initializer: str | Initializer,
    lowering: str | None,
) -> Model:
    input_shape, classes = check_images(caller, input_shape, classes)
    stages = tuple(scale_widths(caller, stage, width_multiplier) for stage in _STAGES[caller])
    layers = check_layers(initializer, lowering)
    return from_linen(_Vgg(stages, classes, layers), input_shape)
