"""Batch statistics of networks that no training has passed through, from examples."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from jaxticket.analysis.interpolation import Recompute
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.learners.base import Learner
from jaxticket.types import Batch, ModelState, Params


def recomputing(
    learner: Learner, examples: Batch, batch_size: int, passes: int, key: PRNGKeyArray
) -> Recompute:
    """Makes the function that gives a network the batch statistics of its own weights.

    The network goes through the examples in training mode, as often as is said, and its weights
    stay. Running means keep a share μ of what they were in each step: after n steps μⁿ of the given
    model state is left.

    Args:
      learner: one that says its `objective`.
      examples: of the training split, a few hundred of them; what no batch is full of is left out.
      batch_size: examples a step, that of training, or the statistics are of other batches.
      passes: how often all batches are gone through.
      key: of dropout.

    Returns:
      What `linear_path`, `barriers` and the others take as `recompute`; the examples are constants
      of the programs that it is compiled into.

    Raises:
      TicketError: for a learner without an objective, fewer than one pass or no full batch.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> from jaxticket.types import Objective
      >>> def half_way(params, state, x, *, train, key):
      ...     return x, {"mean": (state["mean"] + x.mean()) / 2}
      >>> objective = Objective(lambda batch: batch, half_way, None)
      >>> learner = Learner(None, None, None, None, objective=objective)
      >>> recompute = recomputing(learner, jnp.ones(4), 2, 1, jax.random.key(0))
      >>> float(recompute({}, {"mean": jnp.float32(0)})["mean"])
      0.75

    Source: that statistics are recomputed along curves is of 1802.10026 (unverified); by running
    means is this project's, since it needs to know nothing of how a network normalises.
    """
    if learner.objective is None:
        raise TicketError("learner: got one without an objective, expected one that says it")
    number = jax.tree.leaves(examples)[0].shape[0] // max(1, batch_size)
    if passes < 1 or batch_size < 1 or number < 1:
        raise TicketError(
            f"recomputing: got {passes} passes of {number} batches of {batch_size}, expected at "
            "least one of each; give more examples or smaller batches"
        )
    objective = learner.objective
    cut = lambda leaf: leaf[: number * batch_size].reshape(number, batch_size, *leaf.shape[1:])  # noqa: E731
    batches = jax.tree.map(cut, examples)

    def recompute(params: Params, model_state: ModelState) -> ModelState:
        if not jax.tree.leaves(model_state):
            return model_state

        def one(step: jax.Array, model_state: ModelState) -> ModelState:
            batch: Any = jax.tree.map(lambda leaf: jnp.asarray(leaf)[step % number], batches)
            inputs = objective.prepare(batch)
            drop = derive(key, "dropout", step)
            return objective.apply(params, model_state, inputs, train=True, key=drop)[1]

        return jax.lax.fori_loop(0, passes * number, one, model_state)

    return recompute
