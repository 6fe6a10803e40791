"""Weights that are never trained: what they are drawn from."""

from typing import Any

import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, PRNGKeyArray

from jaxticket.keys import derive
from jaxticket.learned_masks.base import Initializer, draw_prunable, over_prunable
from jaxticket.masks.prunable import Prunable
from jaxticket.types import Params

KAIMING: Initializer = initializers.variance_scaling(2.0, "fan_in", "normal")
"""N(0, 2 / fan-in), uncut."""


def signed_constant(key: PRNGKeyArray, shape: Any, dtype: Any = jnp.float32) -> Array:
    """Draws ±σ, σ = √(2 / fan-in), with the signs of `KAIMING` under the same key.

    Args:
      key: a typed key.
      shape: (..., inputs, outputs).
      dtype: of the weights.

    Returns:
      The weights.

    Example:
      >>> import jax
      >>> signed_constant(jax.random.key(0), (2, 3))[0].tolist()
      [1.0, 1.0, -1.0]

    Source: "signed constant" of 1911.13299, section 4 (unverified), where σ is the standard
    deviation of the Kaiming normal initialisation.
    """
    drawn = KAIMING(key, shape, dtype)
    deviation = (2 / (drawn.size // shape[-1])) ** 0.5
    return jnp.where(drawn < 0, -deviation, deviation).astype(dtype)


def freeze(
    key: PRNGKeyArray, drawn: Params, prunable: Prunable, weights: Initializer | None
) -> Params:
    """Gives the weights to freeze: the network's own, or others where leaves are prunable.

    Args:
      key: a typed key.
      drawn: by the network.
      prunable: which leaves may be pruned.
      weights: draws them anew; `None` keeps the network's own.

    Returns:
      The weights.
    """
    if weights is None:
        return drawn
    new = draw_prunable(derive(key, "weights"), drawn, prunable, weights)
    return over_prunable(lambda old, one: one, drawn, new)
