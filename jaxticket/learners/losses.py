"""What supervised training minimises: losses of logits and labels, one value an example."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxticket.errors import TicketError

Loss = Callable[[Float[Array, "n classes"], Int[Array, " n"]], Float[Array, " n"]]
"""`loss(logits, labels) -> float[n]`."""


def smoothed_cross_entropy(rate: Any) -> Loss:
    """Makes cross-entropy with smoothed labels: −Σ_c q_c log softmax(z)_c.

    q is 1 − ε + ε/K at the label and ε/K at the other K − 1 classes. A learner evaluates with
    the loss that it trains with, so validation losses are smoothed too.

    Args:
      rate: ε, in [0, 1); cross-entropy itself at 0. A scalar array, which may be traced, is not
        checked.

    Returns:
      The loss.

    Raises:
      TicketError: for another number.

    Example:
      >>> loss = smoothed_cross_entropy(0.1)
      >>> round(float(loss(jnp.zeros((1, 4)), jnp.array([2]))[0]), 4)  # log 4 at any rate
      1.3863

    Source: 1512.00567, section 7 (unverified).
    """
    if isinstance(rate, int | float) and not 0.0 <= rate < 1.0:
        raise TicketError(f"label smoothing: got rate {rate}, expected 0 to less than 1")

    def loss(logits: Float[Array, "n classes"], labels: Int[Array, " n"]) -> Float[Array, " n"]:
        hard = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        uniform = -jnp.mean(jax.nn.log_softmax(logits, axis=-1), axis=-1)
        return (1.0 - rate) * hard + rate * uniform

    return loss
