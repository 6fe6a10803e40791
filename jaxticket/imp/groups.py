"""Groups of replicates, searched one after the other: what is in training then fits the memory.

Replicates share nothing, so that the result does not depend on how they are grouped: to the bit
under `map`, to float tolerance under `vmap`.
"""

import math
from collections.abc import Iterator, Sequence

import jax

from jaxticket.imp.setup import Setup
from jaxticket.population import hosts
from jaxticket.population.memory import host_memory, readable
from jaxticket.records import Origin, Record

SHARE = 0.25
"""Of the host's memory, what networks in training may take; this project's own choice."""

COPIES = 7
"""How many times a network that is in training is there, at most: its state at the rewind step,
before and after training, on the device, and parts of it where they are compared; measured."""


def replicates_together(setup: Setup, memory: float | None = None) -> int:
    """Chooses how many replicates are searched at a time.

    n = ⌊s · H / (c · V · b)⌋, with the host's memory H and the share s of it, c copies of the b
    bytes of one network's state, mask and observations, and V variants.

    Args:
      setup: what was chosen, for all replicates.
      memory: H in bytes, shared by all processes that are on one host; asked of the host if `None`.

    Returns:
      Replicates: at least 1, all that fit, or as many as keep all devices busy.
    """
    own = _own_memory() if memory is None else memory
    fits, devices = SHARE * own / _needed(setup, 1), setup.plan.devices
    if fits >= setup.replicates:
        return setup.replicates
    return max(1, int(fits) if fits < devices else int(fits) // devices * devices)


def grouped(setup: Setup, origins: Sequence[Origin]) -> Setup:
    """Decides how many replicates are searched at a time, and says so if it is not all of them.

    Args:
      setup: what was chosen.
      origins: of the groups that were begun by an earlier call, which keep their size.

    Returns:
      The same with `together`.
    """
    chosen = replicates_together(setup) if setup.together is None else setup.together
    together = max([min(chosen, setup.replicates), *map(len, _begun(setup, origins))])
    if together < setup.replicates:
        setup.ledger.note(
            f"memory: {setup.replicates} replicates are searched {together} at a time, one group "
            "after the other; in training together they would take about "
            f"{readable(_needed(setup, setup.replicates))}"
        )
    return setup._replace(together=together)


def groups(setup: Setup, origins: Sequence[Origin]) -> Iterator[tuple[Setup, Origin | None]]:
    """Lists the groups: first those that were begun by an earlier call.

    Args:
      setup: what was chosen, from `grouped`.
      origins: of what was begun, in order.

    Yields:
      The search of a group, and its origin if it was begun.
    """
    begun, first = _begun(setup, origins), 0
    for replicates, origin in zip(begun, origins, strict=True):
        yield setup.only(replicates), origin
        first = replicates.stop
    for start in range(first, setup.replicates, setup.together or setup.replicates):
        stop = min(start + (setup.together or setup.replicates), setup.replicates)
        yield setup.only(range(start, stop)), None


def tickets_of(setup: Setup, records: Sequence[Record]) -> dict[int, Record]:
    """Finds the finished levels of the ticket that are of a group.

    Args:
      setup: of the group.
      records: of the whole search.

    Returns:
      Records by level.
    """
    return {
        record.levels[0]: record
        for record in records
        if record.arms[0] == "ticket" and record.replicates[0] == setup.lineages.first
    }


def _own_memory() -> float:
    """Gives a process's part of the host's memory, the same in all processes."""
    whole = hosts.once(lambda: host_memory()[1])
    return math.inf if whole is None else whole / hosts.number()


def _begun(setup: Setup, origins: Sequence[Origin]) -> list[range]:
    """Tells from its number of rows how many replicates an origin is of."""
    variants, ranges = len(setup.lineages.names), []
    for origin in origins:
        number = len(jax.tree.leaves(origin.initial)[0]) // variants
        start = ranges[-1].stop if ranges else 0
        ranges.append(range(start, start + number))
    return ranges


def _needed(setup: Setup, replicates: int) -> int:
    """Counts the bytes that replicates take while they are searched together."""
    leaves = jax.tree.leaves(setup.template())
    network = sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)
    return COPIES * len(setup.lineages.names) * replicates * network
