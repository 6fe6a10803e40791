"""Training a population: compiled segments, the host in between for progress and snapshots."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.population import Plan, in_pieces, join, pad, populate, share, to_host
from jaxticket.protocol import Protocol
from jaxticket.train import Data, Training, begin, segment
from jaxticket.types import Mask


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
    learner: Learner, criterion: Criterion, protocol: Protocol, data: Data, plan: Plan
) -> Trainer:
    """Makes the function that trains populations, one compilation for all of one size.

    Args:
      learner: how a step is made.
      criterion: what watches training.
      protocol: how long, and how often to evaluate.
      data: the splits by name.
      plan: how the population runs.

    Returns:
      `run(networks, size, *, start=0, snapshots=(), on_segment=None) -> Trained`: trains the
      networks from step `start` on, padded to `size`; `snapshots` are steps whose states are
      kept, any from `start` to the end; `on_segment(steps, metrics)` is called after each
      compiled call with the number of steps it made and the metrics `float32[P]` at its end.
    """
    shared = share(data, plan)

    def one_segment(
        network: tuple[Training, Mask, jax.Array], data: Data, start: Any, stop: Any
    ) -> Any:
        training, mask, key = network
        training, metrics = segment(
            learner, criterion, protocol, training, mask, key, data, start, stop
        )
        return (training, mask, key), metrics

    compiled = populate(one_segment, plan, donate=True)
    begin_all = populate(
        lambda network, data, start: begin(
            criterion, protocol, network.states, network.keys, data, start
        ),
        plan,
    )

    def run(networks: Networks, size: int, **options: Any) -> Trained:
        pieces = [one_piece(piece, size, **options) for piece in in_pieces(networks, size)]
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
        stops = sorted({*evaluations, *snapshots})
        padded = pad(networks, size)
        training = begin_all(padded, shared, np.int32(start))
        carry = (training, padded.masks, padded.keys)
        here, kept, rows, parts = start, {}, [], []
        for stop in stops:
            carry, metrics = compiled(carry, shared, np.int32(here), np.int32(stop))
            metrics = {name: value[:number] for name, value in to_host(metrics).items()}
            if on_segment is not None:
                on_segment(stop - here, metrics)
            parts.append((stop - here, metrics))
            if stop in evaluations:
                rows.append(_whole_interval(parts))
                parts = []
            if stop in snapshots:
                kept[stop] = _first(carry[0].learner, number)
            here = stop
        curves = {name: np.stack([row[name] for row in rows], axis=1) for name in rows[0]}
        return Trained(_first(carry[0], number), np.array(evaluations), curves, kept)

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


def _whole_interval(parts: list[tuple[int, dict[str, np.ndarray]]]) -> dict[str, np.ndarray]:
    """Averages training metrics over an interval that a snapshot cut in two."""
    metrics = dict(parts[-1][1])
    if len(parts) > 1:
        steps = [number for number, _ in parts]
        for name in metrics:
            if name.startswith("train_"):
                values = np.stack([part[name] for _, part in parts])
                metrics[name] = np.average(values, axis=0, weights=steps).astype(values.dtype)
    return metrics


def _first(tree: Any, number: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:number], to_host(tree))
