"""Training a population: compiled segments, the host in between for progress and snapshots."""

import contextlib
import operator
from collections.abc import Callable

import jax
import numpy as np

from jaxticket.costs import Ledger, flops_of
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner
from jaxticket.learners.family import Family, as_family
from jaxticket.population import Fitting, Plan, join, pad
from jaxticket.protocol import Protocol
from jaxticket.train.steps import batch_shapes
from jaxticket.trainer.networks import Networks, Trained
from jaxticket.trainer.partway import Keeper, Keeping
from jaxticket.trainer.piece import Asked, Piece
from jaxticket.trainer.placement import as_stream, place
from jaxticket.trainer.segments import held, streamed
from jaxticket.types import Data

Trainer = Callable[..., Trained]


def trainer(
    learner: Learner | Family,
    criterion: Criterion,
    protocol: Protocol,
    data: Data,
    plan: Plan,
    *,
    streaming: bool | None = None,
    resident_share: float = 0.5,
    ledger: Ledger | None = None,
    keeper: Keeper | None = None,
    keep_every: float = 60.0,
) -> Trainer:
    """Makes the function that trains populations, one compilation for all of one size.

    All splits are on the device, or the training split is streamed from the host; the splits
    that are evaluated are always on the device. Results do not depend on it: bitwise under
    `map`, to float tolerance under `vmap`.

    Args:
      learner: how a step is made, or a function from a network's hyperparameters to that.
      criterion: what watches training.
      protocol: how long, and how often to evaluate.
      data: the splits by name; `train` may be a `Stream`.
      plan: how the population runs.
      streaming: whether the training split is streamed; `None` decides by its size, as
        `jaxticket.trainer.placement.place` says.
      resident_share: the share of a device's memory that the splits may take.
      ledger: counts seconds and steps.
      keeper: keeps networks that are partway, every `keep_every` seconds and where
        `on_segment` raises; a later process that is given the same networks, learner, data and
        plan goes on from there, to the same results. `None` keeps nothing.
      keep_every: seconds.

    Returns:
      `run(networks, size, *, start=0, snapshots=(), on_segment=None) -> Trained`: trains the
      networks from step `start` on, padded to `size`; `snapshots` are steps whose states are
      kept, any from `start` to the end; `on_segment(steps, metrics)` is called at each
      evaluation and snapshot, and every few seconds in between, with the number of network-steps
      made since the call before and the newest metrics `float32[P]`, those of the test split only
      where they are measured. Networks that begin later wait for their step.

    Raises:
      TicketError: if a batch cannot be shared out over the plan's devices for it.
    """
    if protocol.batch_size % plan.batch_devices:
        raise TicketError(
            f"batch size: got {protocol.batch_size}, expected a multiple of the "
            f"{plan.batch_devices} devices that share each batch"
        )
    ledger, family = ledger or Ledger(), as_family(learner)
    keeping = Keeping(keeper, keep_every)
    placement = place(data, plan, streaming, resident_share)
    if placement.streams:
        ledger.note(str(placement))
        segments = streamed(family, criterion, protocol, data, plan, placement, ledger)
    else:
        segments = held(family, criterion, protocol, data, plan, ledger)
    fitting: dict[int, Fitting] = {}

    def run(
        networks: Networks,
        size: int,
        *,
        start: int = 0,
        snapshots: tuple[int, ...] = (),
        on_segment: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    ) -> Trained:
        _count_flops(ledger, family, protocol, data, networks)
        grid = protocol.boundaries(start)
        check_snapshots(protocol, start, snapshots)
        stops = tuple(sorted(set(np.asarray(networks.begins, np.int64).tolist())))
        asked = Asked(protocol, start, grid, stops, snapshots, on_segment)
        fits = fitting.setdefault(size, Fitting(size, ledger.note))
        pieces = fits.run(lambda piece, size: one_piece(piece, size, asked), networks)
        return join(pieces)._replace(steps=pieces[0].steps)

    def one_piece(networks: Networks, size: int, asked: Asked) -> Trained:
        piece, training = Piece(networks, asked, keeping, ledger), None
        current = piece.resume(segments.begun)
        reached = segments.run(pad(current, size), piece.number, piece.intervals)
        with contextlib.closing(reached):
            for here in reached:
                piece.reach(here)
                training = here.training
            return piece.trained(training)

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


def _count_flops(
    ledger: Ledger, family: Family, protocol: Protocol, data: Data, networks: Networks
) -> None:
    """Notes once what a step of one network costs; only shapes are looked at."""
    if ledger.flops_a_step is not None:
        return
    one = jax.eval_shape(lambda tree: jax.tree.map(operator.itemgetter(0), tree), networks)
    batch = batch_shapes(as_stream(data["train"]).rows(np.zeros(1, np.int64)), protocol.batch_size)
    of_step = one.states, one.masks, batch, one.keys
    with ledger.phase("compile"):
        if one.hyperparameters == ():
            # The function that `no_sums` traces too, so JAX traces it once.
            ledger.flops_a_step = flops_of(family(()).step, *of_step)
        else:
            step = lambda given, *of_step: family(given).step(*of_step)  # noqa: E731
            ledger.flops_a_step = flops_of(step, one.hyperparameters, *of_step)
