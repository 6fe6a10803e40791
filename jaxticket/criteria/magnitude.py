"""Criteria on how large a weight is, at the end or at the beginning of training."""

import jax.numpy as jnp

from jaxticket.criteria.base import Criterion, elementwise


def magnitude() -> Criterion:
    """Scores by final magnitude: |θ_T| ("large_final").

    No layer is normalised: under global allocation raw magnitudes of all layers are compared.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.ones(2)}, {"w": jnp.array([1.0, -3.0])}, jax.random.key(0))
      >>> magnitude().score((), evidence)["w"].tolist()
      [1.0, 3.0]

    Source: 1803.03635, section 1; "large_final" of 1905.01067.
    """
    return elementwise(lambda initial, final: jnp.abs(final), reads=(), name="magnitude")


def magnitude_at_initialization() -> Criterion:
    """Scores by initial magnitude: |θ_0| ("large_init").

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.zeros(1)}, jax.random.key(0))
      >>> magnitude_at_initialization().score((), evidence)["w"].tolist()
      [2.0]

    Source: "large_init" of 1905.01067; "magnitude" at initialisation of 2009.08576.
    """
    return elementwise(lambda initial, final: jnp.abs(initial), name="magnitude_at_initialization")


def large_initial_large_final() -> Criterion:
    """Scores by the smaller of both magnitudes: min(|θ_0|, |θ_T|).

    Keeping the top k keeps exactly the weights with |θ_0| > t and |θ_T| > t for the one
    threshold t that leaves k of them.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.ones(1)}, jax.random.key(0))
      >>> large_initial_large_final().score((), evidence)["w"].tolist()
      [1.0]

    Source: "large_init_large_final" of 1905.01067.
    """
    return elementwise(
        lambda initial, final: jnp.minimum(jnp.abs(initial), jnp.abs(final)),
        name="large_initial_large_final",
    )


def small_initial_small_final() -> Criterion:
    """Scores by the larger of both magnitudes, negated: −max(|θ_0|, |θ_T|).

    Keeping the top k keeps exactly the weights with |θ_0| < t and |θ_T| < t for the one
    threshold t that leaves k of them.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.ones(1)}, jax.random.key(0))
      >>> small_initial_small_final().score((), evidence)["w"].tolist()
      [-2.0]

    Source: "small_init_small_final" of 1905.01067.
    """
    return elementwise(
        lambda initial, final: -jnp.maximum(jnp.abs(initial), jnp.abs(final)),
        name="small_initial_small_final",
    )


def large_final_same_sign() -> Criterion:
    """Scores by final magnitude along the initial sign: sign(θ_0) θ_T.

    Weights that changed sign rank below all that kept it, the smallest of them first. The
    paper's max(0, ·) ties them all at zero, which would leave their order to their place in
    the array.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence(
      ...     {"w": jnp.array([-2.0, 1.0])}, {"w": jnp.array([-3.0, -1.0])}, jax.random.key(0)
      ... )
      >>> large_final_same_sign().score((), evidence)["w"].tolist()
      [3.0, -1.0]

    Source: "large_final_same_sign" of 1905.01067, section 5 (tie order ours).
    """
    return elementwise(
        lambda initial, final: jnp.sign(initial) * final, name="large_final_same_sign"
    )
