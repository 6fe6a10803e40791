"""Criteria on a weight's share of the paths through a network, whatever the data."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxticket.criteria.base import Criterion, Evidence, check_reads, stateless
from jaxticket.criteria.combined import iterative
from jaxticket.criteria.saliency import NEEDED
from jaxticket.errors import TicketError
from jaxticket.types import Params, Scores


def synflow(rounds: int = 100, scale: float = 1.0) -> Criterion:
    """Scores by synaptic flow: θ ⊙ ∂R/∂θ with R = 1ᵀ f(1; |θ|), without data.

    R sums the outputs for an input of ones of the network whose params and model state are
    replaced by their absolute values, in evaluation mode. For a network of kernels and ReLUs it
    is Σ over all paths of the product of their weights' magnitudes, so every hidden unit's
    incoming scores sum to its outgoing ones, every layer's sum is R, and pruning in rounds
    empties no layer while another has weights to spare.

    R grows by a factor a layer and can leave the range of float32, where the authors compute in
    float64: at its initialisation it is 3e25 for `resnet_20` and 5e27 for `vgg_19`, of the 3e38
    that float32 can hold. `scale` then brings it back: the input is `scale` instead of one and so
    are the weights of the sum, which multiplies all scores by scale² if the network is positively
    homogeneous (residual sums and normalisation with zero shifts are, biases are not).

    Args:
      rounds: in how many rounds a pruning is made, exponentially.
      scale: of input and outputs, above 0; a power of two changes no bit of the order.

    Returns:
      The criterion; of `examples` it reads the shapes, of `objective` the network. Scores that
      are not finite raise a `TicketError` where they are concrete. Where they are
      traced, as in the rounds of `prune`, they stay, and the allocation ranks NaN lowest;
      `find_tickets` counts and refuses them.

    Raises:
      TicketError: for a scale that is not positive, or fewer than one round.

    Example:
      >>> from jaxticket.types import Objective
      >>> linear = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["a"] @ p["b"], s), None)
      >>> params = {"a": jnp.array([[-2.0], [3.0]]), "b": jnp.array([[0.5, -1.0]])}
      >>> evidence = Evidence(params, params, jax.random.key(0), None, {}, jnp.ones((9, 2)), linear)
      >>> scores = synflow().score((), evidence)
      >>> scores["a"].tolist(), scores["b"].tolist()
      ([[3.0], [4.5]], [[2.5, 5.0]])

    Source: 2006.05467, sections 4 to 6 and algorithm 1; 100 rounds are those of the authors' code.
    """
    if not scale > 0:
        raise TicketError(f"synflow: got scale {scale}, expected more than 0")

    def score(evidence: Evidence) -> Scores:
        flow = _flow(evidence, scale)
        size = jax.tree.map(jnp.abs, evidence.final)
        scores = jax.tree.map(jnp.multiply, size, jax.grad(flow)(size))
        _check_finite(scores, scale)
        return scores

    return iterative(stateless(score, reads=NEEDED, name="synflow"), rounds)


def _flow(evidence: Evidence, scale: float) -> Any:
    """Gives R as a function of the params' magnitudes."""
    check_reads("synflow", NEEDED, evidence)
    objective = evidence.objective
    assert objective is not None, "checked above"
    shapes = jax.eval_shape(objective.prepare, evidence.examples)
    ones = jax.tree.map(lambda leaf: _filled(leaf, scale), shapes)
    model_state = jax.tree.map(_magnitude, evidence.model_state)

    def flow(size: Params) -> Float[Array, ""]:
        outputs, _ = objective.apply(size, model_state, ones, train=False)
        sums = [jnp.sum(output) for output in jax.tree.leaves(outputs)]
        return scale * sum(sums[1:], start=sums[0])

    return flow


def _filled(leaf: Any, scale: float) -> Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        raise TicketError(
            f"synflow: the network's inputs are {leaf.dtype}{list(leaf.shape)}, expected floats "
            "that an input of ones can stand for; score with another criterion"
        )
    return jnp.full((1, *leaf.shape[1:]), scale, leaf.dtype)


def _magnitude(leaf: Array) -> Array:
    return jnp.abs(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _check_finite(scores: Scores, scale: float) -> None:
    leaves = jax.tree.leaves(scores)
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return
    if not all(np.isfinite(leaf).all() for leaf in leaves):
        raise TicketError(
            f"synflow: R left the range of {leaves[0].dtype} with scale {scale:g}; "
            "give a smaller one, such as synflow(scale=2.0**-60)"
        )
