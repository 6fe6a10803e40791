"""Dropout at a rate that may be traced, so that a population may have one rate a network."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen
from jax import lax

from jaxticket.errors import TicketError


def check_rate(caller: str, rate: Any) -> float | jax.Array:
    """A factory's `dropout_rate`, checked as far as it is known before the program runs.

    Args:
      caller: the factory's name, for the error.
      rate: a number in [0, 1), or a scalar of JAX, whose value is not checked.

    Returns:
      The rate, a Python float or the array given.

    Raises:
      TicketError: a number is outside [0, 1), or an array is no floating-point scalar.

    >>> check_rate("conv_2", 1.0)
    Traceback (most recent call last):
        ...
    jaxticket.errors.TicketError: conv_2: dropout_rate=1.0, expected a share in [0, 1)
    """
    if isinstance(rate, jax.Array):
        if rate.ndim or not jnp.issubdtype(rate.dtype, jnp.floating):
            raise TicketError(
                f"{caller}: dropout_rate of shape {rate.shape} and dtype {rate.dtype}, expected a "
                "floating-point scalar: make the network of each rate inside vmap or lax.map"
            )
        return rate
    number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not (number and np.isreal(rate) and 0 <= rate < 1):
        raise TicketError(f"{caller}: dropout_rate={rate!r}, expected a share in [0, 1)")
    return float(rate)


def dropout(x: jax.Array, rate: float | jax.Array, train: bool) -> jax.Array:
    """Dropout: x b / (1 − rate) in training, b ~ Bernoulli(1 − rate) for every entry; else x.

    A number gives the bits of `linen.Dropout`, at the same place of the same module. A scalar
    of JAX, `float32[]`, gives the bits of the number that it equals where both are compiled; the
    `float32` next to 0.6 is not the number 0.6, and may differ from it in the last place. At
    the number 0 nothing is drawn and no key is needed; at a traced 0 the result is x.

    Args:
      x: `float[...]`, inside of a module's compact method.
      rate: in [0, 1). An argument and not a module's field: fields are compared and hashed.
      train: whether the module trains.

    Returns:
      The same shape and dtype.

    Raises:
      flax.errors.InvalidRngError: the module has no stream "dropout"; `from_linen` explains it.

    Source: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html (which scales
    in evaluation instead).
    """
    return Dropout()(x, rate, train)


# Flax derives a layer's stream from its name: "Dropout_0" is also that of `linen.Dropout`.
class Dropout(linen.Module):
    """The layer of `dropout`."""

    @linen.compact
    def __call__(self, x: jax.Array, rate: float | jax.Array, train: bool) -> jax.Array:
        traced = isinstance(rate, jax.Array)
        if not train or (not traced and rate == 0):
            return x
        # The precision in which JAX reads a number.
        share = 1.0 - (rate.astype(float) if traced else rate)
        kept = jax.random.bernoulli(self.make_rng("dropout"), share, x.shape)
        return lax.select(kept, _divide(x, share), jnp.zeros_like(x))


def _divide(x: jax.Array, share: float | jax.Array) -> jax.Array:
    if not isinstance(share, jax.Array):
        return x / share
    # XLA divides by a constant in this way, and by a scalar only where it has no other use.
    return x * (1.0 / share.astype(x.dtype))
