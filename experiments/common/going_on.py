"""Training on from a run that is read: other searches that begin with its dense networks."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.common.problem import Problem
from experiments.common.searching import lay_out, search_of
from jaxticket.costs import Ledger
from jaxticket.errors import TicketError
from jaxticket.records import Origin, Record, Store, Template
from jaxticket.result import Result


class Further(NamedTuple):
    """What is trained besides a search that is read.

    Attributes:
      name: of the search that is read, beside the others.
      problem: the others, its `variants`; of the configuration's arms only the ticket is trained.
      later: whether they are trained where the run is measured, since they begin with dense
        networks of their own.
    """

    name: str
    problem: Problem
    later: bool = False


class Begun:
    """A store whose searches begin with dense networks that are there already."""

    def __init__(
        self, store: Store, read: Result, variants: tuple[str, ...], together: int
    ) -> None:
        """Prepares.

        Args:
          store: keeps what is trained.
          read: one search, of the same initial weights.
          variants: names of the searches.
          together: how many replicates are searched at a time.
        """
        self._store, self._read, self._variants = store, read, variants
        self._together = together

    @property
    def partway(self) -> Any:
        """The store's keeper of what is not finished."""
        return self._store.partway

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Gives back what was saved, at first the dense networks of all groups of replicates."""
        origins, records = self._store.load(template)
        rows = sum(len(jax.tree.leaves(origin.initial)[0]) for origin in origins)
        number, done = self._read.replicates, rows // len(self._variants)
        if done < number:
            # Nothing is fine-tuned that begins here.
            whole, dense = self._read.origin._replace(final=()), self._read.tickets(0)
            for first in range(done, number, self._together):
                own = slice(first, min(first + self._together, number))
                begun = jax.tree.map(lambda leaf, own=own: self._for_each(leaf[own]), whole)
                origins.append(self._store.save_origin(begun))
                records.append(self._store.save(self._dense(_rows(dense, own), template)))
        return origins, records

    def save_origin(self, origin: Origin) -> Origin:
        """Refuses: it is there from the first call on."""
        del origin
        raise AssertionError("searches begin with the origin that is there")

    def save(self, record: Record) -> Record:
        """Keeps a record."""
        return self._store.save(record)

    def _dense(self, record: Record, template: Template) -> Record:
        observed = _observed(record.observed, template.observed)
        parts = jax.tree.map(self._for_each, record._replace(observed=observed)[5:])
        names = [name for name in self._variants for _ in record.arms]
        return Record(
            record.arms * len(self._variants),
            record.levels * len(self._variants),
            record.replicates * len(self._variants),
            tuple(names),
            record.steps,
            *parts,
        )

    def _for_each(self, leaf: Any) -> np.ndarray:
        return np.concatenate([np.asarray(leaf)] * len(self._variants))


def go_on(
    further: Further,
    read: Result,
    store: Store,
    on_progress: Callable[..., None],
    ledger: Ledger,
) -> Result:
    """Trains other searches from the dense networks of one that was read.

    Args:
      further: which.
      read: the tickets of one search.
      store: keeps what is trained.
      on_progress: told of it.
      ledger: counts it.

    Returns:
      The tickets of all, those that were read first.

    Raises:
      TicketError: if the dense networks are of another kind than the searches begin with.
    """
    together = lay_out(further.problem).together or read.replicates
    begun = Begun(store, read, tuple(further.problem.variants or ()), together)
    trained = search_of(further.problem, begun, ledger)(store, on_progress)
    return joined(further.name, read, trained)


def joined(name: str, read: Result, trained: Result) -> Result:
    """Puts the tickets of one search before those of others, as if one sweep had made them.

    Args:
      name: of the first.
      read: the first, which has no name.
      trained: the others, of the same levels and replicates.

    Returns:
      Their tickets; controls are left out.
    """
    first, rest = ([of.tickets(level) for level in range(of.levels)] for of in (read, trained))
    named = [record._replace(variants=(name,) * len(record.arms)) for record in first]
    return trained._replace(
        arms=("ticket",),
        schedules={name: read.counts} | trained.schedules,
        origins=[_beside(read.origin._replace(final=()), trained.origin._replace(final=()))],
        records=[*map(_both, named, rest)],
    )


def _rows(record: Record, rows: slice) -> Record:
    names = (names[rows] for names in record[:4])
    parts = jax.tree.map(lambda leaf: leaf[rows], record[5:])
    return Record._make((*names, record.steps, *parts))


def _both(one: Record, other: Record) -> Record:
    names = (mine + its for mine, its in zip(one[:4], other[:4], strict=True))
    nothing: Any = ()
    parts = _beside(one._replace(observed=nothing)[5:], other._replace(observed=nothing)[5:])
    return Record._make((*names, one.steps, *parts))


def _beside(one: Any, other: Any) -> Any:
    return jax.tree.map(lambda *leaves: np.concatenate([*map(np.asarray, leaves)]), one, other)


def _observed(there: Any, wanted: Any) -> Any:
    """Takes what the criterion saw of dense training; a sweep has what all its criteria saw."""
    if not jax.tree.leaves(wanted):
        return wanted
    if jax.tree.structure(there) != jax.tree.structure(wanted):
        raise TicketError(
            "--run: several criteria watched its training, expected one; give a run of one search"
        )
    return there
