"""A deep and narrow perceptron, for questions of stability that small machines can ask."""

from collections.abc import Sequence

import jax
from flax import linen

from jaxticket.models._arguments import positive_integer, positive_integers
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer, find_initializer
from jaxticket.models._normalisation import batch_norm
from jaxticket.models._options import scale_widths
from jaxticket.types import Model


class _DeepPerceptron(linen.Module):
    widths: tuple[int, ...]
    classes: int
    initializer: Initializer

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        x = x.reshape((x.shape[0], -1))
        for layer, width in enumerate(self.widths):
            x = linen.Dense(
                width, use_bias=False, kernel_init=self.initializer, name=f"hidden_{layer}"
            )(x)
            x = linen.relu(batch_norm(x, train, f"norm_{layer}"))
        return linen.Dense(self.classes, kernel_init=self.initializer, name="output")(x)


def deep_mlp(
    input_shape: Sequence[int] = (28, 28, 1),
    classes: int = 10,
    *,
    width_multiplier: float = 1.0,
    initializer: str | Initializer = "kaiming_normal",
) -> Model:
    """Eight hidden layers of 64 with batch normalisation: deep, narrow and cheap.

    At high learning rates its training is unstable at initialisation, as that of residual
    networks on larger images is, at a hundredth of their cost. It is this project's own; no
    paper has numbers for it.

    Its params are "hidden_0", "norm_0", ..., "output"; its model state is
    `{"batch_stats": ...}`.

    Args:
      input_shape: the shape of one image, without the batch axis.
      classes: the number of classes.
      width_multiplier: of all hidden layers.
      initializer: of the kernels; see `mlp`.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float[batch, classes]`.

    Raises:
      TicketError: a size is not a positive integer, or the initializer's name is unknown.

    >>> import jax
    >>> from jaxticket.models import deep_mlp
    >>> params, _ = jax.eval_shape(deep_mlp().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
    79488
    """
    input_shape = positive_integers("deep_mlp", "input_shape", input_shape)
    classes = positive_integer("deep_mlp", "classes", classes)
    widths = scale_widths("deep_mlp", (64,) * 8, width_multiplier)
    return from_linen(_DeepPerceptron(widths, classes, find_initializer(initializer)), input_shape)
