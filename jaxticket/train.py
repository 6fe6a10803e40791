"""Training one network: so many steps, evaluated at intervals. Population axes come later."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jaxticket import masks
from jaxticket.criteria.base import Criterion, CriterionState, stateless
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, LearnerState, with_params
from jaxticket.protocol import Protocol
from jaxticket.types import Batch, Mask, Metrics

Data = dict[str, Batch]
"""Splits by name; `train` is what training draws its batches from."""

UNWATCHED: Criterion = stateless(lambda evidence: evidence.final)
"""The criterion that watches nothing, for training that no pruning follows."""


class Training(NamedTuple):
    """What one network carries from step to step.

    Attributes:
      learner: the learner's state: params, model state, optimizer state.
      observed: the state of the criterion that watches training.
      order: `int32[examples]`, the present epoch's permutation of the training examples.
    """

    learner: LearnerState
    observed: CriterionState
    order: Int[Array, " examples"]


def epoch_order(key: PRNGKeyArray, epoch: Any, number: int) -> Int[Array, " number"]:
    """Gives the order in which one epoch goes through the training examples.

    It is a function of `key` and `epoch` alone, so a network that restarts at step k goes on
    at position k of the data with nothing remembered.

    Args:
      key: the network's training key.
      epoch: index from 0, may be traced.
      number: how many examples there are.

    Returns:
      A permutation, `int32[number]`.

    Example:
      >>> sorted(epoch_order(jax.random.key(0), 0, 4).tolist())
      [0, 1, 2, 3]
    """
    return jax.random.permutation(derive(key, "order", epoch), jnp.arange(number, dtype=jnp.int32))


def begin(
    criterion: Criterion,
    protocol: Protocol,
    state: LearnerState,
    key: PRNGKeyArray,
    data: Data,
    start: Any = 0,
) -> Training:
    """Makes what a network carries when it starts to train.

    Args:
      criterion: the criterion that will watch.
      protocol: decides how many steps an epoch has.
      state: the learner's state.
      key: the network's training key.
      data: the splits by name.
      start: the step at which `state` stands.

    Returns:
      The training state.

    Raises:
      TicketError: if a batch is larger than the training split.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> state, protocol = TrainState({"w": jnp.ones(1)}, {}, ()), Protocol(9, 2, 3)
      >>> begin(UNWATCHED, protocol, state, jax.random.key(0), {"train": jnp.ones(4)}).order.shape
      (4,)
    """
    epoch = start // _steps_an_epoch(protocol, data)
    order = epoch_order(key, epoch, _number(data["train"]))
    return Training(state, criterion.init(state.params), order)


def segment(
    learner: Learner,
    criterion: Criterion,
    protocol: Protocol,
    training: Training,
    mask: Mask,
    key: PRNGKeyArray,
    data: Data,
    start: Int[Array, ""] | int,
    stop: Int[Array, ""] | int,
) -> tuple[Training, Metrics]:
    """Trains one network from step `start` to step `stop`, then evaluates it on every split.

    Each epoch is a fresh permutation of the training examples, its last incomplete batch
    dropped, as `epoch_order` gives it.

    Args:
      learner: how a step is made.
      criterion: what watches the steps.
      protocol: gives the batch size.
      training: the state; its params are masked here once more, its moments by every step.
      mask: which weights are kept.
      key: decides data order and dropout.
      data: the splits; `data["train"]` is trained on, the others are evaluated.
      start: first step, `int32[]`, may be traced.
      stop: end, `int32[]`, may be traced. Traced bounds let one compilation serve every
        segment, also the empty one at the start and a short one before a rewind step.

    Returns:
      The state, and metrics named `<split>_<metric>`; those of `train` are means over the
      segment's batches before each update, NaN if there was no step.

    Example:
      See `train`, which runs all segments of one network.
    """
    an_epoch = _steps_an_epoch(protocol, data)
    state = training.learner
    training = training._replace(learner=with_params(state, masks.apply(state.params, mask)))

    def step(index: Array, carry: tuple[Training, Metrics]) -> tuple[Training, Metrics]:
        (state, observed, order), sums = carry
        place = index % an_epoch
        # The step index is the same for a whole population, so this stays a branch under vmap.
        order = jax.lax.cond(
            place == 0,
            lambda: epoch_order(key, index // an_epoch, order.shape[0]),
            lambda: order,
        )
        batch = _batch(protocol, data["train"], order, place)
        state, metrics = learner.step(state, mask, batch, derive(key, "dropout", index))
        observed = criterion.observe(observed, state)
        return Training(state, observed, order), jax.tree.map(jnp.add, sums, metrics)

    batch = _batch(protocol, data["train"], training.order, 0)
    zeros = _zero_metrics(learner, training, mask, batch, key)
    training, sums = jax.lax.fori_loop(start, stop, step, (training, zeros))
    steps = jnp.asarray(stop - start, jnp.float32)
    metrics = {f"train_{name}": total / steps for name, total in sums.items()}
    for split, examples in data.items():
        if split != "train":
            values = learner.evaluate(training.learner, mask, examples)
            metrics |= {f"{split}_{name}": value for name, value in values.items()}
    return training, metrics


def train(
    learner: Learner,
    data: Data,
    state: LearnerState,
    mask: Mask,
    key: PRNGKeyArray,
    protocol: Protocol,
    *,
    start: int = 0,
    criterion: Criterion = UNWATCHED,
) -> tuple[Training, Metrics]:
    """Trains one network to the end: a pure function to jit and to vmap.

    Args:
      learner: how a step is made.
      data: the splits by name, examples along axis 0.
      state: where training starts.
      mask: which weights are kept.
      key: decides data order and dropout.
      protocol: how long, and how often to evaluate.
      start: the step at which `state` stands.
      criterion: what watches the steps.

    Returns:
      The final state, and the curves `float[evaluations]` by `<split>_<metric>`, at the steps
      `protocol.boundaries(start)`.

    Example:
      >>> import optax
      >>> from jaxticket import Examples, Model, learners, masks
      >>> model = Model(
      ...     init=lambda key: ({"w": jax.random.normal(key, (4, 2))}, {}),
      ...     apply=lambda params, state, x, *, train, key=None: (
      ...         x.reshape(len(x), -1) @ params["w"], state),
      ... )
      >>> learner = learners.supervised(model, optax.sgd(0.1))
      >>> examples = Examples(jnp.ones((6, 2, 2, 1), jnp.uint8), jnp.zeros(6, jnp.int32))
      >>> state = learner.init(jax.random.key(0))
      >>> mask = masks.ones(state.params, masks.matching("w"))
      >>> protocol = Protocol(steps=4, batch_size=3, evaluate_every=2)
      >>> data = {"train": examples, "validation": examples}
      >>> _, curves = train(learner, data, state, mask, jax.random.key(1), protocol)
      >>> curves["validation_loss"].shape
      (3,)
    """
    steps = protocol.boundaries(start)
    bounds = jnp.array(list(zip((start, *steps), steps, strict=False)), jnp.int32)

    def interval(training: Training, bound: Int[Array, "2"]) -> tuple[Training, Metrics]:
        return segment(learner, criterion, protocol, training, mask, key, data, bound[0], bound[1])

    first = begin(criterion, protocol, state, key, data, start)
    return jax.lax.scan(interval, first, bounds)


def _batch(protocol: Protocol, examples: Batch, order: Array, place: Any) -> Batch:
    chosen = jax.lax.dynamic_slice(order, (place * protocol.batch_size,), (protocol.batch_size,))
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], examples)


def _number(examples: Batch) -> int:
    return jax.tree.leaves(examples)[0].shape[0]


def _steps_an_epoch(protocol: Protocol, data: Data) -> int:
    return protocol.steps_an_epoch(_number(data["train"]))


def _zero_metrics(
    learner: Learner, training: Training, mask: Mask, batch: Batch, key: Any
) -> Metrics:
    shapes = jax.eval_shape(learner.step, training.learner, mask, batch, key)[1]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
