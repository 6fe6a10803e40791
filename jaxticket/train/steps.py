"""One network, step by step: what the segments of its training are made of."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jaxticket import masks
from jaxticket.criteria.base import Criterion, CriterionState
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, LearnerState, with_params
from jaxticket.protocol import Protocol
from jaxticket.train.batches import Fed, draw
from jaxticket.types import Batch, Data, Mask, Metrics


class Training(NamedTuple):
    """What one network carries from step to step.

    Attributes:
      learner: the learner's state: params, model state, optimizer state.
      observed: the state of the criterion that watches training.
      order: `int32[examples]`, the present epoch's permutation of the training examples;
        `int32[0]` where the host feeds them.
    """

    learner: LearnerState
    observed: CriterionState
    order: Int[Array, " examples"]


def advance(
    learner: Learner,
    criterion: Criterion,
    protocol: Protocol,
    training: Training,
    sums: Metrics,
    mask: Mask,
    key: PRNGKeyArray,
    examples: Batch | Fed,
    start: Int[Array, ""] | int,
    stop: Int[Array, ""] | int,
    begins: Int[Array, ""] | None = None,
) -> tuple[Training, Metrics]:
    """Trains one network from step `start` to step `stop`.

    Args:
      learner: how a step is made.
      criterion: what watches the steps.
      protocol: gives the batch size.
      training: the state; its params are masked here once more, its moments by every step.
      sums: of the metrics of the steps so far, from `no_sums`, so that an interval that is cut
        adds up to the bit to what it would in one piece.
      mask: which weights are kept.
      key: decides data order, dropout and augmentation.
      examples: the training split, or what the host feeds of it.
      start: first step, `int32[]`, may be traced.
      stop: end, `int32[]`, may be traced.
      begins: the network's own first step, `int32[]`, may be traced: steps before it change
        nothing, so that networks that begin at different steps are one population.

    Returns:
      The state, and the sums with those of these steps.

    Example:
      See `segment`, which also evaluates.
    """
    state = training.learner
    training = training._replace(learner=with_params(state, masks.apply(state.params, mask)))

    def step(index: Array, carry: tuple[Training, Metrics]) -> tuple[Training, Metrics]:
        training, sums = carry
        # Drawn whether or not the network has begun, so that a population shares the index.
        batch, order = draw(protocol, examples, key, training.order, index)

        def made(training: Training, sums: Metrics) -> tuple[Training, Metrics]:
            here = derive(key, "dropout", index)
            state, metrics = learner.step(training.learner, mask, batch, here)
            observed = criterion.observe(training.observed, state)
            return Training(state, observed, order), jax.tree.map(jnp.add, sums, metrics)

        def waited(training: Training, sums: Metrics) -> tuple[Training, Metrics]:
            return training._replace(order=order), sums

        if begins is None:
            return made(training, sums)
        return jax.lax.cond(index >= begins, made, waited, training, sums)

    return jax.lax.fori_loop(start, stop, step, (training, sums))


def measure(
    learner: Learner,
    state: LearnerState,
    mask: Mask,
    data: Data,
    sums: Metrics,
    steps: Int[Array, ""] | int,
) -> Metrics:
    """Evaluates one network on every split but `train`, whose metrics are means over steps.

    Args:
      learner: how a split is evaluated.
      state: the learner's state.
      mask: which weights are kept.
      data: the splits.
      sums: of the training metrics.
      steps: over how many steps, `int32[]`, may be traced.

    Returns:
      Metrics named `<split>_<metric>`; those of `train` are NaN if there was no step.

    Example:
      See `segment`, which trains before it.
    """
    number = jnp.asarray(steps, jnp.float32)
    metrics = {f"train_{name}": total / number for name, total in sums.items()}
    measured = {split: examples for split, examples in data.items() if split != "train"}
    return metrics | evaluate(learner, state, mask, measured)


def evaluate(learner: Learner, state: LearnerState, mask: Mask, data: Data) -> Metrics:
    """Evaluates one network on splits.

    Args:
      learner: how a split is evaluated.
      state: the learner's state.
      mask: which weights are kept.
      data: the splits by name.

    Returns:
      Metrics named `<split>_<metric>`.

    Example:
      See `segment`, which trains before it.
    """
    return {
        f"{split}_{name}": value
        for split, examples in data.items()
        for name, value in learner.evaluate(state, mask, examples).items()
    }


def no_sums(
    learner: Learner, state: LearnerState, mask: Mask, key: PRNGKeyArray, examples: Batch, size: int
) -> Metrics:
    """Gives the sums of training metrics before any step.

    Args:
      learner: its step says what is measured; only its shapes are computed.
      state: the learner's state.
      mask: which weights are kept.
      key: a typed key.
      examples: arrays or their shapes, of which a batch is a part.
      size: examples a batch.

    Returns:
      `float32` zeros by name.

    Example:
      See `segment`.
    """
    shapes = jax.eval_shape(learner.step, state, mask, batch_shapes(examples, size), key)[1]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)


def batch_shapes(examples: Batch, size: int) -> Batch:
    """Gives the shapes of a batch.

    Args:
      examples: arrays or their shapes, of which a batch is a part.
      size: examples a batch.

    Returns:
      `jax.ShapeDtypeStruct` leaves.

    Example:
      >>> batch_shapes(jnp.zeros((9, 2)), 3).shape
      (3, 2)
    """
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(
            (size, *leaf.shape[1:]), jax.dtypes.canonicalize_dtype(leaf.dtype)
        ),
        examples,
    )
