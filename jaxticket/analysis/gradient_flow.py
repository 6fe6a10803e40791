"""Gradient flow: how much of the loss the next step of a pruned network could take away."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket.errors import TicketError, unknown
from jaxticket.learners.base import Learner, LearnerState, with_params
from jaxticket.types import Batch, Mask, Metrics, Params


def gradient_flow(
    learner: Learner, state: LearnerState, mask: Mask, examples: Batch, *, metric: str = "loss"
) -> Float[Array, ""]:
    """Gives the squared norm of the masked network's gradient: ‖∇_θ L(m ⊙ θ)‖².

    To first order a step of gradient descent at a rate η lowers the loss by η times this. Pruned
    weights have no part in it; biases and other leaves that are not prunable have. The network is
    that of evaluation: no dropout, running batch statistics.

    Args:
      learner: its `evaluate` says what the loss is.
      state: of one network.
      mask: which weights are kept.
      examples: the batch that the loss is the mean over; what the network computes for all of it
        is in memory together.
      metric: the loss, by its name among the metrics.

    Returns:
      `float[]`.

    Raises:
      TicketError: for a metric that the learner does not measure.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> def evaluate(state, mask, x):
      ...     return {"loss": jnp.mean(x) * jnp.sum(jnp.where(mask, state.params, 0.0) ** 2)}
      >>> learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
      >>> state, mask = TrainState(jnp.array([3.0, 4.0]), {}, ()), jnp.array([True, False])
      >>> float(gradient_flow(learner, state, mask, jnp.ones(5)))
      36.0

    Source: 2010.03533, section 3 (unverified).
    """

    def loss(params: Params) -> Array:
        metrics = learner.evaluate(with_params(state, params), mask, examples)
        if metric not in metrics:
            raise unknown("metric", metric, metrics)
        return metrics[metric]

    slopes = jax.tree.leaves(jax.grad(loss)(state.params))
    return sum((jnp.sum(jnp.square(slope)) for slope in slopes), start=jnp.float32(0))


def with_gradient_flow(learner: Learner, number: int, *, metric: str = "loss") -> Learner:
    """Makes a learner that measures gradient flow too, so that searches have its curve.

    `find_tickets(with_gradient_flow(learner, 500), ...)` gives `<split>_gradient_flow` at every
    evaluation of every network. Of a family of learners it is a function of hyperparameters too:
    `lambda given: with_gradient_flow(family(given), 500)`.

    Args:
      learner: any learner.
      number: how many examples of each split, from its first on; as many as there are if fewer.
      metric: the loss, by its name among the metrics.

    Returns:
      The learner, training unchanged.

    Raises:
      TicketError: for fewer than one example.

    Example:
      >>> evaluate = lambda state, mask, x: {"loss": jnp.mean(x) * state.params**2}
      >>> learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
      >>> from jaxticket.learners import TrainState
      >>> watched = with_gradient_flow(learner, 10)
      >>> metrics = watched.evaluate(TrainState(jnp.float32(3.0), {}, ()), None, jnp.ones(20))
      >>> {name: float(value) for name, value in metrics.items()}
      {'loss': 9.0, 'gradient_flow': 36.0}
    """
    if number < 1:
        raise TicketError(f"number: got {number}, expected at least 1 example")

    def evaluate(state: LearnerState, mask: Mask, examples: Batch) -> Metrics:
        few: Any = jax.tree.map(lambda leaf: leaf[:number], examples)
        flow = gradient_flow(learner, state, mask, few, metric=metric)
        return {**learner.evaluate(state, mask, examples), "gradient_flow": flow}

    return learner._replace(evaluate=evaluate)
