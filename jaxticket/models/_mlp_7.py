"""Seven dense layers, with ReLUs or without any: the networks of questions about isometry."""

from collections.abc import Callable, Sequence
from typing import Any

from flax import linen

from jaxticket.models._arguments import positive_integer, positive_integers
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer, find_initializer
from jaxticket.models._mlp import Perceptron
from jaxticket.models._options import scale_widths
from jaxticket.types import Model


def mlp_7(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
) -> Model:
    """MLP-7-ReLU: six hidden layers of 100 with ReLUs and biases, and no normalisation.

    Args:
      input_shape: the shape of one image, without the batch axis.
      classes: the number of classes.
      width_multiplier: of all hidden layers.
      initializer: of the kernels; see `mlp`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float32[batch, classes]`.

    Raises:
      TicketError: a size is not a positive integer.

    >>> import jax
    >>> from jaxticket.models import mlp_7
    >>> params, _ = jax.eval_shape(mlp_7().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
    129400

    Source: 2105.05916, section 4; its widths and its initialisation are unverified.
    """
    return _seven("mlp_7", input_shape, classes, width_multiplier, initializer, linen.relu)


def linear_mlp_7(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "lecun_normal",
) -> Model:
    """MLP-7-Linear: `mlp_7` without its ReLUs, whose Jacobian is the product of its kernels.

    Args:
      input_shape: the shape of one image, without the batch axis.
      classes: the number of classes.
      width_multiplier: of all hidden layers.
      initializer: of the kernels; see `mlp`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float32[batch, classes]`.

    Raises:
      TicketError: a size is not a positive integer.

    >>> import jax
    >>> from jaxticket.models import linear_mlp_7
    >>> params, _ = jax.eval_shape(linear_mlp_7(width_multiplier=0.1).init, jax.random.key(0))
    >>> params["hidden_5"]["kernel"].shape
    (10, 10)

    Source: 2105.05916, section 4; its widths and its initialisation are unverified.
    """
    keep = lambda x: x  # noqa: E731
    return _seven("linear_mlp_7", input_shape, classes, width_multiplier, initializer, keep)


def _seven(
    caller: str,
    input_shape: Sequence[int],
    classes: int,
    multiplier: float,
    initializer: str | Initializer,
    activation: Callable[[Any], Any],
) -> Model:
    classes = positive_integer(caller, "classes", classes)
    input_shape = positive_integers(caller, "input_shape", input_shape)
    widths = scale_widths(caller, (100,) * 6, multiplier)
    module = Perceptron(widths, classes, find_initializer(initializer), activation)
    return from_linen(module, input_shape, arguments={"dropout_rate": 0.0})
