"""Small convolutional networks without normalisation: LeNet-5, Conv-2, Conv-4 and Conv-6."""

from collections.abc import Sequence

import jax
from flax import linen

from jaxticket.models._arguments import positive_integers
from jaxticket.models._convolution import Convolution
from jaxticket.models._dropout import check_rate, dropout
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer
from jaxticket.models._options import Layers, check_images, check_layers, scale_widths
from jaxticket.models._pooling import max_pool
from jaxticket.types import Model


class _Convnet(linen.Module):
    stages: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    classes: int
    layers: Layers
    kernel_size: tuple[int, int] = (3, 3)
    paddings: tuple[str, ...] = ("SAME",)

    @linen.compact
    def __call__(self, x: jax.Array, train: bool, dropout_rate: float | jax.Array) -> jax.Array:
        initializer, lowering = self.layers
        number = 0
        for stage in self.stages:
            for features in stage:
                x = Convolution(
                    features,
                    self.kernel_size,
                    padding=self.paddings[min(number, len(self.paddings) - 1)],
                    kernel_init=initializer,
                    lowering=lowering,
                    name=f"convolution_{number}",
                )(x)
                x = linen.relu(x)
                number += 1
            x = max_pool(x, (2, 2))
        x = x.reshape((x.shape[0], -1))
        for layer, width in enumerate(self.widths):
            x = linen.relu(linen.Dense(width, kernel_init=initializer, name=f"dense_{layer}")(x))
            x = dropout(x, dropout_rate, train)
        return linen.Dense(self.classes, kernel_init=initializer, name="output")(x)


def lenet_5(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    *,
    channels: Sequence[int] = (6, 16),
    widths: Sequence[int] = (120, 84),
    padding: str = "SAME",
    width_multiplier: float = 1.0,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_normal",
    lowering: str | None = None,
) -> Model:
    """The convolutional LeNet, with ReLUs and max pooling as is usual today.

    Two 5 x 5 convolutions, each with a 2 x 2 pool, then dense layers. On MNIST it has 61,706
    parameters. Caffe's LeNet-5, that of SNIP and much of the pruning literature, is
    `lenet_5(channels=(20, 50), widths=(500,), padding="VALID")`: 431,080 parameters.

    Its params are "convolution_0", "convolution_1", "dense_0", ..., "output".

    Args:
      input_shape: (height, width, channels) of one image.
      classes: the number of classes.
      channels: of the convolutions, each with a pool.
      widths: of the hidden dense layers.
      padding: of the first convolution, "SAME" or "VALID"; those that follow have none.
      width_multiplier: of all hidden layers.
      dropout_rate: share of each hidden dense layer that training drops, in [0, 1); see `mlp`.
      initializer: of the kernels; see `mlp`.
      lowering: of the convolutions; see `convolve`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float[batch, classes]`.

    Raises:
      TicketError: an option is out of range, or the images are too small for the pools.

    >>> import jax
    >>> from jaxticket.models import lenet_5
    >>> params, _ = jax.eval_shape(lenet_5().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    61706

    Source: LeCun et al. 1998, https://doi.org/10.1109/5.726791, section II.B, which has tanh,
    trainable averages and a sparse second layer in the places of ours; Caffe's from SNIP,
    https://arxiv.org/abs/1810.02340 (unverified).
    """
    input_shape, classes = check_images("lenet_5", input_shape, classes)
    hidden = (
        scale_widths("lenet_5", positive_integers("lenet_5", name, given), width_multiplier)
        for name, given in (("channels", channels), ("widths", widths))
    )
    layers = check_layers(initializer, lowering)
    rate = check_rate("lenet_5", dropout_rate)
    convolutions, dense = hidden
    stages = tuple((features,) for features in convolutions)
    network = _Convnet(stages, dense, classes, layers, (5, 5), (padding, "VALID"))
    return from_linen(network, input_shape, arguments={"dropout_rate": rate})


def conv_2(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_normal",
    lowering: str | None = None,
) -> Model:
    """Conv-2 of the lottery ticket paper: two 3 x 3 convolutions of 64, a pool, 256, 256.

    On CIFAR-10 it has 4,300,992 weights, 38,592 of them in convolutions. Its params are
    "convolution_0", "convolution_1", "dense_0", "dense_1" and "output"; biases begin at zero.

    The paper trains it with Adam at 2e-4 and prunes convolutions and the output layer by 10 %
    a level, dense layers by 20 %.

    Args:
      input_shape: (height, width, channels) of one image.
      classes: the number of classes.
      width_multiplier: of all hidden layers.
      dropout_rate: share of each hidden dense layer that training drops, in [0, 1); see `mlp`.
        The paper has 0.5 and does not say where (unverified).
      initializer: of the kernels; see `mlp`.
      lowering: of the convolutions; see `convolve`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float[batch, classes]`.

    Raises:
      TicketError: an option is out of range, or the images are too small for the pools.

    >>> import jax
    >>> from jaxticket.models import conv_2
    >>> params, _ = jax.eval_shape(conv_2().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
    4300992

    Source: Frankle and Carbin 2019, figure 2, https://arxiv.org/abs/1803.03635.
    """
    layers = check_layers(initializer, lowering)
    return _convnet(
        "conv_2", ((64, 64),), input_shape, classes, width_multiplier, dropout_rate, layers
    )


def conv_4(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_normal",
    lowering: str | None = None,
) -> Model:
    """Conv-4 of the lottery ticket paper: `conv_2` with two more convolutions, of 128, a pool.

    On CIFAR-10 it has 2,425,024 weights, 259,776 of them in convolutions. The paper trains it
    with Adam at 3e-4 and prunes it as `conv_2`.

    Args, Returns, Raises and Source are those of `conv_2`.

    >>> import jax
    >>> from jaxticket.models import conv_4
    >>> list(jax.eval_shape(conv_4(width_multiplier=0.125).init, jax.random.key(0))[0])[2:5]
    ['convolution_2', 'convolution_3', 'dense_0']
    """
    layers = check_layers(initializer, lowering)
    stages = (64, 64), (128, 128)
    return _convnet("conv_4", stages, input_shape, classes, width_multiplier, dropout_rate, layers)


def conv_6(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_normal",
    lowering: str | None = None,
) -> Model:
    """Conv-6 of the lottery ticket paper: `conv_4` with two more convolutions, of 256, a pool.

    On CIFAR-10 it has 2,261,184 weights, 1,144,512 of them in convolutions; the paper's table
    says 1.7 million. The paper trains it with Adam at 3e-4 and prunes convolutions by 15 % a
    level, dense layers by 20 % and the output layer by 10 %.

    Args, Returns, Raises and Source are those of `conv_2`.

    >>> import jax
    >>> from jaxticket.models import conv_6
    >>> list(jax.eval_shape(conv_6(width_multiplier=0.125).init, jax.random.key(0))[0])[4:7]
    ['convolution_4', 'convolution_5', 'dense_0']
    """
    layers = check_layers(initializer, lowering)
    stages = (64, 64), (128, 128), (256, 256)
    return _convnet("conv_6", stages, input_shape, classes, width_multiplier, dropout_rate, layers)


def _convnet(
    caller: str,
    stages: tuple[tuple[int, ...], ...],
    input_shape: Sequence[int],
    classes: int,
    width_multiplier: float,
    dropout_rate: float | jax.Array,
    layers: Layers,
) -> Model:
    rate = check_rate(caller, dropout_rate)
    input_shape, classes = check_images(caller, input_shape, classes)
    stages = tuple(scale_widths(caller, stage, width_multiplier) for stage in stages)
    widths = scale_widths(caller, (256, 256), width_multiplier)
    network = _Convnet(stages, widths, classes, layers)
    return from_linen(network, input_shape, arguments={"dropout_rate": rate})
