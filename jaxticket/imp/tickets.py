"""The ticket: level after level, all replicates of a group at once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxticket.imp.groups import tickets_of
from jaxticket.imp.monitor import Monitor, checked
from jaxticket.imp.next_masks import gather_pruned
from jaxticket.imp.programs import Init, Programs
from jaxticket.imp.pruned import PrunedLevel, check_pruned
from jaxticket.imp.restarts import gather_restarts
from jaxticket.imp.setup import Setup, make_record
from jaxticket.imp.sources import kept_source, source_of
from jaxticket.records import Coordinate, Dropped, Origin, Record, Store
from jaxticket.trainer import Networks, Trainer
from jaxticket.types import Mask


def train_tickets(
    setup: Setup,
    programs: Programs,
    train: Trainer,
    dense: Mask,
    origin: Origin | None,
    records: list[Record],
    store: Store,
    tell: Callable[..., None],
    check: Monitor,
) -> Origin:
    """Trains the levels that the records do not hold yet, and appends them.

    Args:
      setup: what was chosen, of the group.
      programs: of the search.
      train: from `jaxticket.trainer.trainer`.
      dense: the dense mask of one network.
      origin: from an earlier call, or `None`.
      records: finished networks; the new levels are appended.
      store: where each level is kept as soon as it is finished.
      tell: called after every compiled call.
      check: looks at each level before it is kept.

    Returns:
      The origin of the group's tickets.

    Raises:
      MaskError: if global allocation empties a layer.
      TicketError: if a network that has not diverged has scores that are not finite.
      ContractError: if a network breaks a contract.
    """
    lineages = setup.lineages
    done = tickets_of(setup, records)
    if origin is None or 0 not in done:
        origin, done[0] = _train_dense(setup, programs, train, dense, tell)
        origin = store.save_origin(origin)
        done[0] = _keep(setup, done[0], records, store)
    for level in sorted(_to_train(setup, done)):
        kept = level in done
        before = done[level - 1]
        with setup.ledger.phase("prune"):
            mask, lost = programs.prune(gather_pruned(setup, origin, done[0], before, level))
            check_pruned(setup, level, PrunedLevel(mask, lost, done[0], before))
        with setup.ledger.phase("start"):
            states = programs.restart(gather_restarts(setup, origin, before, mask, level))
            given = programs.repel(setup, [done[earlier] for earlier in range(level)], mask)
        networks = Networks(
            states,
            mask,
            setup.level_keys("train", level),
            given,
            setup.begins(),
        )
        trained = train(
            networks,
            setup.ticket_size,
            start=int(lineages.begins.min()),
            # What was counted when it was first trained counts once.
            on_segment=lambda steps, metrics, level=level, kept=kept: tell(
                "ticket", level, 0 if kept else steps, metrics
            ),
        )
        source = kept_source(
            setup, source_of(setup, origin.rewound), before.params, before.model_state
        )
        compared = checked(networks, trained, before.masks, source)
        check(names_of(setup, level), compared, setup.ticket_size)
        done[level] = make_record(names_of(setup, level), trained, mask)
        if not kept:
            done[level] = _keep(setup, done[level], records, store)
    return origin


def _to_train(setup: Setup, done: dict[int, Record]) -> set[int]:
    """Lists the levels that are missing, and those whose params they need and a store dropped."""
    wanted = {level for level in range(1, setup.levels) if level not in done}
    for level in range(setup.levels - 1, 0, -1):
        needed = range(1, level) if setup.lineages.repulsion.any() else range(level - 1, level)
        if level in wanted:
            dropped = [n for n in needed if n in done and isinstance(done[n].params, Dropped)]
            wanted.update(dropped)
    return wanted


def _train_dense(
    setup: Setup, programs: Programs, train: Trainer, dense: Mask, tell: Callable[..., None]
) -> tuple[Origin, Record]:
    """Trains the dense networks, each once, and hands them to their lineages."""
    lineages, rows = setup.lineages, setup.lineages.dense_lineages
    given = jax.tree.map(lambda leaf: leaf[rows], lineages.hyperparameters)
    states = initial_states(setup, programs.init, rows)
    mask = jax.tree.map(lambda leaf: np.repeat(leaf[None], len(rows), axis=0), dense)
    end = setup.protocol.steps
    fine_tunes = lineages.keeps_rate.any()
    snapshots = sorted({*lineages.begins.tolist(), *([end] if fine_tunes else [])})
    trained = train(
        Networks(states, mask, setup.level_keys("train", 0)[rows], given, _from_zero(setup, rows)),
        setup.ticket_size,
        snapshots=tuple(snapshots),
        on_segment=lambda steps, metrics: tell("ticket", 0, steps, metrics),
    )
    own = lambda tree: jax.tree.map(lambda leaf: leaf[lineages.dense], tree)  # noqa: E731
    rewound = _each_at(trained.snapshots, lineages.begins, lineages.dense)
    final = own(trained.snapshots[end]) if fine_tunes else ()
    expanded = trained._replace(training=own(trained.training), curves=own(trained.curves))
    record = make_record(names_of(setup, 0), expanded, own(mask))
    return Origin(own(states.params), rewound, final), record


def initial_states(setup: Setup, init: Init, rows: np.ndarray) -> Any:
    """Makes the learner's states that lineages begin with.

    Args:
      setup: what was chosen.
      init: of the search's programs.
      rows: `int64[n]`, which lineages.

    Returns:
      States along axis 0.
    """
    given = jax.tree.map(lambda leaf: leaf[rows], setup.lineages.hyperparameters)
    with setup.ledger.phase("start"):
        return init((given, setup.lineages.keys[rows]))


def _from_zero(setup: Setup, rows: np.ndarray) -> Any:
    """Lets dense networks begin at 0, in the words of later levels, whose program serves both."""
    return np.zeros_like(rows, np.int32) if np.size(setup.begins()) else ()


def _each_at(snapshots: dict[int, Any], steps: np.ndarray, rows: np.ndarray) -> Any:
    """Gathers states, each of its own step, along axis 0."""
    pairs = zip(steps.tolist(), rows.tolist(), strict=True)
    states = [jax.tree.map(lambda leaf, r=r: leaf[r], snapshots[step]) for step, r in pairs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)


def names_of(setup: Setup, level: int) -> list[Coordinate]:
    """Names the networks of a level of the ticket, in the order of their lineages."""
    lineages = setup.lineages
    pairs = map(lineages.name, range(lineages.number))
    return [Coordinate("ticket", level, replicate, variant) for variant, replicate in pairs]


def _keep(setup: Setup, record: Record, records: list[Record], store: Store) -> Record:
    with setup.ledger.phase("checkpoint"):
        kept = store.save(record)
    records.append(kept)
    return kept
