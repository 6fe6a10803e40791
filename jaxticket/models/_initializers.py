"""Initialisers of kernels, by name."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers

from jaxticket.decompositions import matrix_by_matrix
from jaxticket.errors import unknown

Initializer = Callable[..., jax.Array]


def _orthogonal(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    drawn = matrix_by_matrix(lambda key: initializers.orthogonal()(key, shape, dtype))
    return drawn(key)


_INITIALIZERS: dict[str, Initializer] = {
    "glorot_gaussian": initializers.variance_scaling(1.0, "fan_avg", "normal"),
    "glorot_normal": initializers.glorot_normal(),
    "glorot_uniform": initializers.glorot_uniform(),
    "kaiming_gaussian": initializers.variance_scaling(2.0, "fan_in", "normal"),
    "kaiming_normal": initializers.kaiming_normal(),
    "kaiming_uniform": initializers.kaiming_uniform(),
    "lecun_normal": initializers.lecun_normal(),
    "lecun_uniform": initializers.lecun_uniform(),
    "orthogonal": _orthogonal,
}


def find_initializer(initializer: str | Initializer) -> Initializer:
    """The initialiser of a name, or the function that was given.

    The names are those of `jax.nn.initializers`, whose "_normal" are cut at two standard
    deviations and rescaled to their variance; "_gaussian" is the same variance without the cut.

    Args:
      initializer: a name, or a function `(key, shape, dtype) -> array`.

    Returns:
      A function `(key, shape, dtype) -> array`.

    Raises:
      TicketError: the name is unknown.

    >>> find_initializer("glorot_norml")
    Traceback (most recent call last):
        ...
    jaxticket.errors.TicketError: unknown initializer 'glorot_norml': did you mean 'glorot_normal'
    or 'glorot_uniform' or 'glorot_gaussian'? Valid: glorot_gaussian, glorot_normal, glorot_uniform,
    kaiming_gaussian, kaiming_normal, kaiming_uniform, lecun_normal, lecun_uniform, orthogonal
    """
    if callable(initializer):
        return initializer
    if initializer in _INITIALIZERS:
        return _INITIALIZERS[initializer]
    raise unknown("initializer", initializer, _INITIALIZERS)
