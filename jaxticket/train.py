"""Training one network: so many steps, evaluated at intervals. Population axes come later."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray, PyTree

from jaxticket import masks
from jaxticket.criteria.base import Criterion, CriterionState, stateless
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, LearnerState, with_params
from jaxticket.types import Batch, Mask, Metrics

Data = dict[str, Batch]
"""Splits by name; `train` is what training draws its batches from."""

UNWATCHED: Criterion = stateless(lambda evidence: evidence.final)
"""The criterion that watches nothing, for training that no pruning follows."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How long a network trains and how often it is evaluated.

    Attributes:
      steps: the step at which training ends.
      batch_size: examples a step.
      evaluate_every: steps between evaluations; step `steps` is always evaluated.
    """

    steps: int
    batch_size: int
    evaluate_every: int

    def __post_init__(self) -> None:
        """Checks that all three are positive."""
        for name, value in dataclasses.asdict(self).items():
            if value < 1:
                raise TicketError(f"{name}: got {value}, expected at least 1")

    def boundaries(self, start: int = 0) -> tuple[int, ...]:
        """Lists the steps at which a network that starts at `start` is evaluated.

        Args:
          start: the first step, 0 or the rewind step.

        Returns:
          `start`, the multiples of `evaluate_every` after it, and `steps`.

        Raises:
          TicketError: if `start` is not before the end.

        Example:
          >>> Protocol(steps=25, batch_size=60, evaluate_every=10).boundaries(4)
          (4, 10, 20, 25)
        """
        if not 0 <= start < self.steps:
            raise TicketError(
                f"rewind step: got {start}, expected 0 to {self.steps - 1}, before the end of "
                f"training at step {self.steps}"
            )
        first = (start // self.evaluate_every + 1) * self.evaluate_every
        return (start, *range(first, self.steps, self.evaluate_every), self.steps)


class Training(NamedTuple):
    """What one network carries from step to step.

    Attributes:
      learner: the learner's state: params, model state, optimizer state.
      observed: the state of the criterion that watches training.
    """

    learner: LearnerState
    observed: CriterionState


def begin(criterion: Criterion, state: LearnerState) -> Training:
    """Makes the state with which a segment starts.

    Args:
      criterion: the criterion that will watch.
      state: the learner's state.

    Returns:
      The training state.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> begin(UNWATCHED, TrainState({"w": jnp.ones(1)}, {}, ())).observed
      ()
    """
    return Training(state, criterion.init(state.params))


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

    The batch of step s is a function of `key` and s alone: each epoch is a fresh permutation
    of the training examples, its last incomplete batch dropped. So a network that restarts at
    step k goes on at position k of the data.

    Args:
      learner: how a step is made.
      criterion: what watches the steps.
      protocol: batch size and the longest segment, both static.
      training: the state; its params and moments are masked here once more.
      mask: which weights are kept.
      key: decides data order and dropout.
      data: the splits; `data["train"]` is trained on, the others are evaluated.
      start: first step, `int32[]`, may be traced.
      stop: end, at most `protocol.evaluate_every` later, may be traced. The bounds are traced
        so that one compilation serves every segment, also a short one before a rewind step.

    Returns:
      The state, and metrics named `<split>_<metric>`; those of `train` are means over the
      segment's batches before each update, NaN if there was no step.

    Example:
      See `train`, which runs all segments of one network.
    """
    batches = _batches(protocol, key, data["train"], start)
    state = training.learner
    training = training._replace(learner=with_params(state, masks.apply(state.params, mask)))

    def step(index: Array, carry: tuple[Training, Metrics]) -> tuple[Training, Metrics]:
        (state, observed), sums = carry
        state, metrics = learner.step(
            state, mask, batches(index), derive(key, "dropout", index)
        )
        observed = criterion.observe(observed, state)
        return Training(state, observed), jax.tree.map(jnp.add, sums, metrics)

    zeros = _zero_metrics(learner, training.learner, mask, batches(start), key)
    training, sums = jax.lax.fori_loop(start, stop, step, (training, zeros))
    metrics = {f"train_{name}": total / (stop - start) for name, total in sums.items()}
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
        return segment(
            learner, criterion, protocol, training, mask, key, data, bound[0], bound[1]
        )

    return jax.lax.scan(interval, begin(criterion, state), bounds)


def _batches(protocol: Protocol, key: PRNGKeyArray, examples: Batch, start: Any) -> Any:
    """Gives `step -> batch` for the steps of one segment."""
    number = jax.tree.leaves(examples)[0].shape[0]
    size = protocol.batch_size
    if size > number:
        raise TicketError(f"batch size: got {size}, expected at most the {number} examples")
    an_epoch = number // size
    first = start // an_epoch
    # A segment of this length touches at most so many epochs, wherever it starts.
    epochs = first + jnp.arange((protocol.evaluate_every - 1) // an_epoch + 2)
    orders = jax.vmap(lambda epoch: jax.random.permutation(derive(key, "order", epoch), number))(
        epochs
    )

    def batch(step: Any) -> Batch:
        place = (step // an_epoch - first, step % an_epoch * size)
        chosen = jax.lax.dynamic_slice(orders, place, (1, size))[0]
        return jax.tree.map(lambda leaf: leaf[chosen], examples)

    return batch


def _zero_metrics(learner: Learner, *args: PyTree) -> Metrics:
    shapes = jax.eval_shape(learner.step, *args)[1]
    return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), shapes)
