"""Transfers from sources to targets, all of them one population."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket.arms import ARMS
from jaxticket.costs import Ledger
from jaxticket.keys import derive
from jaxticket.learners.base import Learner
from jaxticket.learners.family import Family, as_family
from jaxticket.masks.basic import leaves_by_path
from jaxticket.population import Plan, over, populate
from jaxticket.protocol import Protocol
from jaxticket.records import Record
from jaxticket.result import Result
from jaxticket.train.network import UNWATCHED
from jaxticket.trainer import Keeper, Networks, Trained, trainer
from jaxticket.transfer.carrying import Renewed, carry, check_renewed
from jaxticket.transfer.gathering import Start, Transfer, check_names, check_shapes, gather
from jaxticket.transfer.keeping import Finished, Transferred, beside
from jaxticket.transfer.tickets import Tickets
from jaxticket.types import Data

OnRecord = Callable[[tuple[Transfer, ...], Record], Mapping[str, Any] | None]
OnSegment = Callable[[Transfer, int, dict[str, np.ndarray]], None]


def transfer(
    learner: Learner | Family,
    data: Data,
    key: PRNGKeyArray,
    protocol: Protocol,
    source: Tickets,
    target: Result,
    names: Sequence[Transfer],
    *,
    hyperparameters: Mapping[str, Any] | None = None,
    renewed: Renewed = Renewed(),  # noqa: B008
    rewind_step: int = 0,
    plan: Plan | None = None,
    streaming: bool | None = None,
    ledger: Ledger | None = None,
    on_record: OnRecord | None = None,
    on_segment: OnSegment | None = None,
    keeper: Keeper | None = None,
    keep_every: float = 60.0,
) -> Transferred:
    """Trains the tickets of sources, and their controls, on targets: one population, one program.

    Args:
      learner: of the targets; a family where they differ in hyperparameters, such as the task or
        the optimizer.
      data: of the targets, stacked by `data.stacked` where they are several data sets.
      key: of the target's search, so that keys are those of its networks.
      protocol: as in the target's search.
      source: the tickets, from `tickets_of`; of another depth or width after `Tickets.changed`.
      target: a search on the targets, the same one or another, at least of dense networks
        (`levels=1`): of it only the optimizer's schedules at the rewind step are used.
      names: what is trained; variants are `""` where a search is no sweep.
      hyperparameters: of each target by name; none if `None`.
      renewed: what of a ticket stays behind: by default the output layer.
      rewind_step: the step k of both searches.
      plan: how the population runs; `Plan.auto` if `None`.
      streaming: as in `find_tickets`.
      ledger: counts seconds, steps and networks.
      on_record: given the names and the whole networks as soon as some of them are trained; what
        is wanted of their weights is to be taken there, since there may be thousands of them, and
        given back by name, along axis 0.
      on_segment: `on_segment(name, steps, metrics)` is called at every evaluation, and every few
        seconds in between, with the first network in training, the network-steps made since the
        call before (those that are found finished included) and the newest metrics. What it
        raises ends the call, once networks are kept.
      keeper: keeps what is finished, and every `keep_every` seconds what is in training, so that
        the same call goes on where it stopped, to the same bits. What `on_record` gave is kept
        too, so that a keeper is for calls that ask for the same: where it gives nothing, finished
        networks are trained again for it.
      keep_every: seconds.

    Returns:
      Names and trained networks, in the order of `names`.

    Raises:
      TicketError: for none, a name that a search does not have, an arm that cannot be carried
        over, or networks of other shapes, but for layers that `renewed` leaves behind, masks too.

    Example:
      See `experiments.universality`.

    Source: the protocol is that of 1906.02773 (unverified in its details); global pruning and the
    step k are the caller's choice, in the search.
    """
    check_names(source, target, names)
    check_renewed(renewed)
    family, ledger = as_family(learner), ledger or Ledger()
    target = target._replace(origins=[target.origin])
    plan = plan or Plan.auto(len(names))
    arms = list(dict.fromkeys(name.arm for name in names))
    check_shapes(source, target, renewed)
    kept = Finished(keeper, (rewind_step, protocol))
    train = trainer(
        family,
        UNWATCHED,
        protocol,
        data,
        plan,
        streaming=streaming,
        ledger=ledger,
        keeper=None if keeper is None else kept,
        keep_every=keep_every,
    )
    size = _size(plan, target, len(names))
    start_all = over(
        populate(_start_one(family, arms, renewed), plan, compile_fast=True), size, ledger.note
    )

    def one_part(chosen: tuple[Transfer, ...]) -> Transferred:
        tell = functools.partial(on_segment or _nothing, chosen[0])
        with ledger.phase("start"):
            networks = start_all(gather(source, target, chosen, arms, key, hyperparameters))
        name = kept.name(chosen, networks)
        found = kept.find(name, chosen, on_record is not None)
        if found is not None:
            tell(len(chosen) * (protocol.steps - rewind_step), _last(found.curves))
            return found
        trained = train(networks, size, start=rewind_step, on_segment=tell)
        record = _record(chosen, networks, trained)
        ledger.networks += len(chosen)
        part = _summary(chosen, record, None if on_record is None else on_record(chosen, record))
        with ledger.phase("checkpoint"):
            kept.keep(name, part)
        return part

    starts = range(0, len(names), size)
    return beside([one_part(tuple(names[first : first + size])) for first in starts])


def _nothing(name: Transfer, steps: int, metrics: dict[str, np.ndarray]) -> None:
    """Is told of everything and does nothing."""


def _last(curves: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: values[:, -1] for name, values in curves.items()}


def _start_one(family: Family, arms: list[str], renewed: Renewed) -> Callable[[Start], Networks]:
    """Makes state, mask and key of one network; its arm is chosen on the device."""

    def one(start: Start) -> Networks:
        learner = family(start.hyperparameters)
        given = start.ticket, start.state, start.key, start.level
        carried = functools.partial(carry, learner, renewed=renewed)
        branches = [lambda given, arm=arm: carried(*given, arm=arm) for arm in arms]
        state, mask = jax.lax.switch(start.arm, branches, given)
        orders = [derive(start.key, ARMS[arm].order, start.level) for arm in arms]
        return Networks(state, mask, jnp.stack(orders)[start.arm], start.hyperparameters)

    return one


def _record(names: Sequence[Transfer], networks: Networks, trained: Trained) -> Record:
    """Puts trained networks together under their targets' names."""
    return Record(
        arms=tuple(name.arm for name in names),
        levels=tuple(name.level for name in names),
        replicates=tuple(name.replicate for name in names),
        variants=tuple(name.target for name in names),
        steps=trained.steps,
        curves=trained.curves,
        masks=networks.masks,
        params=trained.training.learner.params,
        model_state=trained.training.learner.model_state,
        observed=(),
    )


def _summary(names: tuple[Transfer, ...], record: Record, measured: Any) -> Transferred:
    """Gives what is kept of networks."""
    params = dict(leaves_by_path(record.params))
    kept, wrong = {}, np.zeros(len(record.arms), np.int64)
    for path, mask in leaves_by_path(record.masks):
        inner = tuple(range(1, mask.ndim))
        kept[path] = np.count_nonzero(mask, axis=inner)
        wrong += np.count_nonzero((params[path] != 0) & ~mask, axis=inner)
    own = {name: np.asarray(values) for name, values in (measured or {}).items()}
    diverged = record.diverged_steps()
    return Transferred(names, record.steps, record.curves, diverged, kept, wrong, own or None)


def _size(plan: Plan, target: Result, number: int) -> int:
    """Chooses how many networks train at a time: on a CPU as many as a level of the search has."""
    lineages = len(target.variants) * target.replicates
    leaves = jax.tree.leaves(target.origin.rewound)
    state_bytes = sum(getattr(leaf, "nbytes", 0) for leaf in leaves) // lineages
    return min(plan.control_chunk(lineages, state_bytes), plan.padded(number))
