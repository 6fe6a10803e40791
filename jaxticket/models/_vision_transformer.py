"""A vision transformer for small images, all of whose kernels are matrices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen
from jax.nn import initializers

from jaxticket.errors import TicketError, unknown
from jaxticket.models._arguments import positive_integer
from jaxticket.models._dropout import check_rate, dropout
from jaxticket.models._from_linen import from_linen
from jaxticket.models._initializers import Initializer
from jaxticket.models._normalisation import layer_norm
from jaxticket.models._options import Layers, check_images, check_layers, scale_widths
from jaxticket.types import Model

_POSITIONS = initializers.normal(0.02)
_POOLINGS = ("token", "mean")


class _Base(linen.Module):
    """Patches of an image as tokens, with their positions."""

    patch: int
    width: int
    pooling: str
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        rows, columns = height // self.patch, width // self.patch
        x = x.reshape((batch, rows, self.patch, columns, self.patch, channels))
        x = x.transpose(0, 1, 3, 2, 4, 5).reshape((batch, rows * columns, -1))
        x = linen.Dense(self.width, kernel_init=self.layers.initializer, name="embedding")(x)
        if self.pooling == "token":
            token = self.param("token", initializers.zeros, (1, 1, self.width))
            token = jnp.broadcast_to(token.astype(x.dtype), (batch, 1, self.width))
            x = jnp.concatenate([token, x], axis=1)
        positions = self.param("positions", _POSITIONS, (1, *x.shape[1:]))
        return x + positions


class _Attention(linen.Module):
    heads: int
    initializer: Initializer

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, tokens, width = x.shape
        key, query, value = (
            linen.Dense(width, kernel_init=self.initializer, name=name)(x).reshape(
                (batch, tokens, -1, width // self.heads)
            )
            for name in ("key", "query", "value")
        )
        # Heads may have been removed, so their number is that of the kernels.
        return jax.nn.dot_product_attention(query, key, value).reshape((batch, tokens, -1))


class _Block(linen.Module):
    heads: int
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array, train: bool, rate: float | jax.Array) -> jax.Array:
        initializer = self.layers.initializer
        width = x.shape[-1]

        def dense(x: jax.Array, width: int, name: str) -> jax.Array:
            return linen.Dense(width, kernel_init=initializer, name=name)(x)

        def drop(x: jax.Array) -> jax.Array:
            return dropout(x, rate, train)

        y = _Attention(self.heads, initializer, name="attention")(layer_norm(x, "norm_0"))
        # Not "output": patterns of paths mean the network's last layer by that name.
        x = x + drop(dense(y, width, "attention_projection"))
        y = drop(linen.gelu(dense(layer_norm(x, "norm_1"), 4 * width, "dense_0")))
        return x + drop(dense(y, width, "dense_1"))


class _VisionTransformer(linen.Module):
    patch: int
    width: int
    depth: int
    heads: int
    pooling: str
    classes: int
    layers: Layers

    @linen.compact
    def __call__(self, x: jax.Array, train: bool, dropout_rate: float | jax.Array) -> jax.Array:
        initializer = self.layers.initializer
        x = _Base(self.patch, self.width, self.pooling, self.layers, name="base")(x)
        x = dropout(x, dropout_rate, train)
        for number in range(self.depth):
            x = _Block(self.heads, self.layers, name=f"block_{number:02}")(x, train, dropout_rate)
        x = layer_norm(x, "norm")
        x = x[:, 0] if self.pooling == "token" else x.mean(1)
        return linen.Dense(self.classes, kernel_init=initializer, name="output")(x)


def vision_transformer_tiny(
    input_shape: Sequence[int] = (32, 32, 3),
    classes: int = 10,
    *,
    patch: int = 4,
    depth: int = 12,
    heads: int = 3,
    pooling: str = "token",
    width_multiplier: float = 1.0,
    dropout_rate: float | jax.Array = 0.0,
    initializer: str | Initializer = "glorot_uniform",
    lowering: str | None = None,
) -> Model:
    """The tiny vision transformer, 192 wide, on patches of 4 x 4 pixels.

    Blocks that normalise first: x + W_o attention(n(x)), then x + W_1 gelu(W_0 n(x)), the hidden
    layer four times as wide. On CIFAR-10 it has 5,362,762 parameters.

    Its params are "base" ("embedding", "positions", "token"), "block_00", ... ("attention" with
    "query", "key" and "value", "attention_projection", "dense_0", "dense_1", "norm_0",
    "norm_1"), "norm" and "output". All kernels have two axes. Positions are drawn from a normal
    of deviation 0.02; the token and the biases begin at zero.

    Args:
      input_shape: (height, width, channels) of one image, a multiple of `patch`.
      classes: the number of classes.
      patch: pixels down and across a patch.
      depth: the number of blocks.
      heads: of attention.
      pooling: what the output layer reads: "token", an additional first token, or "mean".
      width_multiplier: of the width, which is rounded to a multiple of `heads`.
      dropout_rate: share that training drops, in [0, 1), of the embedding and of the results of
        every dense layer but query, key and value; see `mlp`.
      initializer: of the kernels; see `mlp`.
      lowering: None or a name, as for all factories; there is no convolution.

    Returns:
      A `Model` from `float[batch, *input_shape]` to logits `float[batch, classes]`.

    Raises:
      TicketError: an option is out of range, or the patches do not cover the image.

    >>> import jax
    >>> from jaxticket.models import vision_transformer_tiny
    >>> params, _ = jax.eval_shape(vision_transformer_tiny().init, jax.random.key(0))
    >>> sum(leaf.size for leaf in jax.tree.leaves(params))
    5362762

    Source: Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929; the tiny width and heads
    are those of Touvron et al. 2021, table 1, https://arxiv.org/abs/2012.12877 (unverified).
    """
    name = "vision_transformer_tiny"
    shape, classes = check_images(name, input_shape, classes)
    sizes = {"patch": patch, "depth": depth, "heads": heads}
    patch, depth, heads = (positive_integer(name, *size) for size in sizes.items())
    if pooling not in _POOLINGS:
        raise unknown("pooling", pooling, _POOLINGS)
    if shape[0] % patch or shape[1] % patch:
        raise TicketError(f"{name}: patch={patch} does not divide {shape[0]} x {shape[1]} pixels")
    (width,) = scale_widths(name, (192,), width_multiplier, multiple_of=heads)
    layers = check_layers(initializer, lowering)
    rate = check_rate(name, dropout_rate)
    network = _VisionTransformer(patch, width, depth, heads, pooling, classes, layers)
    return from_linen(network, shape, arguments={"dropout_rate": rate})
