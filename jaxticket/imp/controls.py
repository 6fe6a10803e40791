"""The controls: every other arm at every level, all those of a group one population."""

from collections.abc import Callable, Iterator

import jax

from jaxticket.imp.control_starts import gather_starts
from jaxticket.imp.groups import tickets_of
from jaxticket.imp.monitor import Monitor, checked
from jaxticket.imp.programs import Programs
from jaxticket.imp.setup import Setup, make_record
from jaxticket.imp.sources import source_of
from jaxticket.records import Coordinate, Origin, Record, Store
from jaxticket.trainer import Trainer


def train_controls(
    setup: Setup,
    programs: Programs,
    train: Trainer,
    origin: Origin,
    records: list[Record],
    store: Store,
    tell: Callable[..., None],
    check: Monitor,
) -> None:
    """Trains the control networks that the records do not hold yet, and appends them.

    Args:
      setup: what was chosen, of the group.
      programs: of the search.
      train: from `jaxticket.trainer.trainer`.
      origin: where the group's tickets come from.
      records: finished networks, all levels of the ticket among them.
      store: where each chunk is kept as soon as it is finished.
      tell: called after every compiled call.
      check: looks at each chunk before it is kept.

    Raises:
      ContractError: if a network breaks a contract.
    """
    tickets = tickets_of(setup, records)
    finished = {coordinate for record in records for coordinate in record.coordinates}
    missing = [c for c in control_coordinates(setup) if c not in finished]
    size = _chunk(setup, origin, len(missing))
    for first in range(0, len(missing), size):
        chosen = missing[first : first + size]
        with setup.ledger.phase("start"):
            starts = gather_starts(setup, programs.init, programs.prune, chosen, origin, tickets)
            networks = programs.start(size)(starts)
        at = chosen[0]
        trained = train(
            networks,
            size,
            start=int(setup.lineages.begins.min()),
            on_segment=lambda steps, metrics, at=at: tell(at.arm, at.level, steps, metrics),
        )
        begun, mask = programs.begun(size), starts.mask
        source = source_of(setup, starts.rewound)
        source = begun(source, chosen, starts.initial, starts.dense, mask)
        check(chosen, checked(networks, trained, mask, source), size)
        with setup.ledger.phase("checkpoint"):
            records.append(store.save(make_record(chosen, trained, networks.masks)))


def control_coordinates(setup: Setup) -> Iterator[Coordinate]:
    """Lists the control networks of a run: arm by arm, level by level.

    Args:
      setup: what was chosen.

    Yields:
      Their names.
    """
    lineages = setup.lineages
    for arm in setup.arms[1:]:
        for level in range(1, setup.levels):
            for variant, replicate in map(lineages.name, range(lineages.number)):
                yield Coordinate(arm, level, replicate, variant)


def _chunk(setup: Setup, origin: Origin, missing: int) -> int:
    """Chooses how many controls train at a time.

    On a CPU as many as the ticket, so that one compilation serves both. Where the host's memory
    groups replicates it has no room for more.
    """
    state_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(origin.rewound))
    size = setup.plan.control_chunk(setup.group_size, state_bytes // setup.lineages.number)
    if setup.together is not None and setup.together < setup.replicates:
        size = min(size, setup.plan.padded(setup.group_size))
    return min(size, max(setup.plan.padded(missing), setup.ticket_size))
