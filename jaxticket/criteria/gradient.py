"""Criteria on where the loss is steepest."""

import jax
import jax.numpy as jnp

from jaxticket.criteria.base import Criterion, Evidence, stateless
from jaxticket.criteria.saliency import Statistics, mean_loss
from jaxticket.types import Scores


def gradient_magnitude(statistics: Statistics = "batch") -> Criterion:
    """Scores by the steepness of the loss, also where a weight is pruned: |∂L/∂θ|.

    Args:
      statistics: by which batch normalisation normalises.

    Returns:
      The criterion; it reads `examples` and `objective`.

    Example:
      >>> from jaxticket.types import Objective
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> evidence = Evidence(
      ...     {}, {"w": jnp.float32(3.0)}, jax.random.key(0), None, {}, jnp.ones(2), squares
      ... )
      >>> float(gradient_magnitude().score((), evidence)["w"])  # |d(w²)/dw|
      6.0

    Source: what RigL grows by, 1911.11134, section 3.
    """

    def score(evidence: Evidence) -> Scores:
        loss = mean_loss("gradient_magnitude", evidence, statistics)
        return jax.tree.map(jnp.abs, jax.grad(loss)(evidence.final))

    return stateless(score, reads=("examples", "objective"))
