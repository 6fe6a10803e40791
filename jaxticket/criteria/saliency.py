"""Criteria on what the loss would do without a weight, from its derivatives on some examples."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket.criteria.base import Criterion, Evidence, Read, check_reads, stateless
from jaxticket.keys import derive
from jaxticket.types import Params, Scores

Statistics = Literal["batch", "running"]
"""By which statistics batch normalisation normalises: those of the scoring examples, as in
training, or those in the model state, as in evaluation. Dropout is on with the former."""

NEEDED: tuple[Read, ...] = ("examples", "objective")
"""What criteria from the loss read."""


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
    return _from_gradient("snip", statistics, lambda g, p: jnp.abs(g * p))


def signed_snip(statistics: Statistics = "batch") -> Criterion:
    """Scores by signed connection sensitivity: −θ ⊙ ∂L/∂θ, how much the loss rises without θ.

    To first order: weights whose removal would lower the loss go first, where `snip` keeps them
    if they matter enough. For a network without biases whose activations are positively
    homogeneous (ReLU), the scores are conserved: those of the weights into a hidden unit sum to
    those of the weights out of it, so that all layers have the same sum.

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
      >>> float(signed_snip().score((), evidence)["w"])  # −3 · d(w²)/dw
      -18.0

    Source: the synaptic saliency of 2006.05467, section 4, whose R is the loss, with the sign of
    "skeletonization" (Mozer and Smolensky 1989, unverified).
    """
    return _from_gradient("signed_snip", statistics, lambda g, p: -g * p)


def taylor(statistics: Statistics = "batch") -> Criterion:
    """Scores by the squared first-order change of the loss: (θ ⊙ ∂L/∂θ)².

    Weight by weight it is the square of `snip` and ranks as that does. Summed over the weights of
    a unit or a block it does not: there one large change outweighs many small ones. Where |θ g|
    is below about 1e-19 the square is zero in float32, and such weights tie.

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
      >>> float(taylor().score((), evidence)["w"])  # (3 · d(w²)/dw)²
      324.0

    Source: 1906.10771, section 3.1 (section unverified).
    """
    return _from_gradient("taylor", statistics, lambda g, p: jnp.square(g * p))


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
    return _from_gradient("gradient_magnitude", statistics, lambda g, p: jnp.abs(g))


def mean_loss(
    who: str, evidence: Evidence, statistics: Statistics, temperature: float = 1.0
) -> Callable[[Params], Float[Array, ""]]:
    """Gives the mean loss over the scoring examples as a function of params.

    Args:
      who: the criterion's name, for messages.
      evidence: with `examples` and `objective`.
      statistics: by which batch normalisation normalises.
      temperature: what the network's outputs are divided by.

    Returns:
      `loss(params) -> float[]`.

    Raises:
      TicketError: naming what the evidence lacks.
    """
    check_reads(who, NEEDED, evidence)
    objective = evidence.objective
    assert objective is not None, "checked above"
    inputs, key = objective.prepare(evidence.examples), derive(evidence.key, "dropout")

    def loss(params: Params) -> Float[Array, ""]:
        outputs, _ = objective.apply(
            params, evidence.model_state, inputs, train=statistics == "batch", key=key
        )
        outputs = jax.tree.map(lambda output: output / temperature, outputs)
        return jnp.mean(objective.loss(outputs, evidence.examples))

    return loss


def _from_gradient(
    who: str, statistics: Statistics, worth: Callable[[Array, Array], Array]
) -> Criterion:
    """Makes a criterion that scores every weight by the loss's derivative and its value."""

    def score(evidence: Evidence) -> Scores:
        gradients = jax.grad(mean_loss(who, evidence, statistics))(evidence.final)
        return jax.tree.map(worth, gradients, evidence.final)

    return stateless(score, reads=NEEDED, name=who)
