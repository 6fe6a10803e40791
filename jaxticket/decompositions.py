"""Matrix decompositions that a population can batch."""

from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import sequential_vmap


def matrix_by_matrix(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes `vmap` of a function call LAPACK for one matrix after the other on CPUs.

    Where JAX 0.10 hands LAPACK a batch, it shares the batch out over XLA's threads and waits on one
    of them. Two such waits, of two devices or of two layers, hold both threads of two cores, and
    what they wait for has none left to run on: the program stands still for ever. JAX 0.12 does so
    no longer. Elsewhere batches are decomposed as batches.

    Args:
      function: of arrays of one network or one example, which are the same on every platform; it
        is not differentiated.

    Returns:
      The same function.

    Example:
      >>> import jax.numpy as jnp
      >>> determinant = matrix_by_matrix(jnp.linalg.det)
      >>> jax.vmap(determinant)(jnp.stack([jnp.eye(2), 2 * jnp.eye(2)])).tolist()
      [1.0, 4.0]
    """
    # Behind a lambda, which hides defaults that would become operands.
    alone = sequential_vmap(lambda *operands: function(*operands))
    return lambda *operands: jax.lax.platform_dependent(*operands, cpu=alone, default=function)
