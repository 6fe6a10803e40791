"""Criteria on how a weight changed between initialisation and the end of training."""

import jax.numpy as jnp

from jaxticket.criteria.base import Criterion, elementwise


def magnitude_increase() -> Criterion:
    """Scores by growth: |θ_T| − |θ_0|.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.array([1.0])}, jax.random.key(0))
      >>> magnitude_increase().score((), evidence)["w"].tolist()
      [-1.0]

    Source: "magnitude_increase" of 1905.01067.
    """
    return elementwise(lambda initial, final: jnp.abs(final) - jnp.abs(initial))


def movement() -> Criterion:
    """Scores by distance travelled from start to end: |θ_T − θ_0|.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.array([1.0])}, jax.random.key(0))
      >>> movement().score((), evidence)["w"].tolist()
      [3.0]

    Source: "movement" of 1905.01067.
    """
    return elementwise(lambda initial, final: jnp.abs(final - initial))
