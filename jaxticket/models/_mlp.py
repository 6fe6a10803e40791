"""Fully connected networks."""

from collections.abc import Callable, Sequence

import jax
from flax import linen

from jaxticket.models._arguments import positive_integer, positive_integers
from jaxticket.models._dropout import check_rate, dropout
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer, find_initializer
from jaxticket.models._options import scale_widths
from jaxticket.types import Model


class Perceptron(linen.Module):
    """Dense layers, an activation after each but the last."""

    widths: tuple[int, ...]
    outputs: int
    initializer: Initializer
    activation: Callable[[jax.Array], jax.Array] = linen.relu

    @linen.compact
    def __call__(self, x: jax.Array, train: bool, dropout_rate: float | jax.Array) -> jax.Array:
        x = x.reshape((x.shape[0], -1))
        # Dicts flatten in the order of their names: padded, that is the order of the layers.
        digits = len(str(len(self.widths) - 1))
        for layer, width in enumerate(self.widths):
            name = f"hidden_{layer:0{digits}}"
            x = self.activation(linen.Dense(width, kernel_init=self.initializer, name=name)(x))
            x = dropout(x, dropout_rate, train)
        return linen.Dense(self.outputs, kernel_init=self.initializer, name="output")(x)


def mlp(
    input_shape: Sequence[int] = (28, 28, 1),
    widths: Sequence[int] = (300, 100),
    outputs: int = 10,
    *,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_normal",
) -> Model:
    """A fully connected network with ReLUs, on its flattened input.

    Its params are `{"hidden_0": {"kernel", "bias"}, ..., "output": {"kernel", "bias"}}`,
    kernels `float32[inputs, outputs]`, biases zero. From eleven hidden layers on, the numbers
    are padded ("hidden_00"), so that leaves stay in the order of the layers.

    "glorot_normal" is JAX's: a normal of variance 2 / (inputs + outputs), cut at two standard
    deviations and rescaled to that variance. The lottery ticket paper says "Gaussian Glorot";
    its code draws TensorFlow's truncated normal, of a standard deviation 0.3 % larger.
    "glorot_gaussian" is the same variance without the cut. The other names are those of
    `jax.nn.initializers`, whose "_normal" are all truncated in the same way.

    Args:
      input_shape: the shape of one example, without the batch axis.
      widths: the widths of the hidden layers; `()` is a linear classifier.
      outputs: the number of outputs.
      dropout_rate: share of each hidden layer that training drops, in [0, 1): a number, or a
        scalar of JAX, unchecked, for networks that differ in it within one compiled program.
      initializer: of the kernels: "glorot_gaussian", "glorot_normal", "glorot_uniform",
        "kaiming_gaussian", "kaiming_normal", "kaiming_uniform", "lecun_normal",
        "lecun_uniform", "orthogonal", or a function `(key, shape, dtype) -> array`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to `float32[batch, outputs]`.

    Raises:
      TicketError: a size is not a positive integer, the rate is outside [0, 1), or the
        initializer's name is unknown.

    >>> import jax
    >>> from jaxticket.models import mlp
    >>> params, model_state = mlp((8, 8, 1), widths=(16,)).init(jax.random.key(0))
    >>> params["hidden_0"]["kernel"].shape, params["output"]["kernel"].shape, model_state
    ((64, 16), (16, 10), {})

    Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html.
    """
    outputs = positive_integer("mlp", "outputs", outputs)
    input_shape = positive_integers("mlp", "input_shape", input_shape)
    widths = positive_integers("mlp", "widths", widths)
    rate = check_rate("mlp", dropout_rate)
    network = Perceptron(widths, outputs, find_initializer(initializer))
    return from_linen(network, input_shape, arguments={"dropout_rate": rate})


def lenet_300_100(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_normal",
) -> Model:
    """The fully connected LeNet, hidden layers of 300 and 100, of the lottery ticket paper.

    On MNIST it has 266,610 parameters, 266,200 of them weights.

    Args:
      input_shape: the shape of one image, without the batch axis.
      classes: the number of classes.
      width_multiplier: of both hidden layers.
      dropout_rate: share of each hidden layer that training drops, in [0, 1); see `mlp`.
      initializer: of the kernels; see `mlp`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float32[batch, classes]`.

    Raises:
      TicketError: a size is not a positive integer, or the rate is outside [0, 1).

    >>> import jax
    >>> from jaxticket.models import lenet_300_100
    >>> params, _ = jax.eval_shape(lenet_300_100().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    266610

    Source: Frankle and Carbin 2019, figure 2, https://arxiv.org/abs/1803.03635; the network
    is from LeCun et al. 1998, https://doi.org/10.1109/5.726791.
    """
    input_shape = positive_integers("lenet_300_100", "input_shape", input_shape)
    classes = positive_integer("lenet_300_100", "classes", classes)
    rate = check_rate("lenet_300_100", dropout_rate)
    widths = scale_widths("lenet_300_100", (300, 100), width_multiplier)
    return mlp(input_shape, widths, classes, dropout_rate=rate, initializer=initializer)
