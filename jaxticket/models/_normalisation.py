"""Normalisation layers in float32, whatever the activations are."""

import jax
import jax.numpy as jnp
from flax import linen

from jaxticket.errors import TicketError


def batch_norm(x: jax.Array, train: bool, name: str) -> jax.Array:
    """Batch normalisation of the last axis: γ (x − mean) / sqrt(variance + 1e-5) + β.

    Training normalises by the batch's statistics and moves the running ones by a tenth of the
    difference; evaluation normalises by the running ones. Both are kept in "batch_stats".

    Args:
      x: `float[batch, ..., channels]`, inside of a module's compact method.
      train: whether the module trains.
      name: of the layer, with params "scale" (ones) and "bias" (zeros).

    Returns:
      The same shape and dtype.

    Raises:
      TicketError: training has one example, whose activations are its own mean.

    Source: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167.
    """
    if train and x.shape[0] == 1:
        raise TicketError(
            f"{name}: batch normalisation trains on x of shape {x.shape}, expected at least two "
            "examples in a batch: raise the batch size"
        )
    return _BatchNorm(name=name)(x.astype(jnp.float32), train).astype(x.dtype)


class _BatchNorm(linen.Module):
    """As `linen.BatchNorm`, written as one multiplication and one addition of each activation.

    x a + b with a = γ / sqrt(variance + ε) and b = β - mean a: its derivative then needs two sums
    over the batch and one pass, which takes 0.6 of the time on a CPU (docs/performance.md).
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @linen.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        channels = (x.shape[-1],)
        scale = self.param("scale", linen.initializers.ones, channels)
        bias = self.param("bias", linen.initializers.zeros, channels)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        running_variance = self.variable("batch_stats", "var", jnp.ones, channels)
        mean, variance = running_mean.value, running_variance.value
        if train:
            axes = tuple(range(x.ndim - 1))
            mean = jnp.mean(x, axes)
            variance = jnp.maximum(jnp.mean(x * x, axes) - mean * mean, 0.0)
            if not self.is_initializing():
                keep = self.momentum
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_variance.value = keep * running_variance.value + (1 - keep) * variance
        factor = jax.lax.rsqrt(variance + self.epsilon) * scale
        shift = bias - mean * factor
        spread = (1,) * (x.ndim - 1) + channels
        return x * factor.reshape(spread) + shift.reshape(spread)


def layer_norm(x: jax.Array, name: str) -> jax.Array:
    """Layer normalisation: γ (x − mean) / sqrt(variance + 1e-6) + β over the last axis.

    Args:
      x: `float[..., width]`, inside of a module's compact method.
      name: of the layer, with params "scale" (ones) and "bias" (zeros).

    Returns:
      The same shape and dtype.

    Source: Ba et al. 2016, https://arxiv.org/abs/1607.06450.
    """
    layer = linen.LayerNorm(epsilon=1e-6, dtype=jnp.float32, name=name)
    return layer(x.astype(jnp.float32)).astype(x.dtype)
