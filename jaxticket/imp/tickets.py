"""The ticket: level after level, all replicates at once."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxticket import masks
from jaxticket.allocate.base import Counts
from jaxticket.criteria.base import Evidence
from jaxticket.errors import MaskError
from jaxticket.imp.setup import Coordinate, Setup, make_record, repeated
from jaxticket.prune import prune
from jaxticket.records import Origin, Record, Store
from jaxticket.trainer import Networks, Trainer
from jaxticket.types import Mask


def train_tickets(
    setup: Setup,
    train: Trainer,
    dense: Mask,
    counts: tuple[Counts, ...],
    origin: Origin | None,
    records: list[Record],
    store: Store,
    tell: Callable[..., None],
) -> Origin:
    """Trains the levels that the records do not hold yet, and appends them.

    Args:
      setup: what was chosen.
      train: from `jaxticket.trainer.trainer`.
      dense: the dense mask of one network.
      counts: what each level keeps.
      origin: from an earlier call, or `None`.
      records: finished networks; the new levels are appended.
      store: where each level is kept as soon as it is finished.
      tell: called after every compiled call.

    Returns:
      The origin of all tickets.

    Raises:
      MaskError: if global allocation empties a layer.
    """
    done = {record.levels[0]: record for record in records if record.arms[0] == "ticket"}
    if origin is None or 0 not in done:
        origin, done[0] = _train_dense(setup, train, dense, tell)
        store.save_origin(origin)
        _keep(setup, done[0], records, store)
    prune_all = setup.over(_prune_one(setup), setup.ticket_size)
    restart_all = setup.over(_restart_one(setup), setup.ticket_size)
    for level in range(1, setup.levels):
        if level in done:
            continue
        before = done[level - 1]
        evidence = Evidence(origin.initial, before.params, setup.level_keys("prune", level))
        kept = repeated(counts[level], setup.replicates)
        with setup.ledger.phase("prune"):
            mask = prune_all((evidence, before.masks, kept, before.observed))
            _check_not_empty(mask, level)
        with setup.ledger.phase("start"):
            states = restart_all((origin.rewound, mask))
        networks = Networks(states, mask, setup.level_keys("train", level))
        done[level] = _train_level(setup, train, networks, level, tell)[0]
        _keep(setup, done[level], records, store)
    return origin


def _train_dense(
    setup: Setup, train: Trainer, dense: Mask, tell: Callable[..., None]
) -> tuple[Origin, Record]:
    with setup.ledger.phase("start"):
        states = setup.over(setup.learner.init, setup.ticket_size)(setup.keys)
    mask = jax.tree.map(lambda leaf: np.repeat(leaf[None], setup.replicates, axis=0), dense)
    networks = Networks(states, mask, setup.level_keys("train", 0))
    record, rewound = _train_level(setup, train, networks, 0, tell)
    return Origin(states.params, rewound), record


def _train_level(
    setup: Setup, train: Trainer, networks: Networks, level: int, tell: Callable[..., None]
) -> tuple[Record, Any]:
    """Trains one level; gives the record and, at level 0, the states at the rewind step."""
    trained = train(
        networks,
        setup.ticket_size,
        start=setup.rewind_step if level else 0,
        snapshots=() if level else (setup.rewind_step,),
        on_segment=lambda steps, metrics: tell("ticket", level, steps, metrics),
    )
    coordinates = [Coordinate("ticket", level, index) for index in range(setup.replicates)]
    return make_record(coordinates, trained, networks.masks), trained.snapshots.get(
        setup.rewind_step
    )


def _keep(setup: Setup, record: Record, records: list[Record], store: Store) -> None:
    records.append(record)
    with setup.ledger.phase("checkpoint"):
        store.save(record)


def _prune_one(setup: Setup) -> Callable[[Any], Mask]:
    def one(network: tuple[Evidence, Mask, Counts, Any]) -> Mask:
        evidence, mask, kept, observed = network
        return prune(setup.criterion, setup.allocation, evidence, mask, kept, observed)

    return one


def _restart_one(setup: Setup) -> Callable[[Any], Any]:
    def one(network: tuple[Any, Mask]) -> Any:
        state, mask = network
        return setup.learner.restart(state, state.params, mask, moments=setup.rewind_moments)

    return one


def _check_not_empty(mask: Mask, level: int) -> None:
    """Refuses to go on with a layer that has no weight left; global allocation can do that."""
    empty = [
        f"{masks.path_string(path)} of replicate {replicate}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(mask)
        for replicate in np.flatnonzero(~leaf.reshape(leaf.shape[0], -1).any(axis=1))
    ]
    if empty:
        raise MaskError(
            f"level {level} empties {', '.join(empty)}; ask for at most {level} levels, a lower "
            "prune rate or layerwise scope"
        )
