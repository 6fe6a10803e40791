"""Learners of one of several tasks, so that tasks are an axis of a population like any other."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner
from jaxticket.types import Batch, Mask, Metrics


def on_task(learner: Learner, task: Any) -> Learner:
    """Makes a learner see one task of stacked examples, whose leaves are `[n, tasks, ...]`.

    Args:
      learner: of one task's examples, `[n, ...]` leaves.
      task: its place along axis 1; may be traced, so that networks that train on different data
        sets are one population.

    Returns:
      The learner: its step, its evaluation and its objective take stacked examples, and are to
      the bit what they are on that task's examples alone.

    Example:
      >>> evaluate = lambda state, mask, x: {"mean": jnp.mean(x)}
      >>> learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
      >>> float(on_task(learner, 1).evaluate(None, None, jnp.array([[1.0, 5.0]]))["mean"])
      5.0

    Raises:
      TicketError: when called, for a Python number that is no task, or `None`.

    Source: this project's definition.
    """

    def own(examples: Batch) -> Batch:
        number = jax.tree.leaves(examples)[0].shape[1]
        if task is None or (isinstance(task, int) and not 0 <= task < number):
            raise TicketError(
                f"hyperparameter task: got {task}, expected 0 to {number - 1}, the place of one of "
                "the data sets that were stacked"
            )
        return jax.tree.map(
            lambda leaf: jax.lax.dynamic_index_in_dim(jnp.asarray(leaf), task, 1, keepdims=False),
            examples,
        )

    def step(state: Any, mask: Mask, batch: Batch, key: Any) -> tuple[Any, Metrics]:
        return learner.step(state, mask, own(batch), key)

    def evaluate(state: Any, mask: Mask, examples: Batch) -> Metrics:
        return learner.evaluate(state, mask, own(examples))

    minimised = learner.objective
    if minimised is not None:
        prepare, loss = minimised.prepare, minimised.loss
        minimised = minimised._replace(
            prepare=lambda batch: prepare(own(batch)),
            loss=lambda outputs, batch: loss(outputs, own(batch)),
        )
    penalised = learner.with_penalty
    return learner._replace(
        step=step,
        evaluate=evaluate,
        objective=minimised,
        # What it gives is a learner of one task's examples too.
        with_penalty=penalised and (lambda penalty: on_task(penalised(penalty), task)),
    )
