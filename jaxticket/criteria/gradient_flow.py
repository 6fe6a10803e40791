"""Criteria on how fast a network would learn without a weight."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxticket import masks
from jaxticket.criteria.base import Criterion, Evidence, stateless
from jaxticket.criteria.saliency import NEEDED, Statistics, mean_loss
from jaxticket.errors import TicketError
from jaxticket.types import Params, Scores


def grasp(temperature: float = 200.0, statistics: Statistics = "batch") -> Criterion:
    """Scores by preserved gradient flow: θ ⊙ H g, with g = ∂L/∂θ and H = ∂²L/∂θ².

    The gradient flow ‖g‖² of a network without weight q changes by −2 θ_q (H g)_q to first order:
    weights whose removal raises it most go first. Weights that are pruned already do not train
    and take no part in g; biases and all else that is not prunable do.

    The authors' code leaves biases out of g, and computes H g in two halves of the batch to save
    memory (unverified); here it is one product with all examples.

    Args:
      temperature: what the network's outputs are divided by before the loss, above 0.
      statistics: by which batch normalisation normalises.

    Returns:
      The criterion; it reads `examples` and `objective`.

    Raises:
      TicketError: for a temperature that is not positive.

    Example:
      >>> from jaxticket.types import Objective
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> evidence = Evidence(
      ...     {}, {"w": jnp.float32(3.0)}, jax.random.key(0), None, {}, jnp.ones(2), squares
      ... )
      >>> float(grasp(temperature=1.0).score((), evidence)["w"])  # w · (w²)'' · (w²)'
      36.0

    Source: 2002.07376, section 4 and algorithm 1; temperature 200 is that of the authors' code.
    """
    if not temperature > 0:
        raise TicketError(f"grasp: got temperature {temperature}, expected more than 0")

    def score(evidence: Evidence) -> Scores:
        gradient = jax.grad(mean_loss("grasp", evidence, statistics, temperature))
        flow = _training(gradient(evidence.final), evidence.mask)
        _, product = jax.jvp(gradient, (evidence.final,), (flow,))
        return jax.tree.map(jnp.multiply, evidence.final, product)

    return stateless(score, reads=NEEDED, name="grasp")


def _training(gradients: Params, mask: Any) -> Params:
    return gradients if mask is None else masks.apply(gradients, mask)
