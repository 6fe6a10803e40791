"""Criteria on what the loss would do without a weight, from its derivatives on some examples."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket.criteria.base import Criterion, Evidence, check_reads, stateless
from jaxticket.keys import derive
from jaxticket.types import Params, Scores

Statistics = Literal["batch", "running"]
"""By which statistics batch normalisation normalises: those of the scoring examples, as in
training, or those in the model state, as in evaluation. Dropout is on with the former."""


def snip(statistics: Statistics = "batch") -> Criterion:
    """Scores by connection sensitivity: |θ ⊙ ∂L/∂θ| = |∂L(m ⊙ θ)/∂m| at m = 1.

    The paper divides by the sum over all weights, which changes no order and is left out.

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
      >>> float(snip().score((), evidence)["w"])  # |3 · d(w²)/dw|
      18.0

    Source: 1810.02340, section 4.1.
    """

    def score(evidence: Evidence) -> Scores:
        gradients = jax.grad(mean_loss("snip", evidence, statistics))(evidence.final)
        return jax.tree.map(lambda g, p: jnp.abs(g * p), gradients, evidence.final)

    return stateless(score, reads=("examples", "objective"))


def mean_loss(
    who: str, evidence: Evidence, statistics: Statistics
) -> Callable[[Params], Float[Array, ""]]:
    """Gives the mean loss over the scoring examples as a function of params.

    Args:
      who: the criterion's name, for messages.
      evidence: with `examples` and `objective`.
      statistics: by which batch normalisation normalises.

    Returns:
      `loss(params) -> float[]`.

    Raises:
      TicketError: naming what the evidence lacks.
    """
    check_reads(who, ("examples", "objective"), evidence)
    objective = evidence.objective
    assert objective is not None, "checked above"
    inputs, key = objective.prepare(evidence.examples), derive(evidence.key, "dropout")

    def loss(params: Params) -> Float[Array, ""]:
        outputs, _ = objective.apply(
            params, evidence.model_state, inputs, train=statistics == "batch", key=key
        )
        return jnp.mean(objective.loss(outputs, evidence.examples))

    return loss
