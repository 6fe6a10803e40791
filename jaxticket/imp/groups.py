"""Groups of replicates, searched one after the other: what is in training then fits the memory.

Replicates share nothing, so that the result does not depend on how they are grouped: to the bit
under `map`, to float tolerance under `vmap`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from jaxticket.imp.setup import Setup
from jaxticket.population import hosts
from jaxticket.population.memory import host_memory, readable
from jaxticket.records import Origin, Record

SHARE = 0.25
"""Of the host's memory, what networks in training may take; this project's own choice."""

COPIES = 7
"""How many times a network that is in training is there: its state at the rewind step, before and
after training, on the device, and parts of it where they are compared; `benchmarks.memory`."""


def replicates_together(setup: Setup, memory: float | None = None) -> int:
    """Chooses how many replicates are searched at a time, in groups of about the same size.

    At most n = ⌊s · H / (V · b)⌋, with the host's memory H and the share s of it, V variants, and b
    bytes that a network takes while it is in training.

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
    most = max(1, int(fits) if fits < devices else int(fits) // devices * devices)
    return min(most, setup.plan.padded(even(setup.replicates, most)))


def even(replicates: int, most: int) -> int:
    """Gives the size of as few groups as can be, none of which is much smaller than the others.

    Args:
      replicates: of all groups.
      most: of one group.

    Returns:
      Replicates of each group but perhaps the last.

    Example:
      >>> even(1_001, 1_000), even(12, 5)
      (501, 4)
    """
    return math.ceil(replicates / math.ceil(replicates / most))


def grouped(setup: Setup, origins: Sequence[Origin]) -> Setup:
    """Decides how many replicates are searched at a time, and says so if it is not all of them.

    Args:
      setup: what was chosen.
      origins: of the groups that were begun by an earlier call, which keep their size.

    Returns:
      The same with `together`.
    """
    begun = [len(replicates) for replicates in _begun(setup, origins)]
    chosen = replicates_together(setup) if setup.together is None else setup.together
    # What pads a group is computed under `vmap`, so it is the same whoever goes on.
    together = max(begun) if begun else min(chosen, setup.replicates)
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
    size = setup.together or setup.replicates
    for start in range(first, setup.replicates, size):
        yield setup.only(range(start, min(start + size, setup.replicates))), None


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
    lineages, template = setup.lineages, setup.template()
    network = COPIES * _bytes(template)
    if not setup.protocol.test_curves:
        # What evaluating reads, at the early-stop step.
        network += _bytes((template.state.params, template.state.model_state))
    # Of dense training a state at each rewind step, and one at its end where that is gone on from.
    kept = len(set(lineages.begins.tolist())) - 1 + bool(lineages.keeps_rate.any())
    network += kept * _bytes(template.state)
    if lineages.repulsion.any():
        # What repels is given as it was found, and as what the step reads.
        network += 2 * (setup.levels - 1) * _bytes(template.state.params)
    return len(lineages.names) * replicates * network


def _bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
