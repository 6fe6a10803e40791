"""Training one network: so many steps, evaluated at intervals. Population axes come later."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jaxticket import masks
from jaxticket.criteria.base import Criterion, stateless
from jaxticket.learners.base import Learner, LearnerState, with_params
from jaxticket.protocol import Protocol
from jaxticket.train import stopping
from jaxticket.train.batches import epoch_order, number_of
from jaxticket.train.steps import Training, advance, evaluate, measure, no_sums
from jaxticket.types import Data, Mask, Metrics

UNWATCHED: Criterion = stateless(lambda evidence: evidence.final)
"""The criterion that watches nothing, for training that no pruning follows."""


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
    number = number_of(data["train"])
    epoch, place = jnp.divmod(jnp.asarray(start), protocol.steps_an_epoch(number))
    # The first step of an epoch draws its order itself, and drawing costs more than a step.
    order = jax.lax.cond(
        place == 0,
        lambda: jnp.zeros(number, jnp.int32),
        lambda: epoch_order(key, epoch, number),
    )
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
      key: decides data order, dropout and augmentation.
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
    examples, size = data["train"], protocol.batch_size
    sums = no_sums(learner, training.learner, mask, key, examples, size)
    training, sums = advance(
        learner, criterion, protocol, training, sums, mask, key, examples, start, stop
    )
    return training, measure(learner, training.learner, mask, data, sums, stop - start)


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
      key: decides data order, dropout and augmentation.
      protocol: how long, and how often to evaluate.
      start: the step at which `state` stands.
      criterion: what watches the steps.

    Returns:
      The final state, and the curves `float[evaluations]` by `<split>_<metric>`, at the steps
      `protocol.boundaries(start)`; NaN where the protocol asks for no measurement.

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

    seldom = stopping.only_at_stops(protocol, data)
    often = {name: split for name, split in data.items() if name not in seldom}
    measured = lambda state: evaluate(learner, state, mask, seldom)  # noqa: E731
    read = stopping.leaves_read(measured, state)

    def interval(carry: Any, bound: Int[Array, "2"]) -> tuple[Any, Metrics]:
        training, watched = carry
        training, metrics = segment(
            learner, criterion, protocol, training, mask, key, often, bound[0], bound[1]
        )
        loss = metrics.get(stopping.LOSS, jnp.nan)
        return (training, stopping.look(watched, training.learner, read, loss)), metrics

    first = begin(criterion, protocol, state, key, data, start)
    carry, curves = jax.lax.scan(interval, (first, stopping.watch(state, read)), bounds)
    training, watched = carry
    began = with_params(state, masks.apply(state.params, mask))
    lowest = stopping.at_lowest(watched, training.learner, read)
    at_stops = [measured(one) for one in (lowest, began, training.learner)]
    return training, curves | _curves_of_stops(len(steps), curves.get(stopping.LOSS), *at_stops)


def _curves_of_stops(
    number: int, losses: Any, lowest: Metrics, began: Metrics, ended: Metrics
) -> Metrics:
    """Gives curves that are NaN but at the first, early-stop and last evaluation."""
    # The ends are put in last, since nothing is kept where no loss is finite.
    at_stops = [(0, began), (-1, ended)]
    if losses is not None:
        place = stopping.place_of_lowest(jnp.asarray(losses, jnp.float32))
        at_stops = [(place, lowest), *at_stops]
    found = {}
    for name, value in began.items():
        kind = jnp.result_type(value)
        dtype = kind if jnp.issubdtype(kind, jnp.floating) else jnp.float32
        found[name] = jnp.full(number, jnp.nan, dtype)
        for place, values in at_stops:
            found[name] = found[name].at[place].set(jnp.asarray(values[name], dtype))
    return found
