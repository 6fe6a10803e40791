"""Whether what a store holds is of the search that it is given to."""

import jax
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.imp.groups import groups
from jaxticket.imp.programs import Init
from jaxticket.imp.setup import Setup
from jaxticket.imp.tickets import initial_states, names_of
from jaxticket.records import Origin, Record

_APART = 1e-3
"""Between initial weights that other machines or versions may draw otherwise in the last bits."""


def check_kept(setup: Setup, init: Init, origins: list[Origin], records: list[Record]) -> None:
    """Refuses what another search has kept, as far as it can be told.

    Its networks must have the names of this search's, its curves the steps, and the first one
    the initial weights that its key gives. Optimizers and criteria are functions, which cannot
    be compared: a store is for one search.

    Args:
      setup: what was chosen, for all replicates.
      init: of the search's programs.
      origins: from the store, one a group.
      records: from the store.

    Raises:
      TicketError: if they are not this search's.
    """
    _check_begun(setup, origins, records)
    own = {group.lineages.first: group for group, _ in groups(setup, origins)}
    for record in records:
        _check_names(own.get(record.replicates[0], setup), record)
    if records:
        _check_steps(setup, records[0])
    if origins:
        _check_initial(setup, init, origins[0])


def _check_begun(setup: Setup, origins: list[Origin], records: list[Record]) -> None:
    """Counts the networks that were begun: groups are told from their number."""
    rows = [len(jax.tree.leaves(origin.initial)[0]) for origin in origins]
    wanted, most = list(setup.lineages.names), setup.lineages.number
    if sum(rows) > most or any(number % len(wanted) for number in rows):
        there = list(dict.fromkeys(name for record in records for name in record.variants))
        of = f" of the variants {there}" if there else ""
        raise _other(f"{sum(rows)} networks{of} that were begun", f"at most {most} of {wanted}")


def _check_names(group: Setup, record: Record) -> None:
    """Compares the networks of a level: rows are taken for lineages by their place."""
    level = record.levels[0]
    names = names_of(group, level)
    if record.arms[0] != "ticket" or list(record.coordinates) == names:
        return
    there, wanted = (list(dict.fromkeys(n.variant for n in c)) for c in (record.coordinates, names))
    raise _other(
        f"{len(record.arms)} networks of the variants {there} at level {level}",
        f"{len(names)} of {wanted}, in this order",
    )


def _check_steps(setup: Setup, record: Record) -> None:
    steps, wanted = record.steps.tolist(), list(setup.protocol.boundaries())
    if steps != wanted:
        raise _other(f"networks that were evaluated at the steps {_few(steps)}", _few(wanted))


def _check_initial(setup: Setup, init: Init, origin: Origin) -> None:
    mine = initial_states(setup, init, np.zeros(1, np.int64)).params
    there = jax.tree.map(lambda leaf: leaf[:1], origin.initial)
    # A network that begins with NaN is itself.
    same = jax.tree.map(lambda a, b: np.allclose(a, b, _APART, _APART, equal_nan=True), mine, there)
    if not all(jax.tree.leaves(same)):
        raise _other("networks of other initial weights", "those that this key and learner give")


def _other(there: str, wanted: str) -> TicketError:
    return TicketError(
        f"store: holds {there}, expected {wanted}; give the store to the search that made it, or "
        "use a new one"
    )


def _few(steps: list[int]) -> str:
    """Shows no more than the first and the last of many steps.

    >>> _few([0, 40, 80, 120, 160, 200, 240])
    '0, 40, 80, ..., 240'
    """
    shown = [str(step) for step in steps]
    return ", ".join(shown if len(shown) < 7 else [*shown[:3], "...", shown[-1]])
