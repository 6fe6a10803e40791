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
from jaxticket.learners.family import Family, as_family
from jaxticket.population import Fitting, Plan, join, pad, to_host
from jaxticket.protocol import Protocol
from jaxticket.train.steps import Training, batch_shapes
from jaxticket.trainer.partway import Keeper, Keeping, Partway
from jaxticket.trainer.placement import as_stream, place
from jaxticket.trainer.segments import Interval, held, streamed
from jaxticket.types import Data, Mask


class Networks(NamedTuple):
    """Networks about to be trained, along axis 0.

    Attributes:
      states: the learner's states, masked.
      masks: which weights are kept.
      keys: typed keys, one a network.
      hyperparameters: what each network's learner is made from; `()` if all have the same.
      begins: `int32[P]`, each network's own first step; `()` if all begin where training starts.
      observed: what the criterion observed before `states`; `()` to begin anew.
    """

    states: LearnerState
    masks: Mask
    keys: jax.Array
    hyperparameters: Any = ()
    begins: Any = ()
    observed: Any = ()


class Trained(NamedTuple):
    """Networks after training, on the host.

    Attributes:
      training: learner states and what the criterion observed.
      steps: `int64[evaluations]`.
      curves: `float32[P, evaluations]` by `<split>_<metric>`; NaN before a network begins.
      snapshots: the learner's states by step, for the steps that were asked for.
    """

    training: Training
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    snapshots: dict[int, LearnerState]


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
      keeper: keeps networks that are partway, at evaluations, every `keep_every` seconds and where
        `on_segment` raises; a later process that is given the same networks goes on from there,
        to the same results. `None` keeps nothing.
      keep_every: seconds.

    Returns:
      `run(networks, size, *, start=0, snapshots=(), on_segment=None) -> Trained`: trains the
      networks from step `start` on, padded to `size`; `snapshots` are steps whose states are
      kept, any from `start` to the end; `on_segment(steps, metrics)` is called at each
      evaluation and snapshot with the number of network-steps made since the one before and the
      metrics `float32[P]`. Networks that begin later wait for their step.
    """
    ledger, family = ledger or Ledger(), as_family(learner)
    keeping = Keeping(keeper, keep_every)
    placement = place(data, plan, streaming, resident_share)
    if placement.streams:
        ledger.note(str(placement))
        segments = streamed(family, criterion, protocol, data, plan, placement, ledger)
    else:
        segments = held(family, criterion, protocol, data, plan, ledger)
    fitting: dict[int, Fitting] = {}

    def run(networks: Networks, size: int, **options: Any) -> Trained:
        _count_flops(ledger, family, protocol, data, networks)
        fits = fitting.setdefault(size, Fitting(size, ledger.note))
        stops = tuple(sorted(set(np.asarray(networks.begins, np.int64).tolist())))
        pieces = fits.run(lambda piece, size: one_piece(piece, size, stops, **options), networks)
        together = join(pieces)
        return together._replace(steps=pieces[0].steps)

    def one_piece(
        networks: Networks,
        size: int,
        stops: tuple[int, ...],
        *,
        start: int = 0,
        snapshots: tuple[int, ...] = (),
        on_segment: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    ) -> Trained:
        number = networks.keys.shape[0]
        begins = np.broadcast_to(networks.begins if np.size(networks.begins) else start, number)
        grid = protocol.boundaries(start)
        check_snapshots(protocol, start, snapshots)
        intervals = _intervals(start, grid, (*stops, *snapshots))
        training, raised, kept, rows, current = None, None, {}, {}, networks
        observed = jax.eval_shape(criterion.init, networks.states.params)
        if partway := keeping.resume(networks, start, (networks.states, observed)):
            kept, rows, here = partway.snapshots, partway.rows, partway.stop
            intervals = [interval for interval in intervals if interval.stop > here]
            current = networks._replace(states=partway.learner, observed=partway.observed)
            if on_segment is not None:
                on_segment(_made(begins, start, here), rows[here])
        with contextlib.closing(segments(pad(current, size), number, intervals)) as reached:
            for interval, (training, metrics) in zip(intervals, reached, strict=True):
                metrics, stop = _first(metrics, number), interval.stop
                made = _made(begins, interval.start, stop)
                ledger.network_steps += made
                if stop in grid or stop in stops:
                    # A stop off the grid is the first evaluation of those that begin there.
                    evaluated = begins <= stop if stop in grid else begins == stop
                    rows[stop] = _only(metrics, evaluated)
                if stop in snapshots:
                    kept[stop] = _first(training.learner, number)
                raised = raised or _tell(on_segment, made, metrics)
                # Between two evaluations there are sums, which are not kept.
                if stop not in grid:
                    continue
                if stop < protocol.steps and (raised or keeping.due):
                    with ledger.phase("checkpoint"):
                        learner, observed, _ = _first(training, number)
                        keeping.keep(
                            networks, start, Partway("", stop, learner, observed, rows, kept)
                        )
                if raised:
                    raise raised
            trained = _first(training, number)
        names = rows[protocol.steps]
        curves = {name: np.stack([row[name] for row in rows.values()], axis=1) for name in names}
        return Trained(trained, np.array(list(rows)), curves, kept)

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


def _intervals(start: int, evaluations: tuple[int, ...], others: tuple[int, ...]) -> list[Interval]:
    """Lists the intervals between stops; other stops do not cut what is averaged over."""
    intervals, here, since = [], start, start
    for stop in sorted({*evaluations, *others}):
        intervals.append(Interval(here, stop, since))
        here, since = stop, stop if stop in evaluations else since
    return intervals


def _made(begins: np.ndarray, start: int, stop: int) -> int:
    return int((stop - np.clip(begins, start, stop)).sum())


def _tell(
    on_segment: Callable[..., None] | None, made: int, metrics: dict[str, np.ndarray]
) -> BaseException | None:
    """Tells, and gives back what was raised, so that the networks can be kept before it goes on."""
    try:
        if on_segment is not None:
            on_segment(made, metrics)
    except BaseException as error:
        return error
    return None


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


def _only(metrics: dict[str, np.ndarray], evaluated: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.where(evaluated, values, np.nan) for name, values in metrics.items()}


def _first(tree: Any, number: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:number], to_host(tree))
