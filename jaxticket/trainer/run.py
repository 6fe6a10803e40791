"""Training a population: compiled segments, the host in between for progress and snapshots."""

import contextlib
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.costs import Ledger, flops_of
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.population import Fitting, Plan, join, pad, to_host
from jaxticket.protocol import Protocol
from jaxticket.train.steps import Training, batch_shapes
from jaxticket.trainer.placement import as_stream, place
from jaxticket.trainer.segments import Interval, held, streamed
from jaxticket.types import Data, Mask


class Networks(NamedTuple):
    """Networks about to be trained, along axis 0.

    Attributes:
      states: the learner's states, masked.
      masks: which weights are kept.
      keys: typed keys, one a network.
    """

    states: LearnerState
    masks: Mask
    keys: jax.Array


class Trained(NamedTuple):
    """Networks after training, on the host.

    Attributes:
      training: learner states and what the criterion observed.
      steps: `int64[evaluations]`.
      curves: `float32[P, evaluations]` by `<split>_<metric>`.
      snapshots: the learner's states by step, for the steps that were asked for.
    """

    training: Training
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    snapshots: dict[int, LearnerState]


Trainer = Callable[..., Trained]


def trainer(
    learner: Learner,
    criterion: Criterion,
    protocol: Protocol,
    data: Data,
    plan: Plan,
    *,
    streaming: bool | None = None,
    resident_share: float = 0.5,
    ledger: Ledger | None = None,
) -> Trainer:
    """Makes the function that trains populations, one compilation for all of one size.

    All splits are on the device, or the training split is streamed from the host; the splits
    that are evaluated are always on the device. Results do not depend on it: bitwise under
    `map`, to float tolerance under `vmap`.

    Args:
      learner: how a step is made.
      criterion: what watches training.
      protocol: how long, and how often to evaluate.
      data: the splits by name; `train` may be a `Stream`.
      plan: how the population runs.
      streaming: whether the training split is streamed; `None` decides by its size, as
        `jaxticket.trainer.placement.place` says.
      resident_share: the share of a device's memory that the splits may take.
      ledger: counts seconds and steps.

    Returns:
      `run(networks, size, *, start=0, snapshots=(), on_segment=None) -> Trained`: trains the
      networks from step `start` on, padded to `size`; `snapshots` are steps whose states are
      kept, any from `start` to the end; `on_segment(steps, metrics)` is called at each
      evaluation and snapshot with the number of steps made since the one before and the metrics
      `float32[P]`.
    """
    ledger = ledger or Ledger()
    placement = place(data, plan, streaming, resident_share)
    if placement.streams:
        ledger.note(str(placement))
        segments = streamed(learner, criterion, protocol, data, plan, placement, ledger)
    else:
        segments = held(learner, criterion, protocol, data, plan, ledger)
    fitting: dict[int, Fitting] = {}

    def run(networks: Networks, size: int, **options: Any) -> Trained:
        _count_flops(ledger, learner, protocol, data, networks)
        fits = fitting.setdefault(size, Fitting(size, ledger.note))
        pieces = fits.run(lambda piece, size: one_piece(piece, size, **options), networks)
        together = join(pieces)
        return together._replace(steps=pieces[0].steps)

    def one_piece(
        networks: Networks,
        size: int,
        *,
        start: int = 0,
        snapshots: tuple[int, ...] = (),
        on_segment: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    ) -> Trained:
        number = networks.keys.shape[0]
        evaluations = protocol.boundaries(start)
        check_snapshots(protocol, start, snapshots)
        intervals = _intervals(start, evaluations, snapshots)
        training, kept, rows = None, {}, []
        with contextlib.closing(segments(pad(networks, size), number, intervals)) as reached:
            for interval, (training, metrics) in zip(intervals, reached, strict=True):
                metrics = _first(metrics, number)
                ledger.network_steps += number * (interval.stop - interval.start)
                if on_segment is not None:
                    on_segment(interval.stop - interval.start, metrics)
                if interval.stop in evaluations:
                    rows.append(metrics)
                if interval.stop in snapshots:
                    kept[interval.stop] = _first(training.learner, number)
            trained = _first(training, number)
        curves = {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}
        return Trained(trained, np.array(evaluations), curves, kept)

    return run


def check_snapshots(protocol: Protocol, start: int, snapshots: tuple[int, ...]) -> None:
    """Checks that training passes through the steps that are to be kept.

    Args:
      protocol: says where training ends.
      start: where it starts.
      snapshots: the steps.

    Raises:
      TicketError: naming those that it does not pass through.

    Example:
      >>> check_snapshots(Protocol(steps=9, batch_size=1, evaluate_every=3), 0, (0, 4, 9))
    """
    outside = [step for step in snapshots if not start <= step <= protocol.steps]
    if outside:
        raise TicketError(
            f"snapshots: got steps {outside}, expected steps from {start} to {protocol.steps}"
        )


def _intervals(
    start: int, evaluations: tuple[int, ...], snapshots: tuple[int, ...]
) -> list[Interval]:
    """Lists the intervals between stops; a snapshot cuts one, but not what is averaged over."""
    intervals, here, since = [], start, start
    for stop in sorted({*evaluations, *snapshots}):
        intervals.append(Interval(here, stop, since))
        here, since = stop, stop if stop in evaluations else since
    return intervals


def _count_flops(
    ledger: Ledger, learner: Learner, protocol: Protocol, data: Data, networks: Networks
) -> None:
    """Notes once what a step of one network costs; only shapes are looked at."""
    if ledger.flops_a_step is not None:
        return
    one = jax.eval_shape(lambda tree: jax.tree.map(operator.itemgetter(0), tree), networks)
    batch = batch_shapes(as_stream(data["train"]).rows(np.zeros(1, np.int64)), protocol.batch_size)
    with ledger.phase("compile"):
        ledger.flops_a_step = flops_of(learner.step, one.states, one.masks, batch, one.keys)


def _first(tree: Any, number: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:number], to_host(tree))
