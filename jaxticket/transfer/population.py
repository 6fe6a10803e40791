"""Transfers from sources to targets, all of them one population."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

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
from jaxticket.records import Record, Result
from jaxticket.train.network import UNWATCHED
from jaxticket.trainer import Networks, Trained, trainer
from jaxticket.transfer.carrying import Renewed, carry, check_renewed
from jaxticket.transfer.gathering import Start, Transfer, check_names, check_shapes, gather
from jaxticket.transfer.tickets import Tickets
from jaxticket.types import Data


class Transferred(NamedTuple):
    """Networks that were trained on their targets.

    Attributes:
      names: of each network.
      steps: `int64[evaluations]`, the steps at which they were evaluated.
      curves: `float32[P, evaluations]` by `<split>_<metric>`.
      diverged: `int64[P]`, the step at which the loss was first not finite, −1 where it stayed so.
      kept: `int64[P]` by path, how many weights of each prunable leaf their masks keep.
      nonzero_pruned: `int64[P]`, pruned weights that are not 0.0 after training: 0 by contract.
    """

    names: tuple[Transfer, ...]
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    diverged: np.ndarray
    kept: dict[str, np.ndarray]
    nonzero_pruned: np.ndarray


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
    on_record: Callable[[tuple[Transfer, ...], Record], None] | None = None,
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
        is wanted of their weights is to be taken there, since there may be thousands of them.

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
    plan = plan or Plan.auto(len(names))
    arms = list(dict.fromkeys(name.arm for name in names))
    check_shapes(source, target, renewed)
    train = trainer(family, UNWATCHED, protocol, data, plan, streaming=streaming, ledger=ledger)
    size = _size(plan, target, len(names))
    start_all = over(
        populate(_start_one(family, arms, renewed), plan, seldom=True), size, ledger.note
    )
    steps, parts = np.zeros(0, np.int64), []
    for first in range(0, len(names), size):
        chosen = tuple(names[first : first + size])
        with ledger.phase("start"):
            networks = start_all(gather(source, target, chosen, arms, key, hyperparameters))
        record = _record(chosen, networks, train(networks, size, start=rewind_step))
        ledger.networks += len(chosen)
        steps = record.steps
        parts.append(_summary(record))
        if on_record is not None:
            on_record(chosen, record)
    together: Any = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    curves, diverged, kept, wrong = together
    return Transferred(tuple(names), steps, curves, diverged, kept, wrong)


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


def _summary(record: Record) -> Any:
    """Gives what is kept of networks, in the order of `Transferred`."""
    params = dict(leaves_by_path(record.params))
    kept, wrong = {}, np.zeros(len(record.arms), np.int64)
    for path, mask in leaves_by_path(record.masks):
        inner = tuple(range(1, mask.ndim))
        kept[path] = np.count_nonzero(mask, axis=inner)
        wrong += np.count_nonzero((params[path] != 0) & ~mask, axis=inner)
    return record.curves, record.diverged_steps(), kept, wrong


def _size(plan: Plan, target: Result, number: int) -> int:
    """Chooses how many networks train at a time: on a CPU as many as a level of the search has."""
    lineages = len(target.variants) * target.replicates
    leaves = jax.tree.leaves(target.origin.rewound)
    state_bytes = sum(getattr(leaf, "nbytes", 0) for leaf in leaves) // lineages
    return min(plan.control_chunk(lineages, state_bytes), plan.padded(number))
