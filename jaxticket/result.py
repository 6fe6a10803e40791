"""What a search found: all its finished networks, found again by name."""

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.allocate.base import Counts
from jaxticket.errors import TicketError, unknown
from jaxticket.records import Coordinate, Dropped, Origin, Record
from jaxticket.types import Mask, ModelState, Params


class Network(NamedTuple):
    """One finished network of a result."""

    mask: Mask
    params: Params
    model_state: ModelState
    curves: dict[str, np.ndarray]
    steps: np.ndarray


class Result(NamedTuple):
    """All that `find_tickets` found.

    Attributes:
      arms: the arms, `ticket` first.
      levels: number of levels.
      replicates: number of replicates.
      schedules: by variant, what each level keeps, exact; `{"": ...}` without a sweep.
      size: number of prunable weights.
      origins: initial weights and rewound states, of each group of replicates.
      records: the finished networks.
    """

    arms: tuple[str, ...]
    levels: int
    replicates: int
    schedules: dict[str, tuple[Counts, ...]]
    size: int
    origins: list[Origin]
    records: list[Record]

    @property
    def origin(self) -> Origin:
        """Initial weights and rewound states, of all replicates of all variants.

        Of several groups they are put together in memory, each time anew.
        """
        return _in_order(self.origins, len(self.schedules))

    @property
    def variants(self) -> tuple[str, ...]:
        """The variants of the sweep, `("",)` without one."""
        return tuple(self.schedules)

    @property
    def counts(self) -> tuple[Counts, ...]:
        """What each level of the first variant keeps."""
        return self.schedules[self.variants[0]]

    def densities(self, variant: str | None = None) -> np.ndarray:
        """Gives the scheduled density of every level: of weights, or of the costs or units counted.

        Args:
          variant: of a sweep; the first one if `None`.

        Returns:
          `float64[levels]`.
        """
        schedule = self.counts if variant is None else self.schedules[variant]
        # Level 0 is dense, so that its counts are the whole, in whatever terms.
        whole = sum(schedule[0].values())
        return np.array([sum(counts.values()) / whole for counts in schedule])

    def only(self, variant: str) -> "Result":
        """Gives what one search of a sweep found, as if it had been made alone.

        Args:
          variant: its name.

        Returns:
          A result whose only variant is `""`.

        Raises:
          TicketError: if there is no such variant.
        """
        if variant not in self.schedules:
            raise unknown("variant", variant, self.variants)
        place, number = self.variants.index(variant), len(self.variants)

        def own(leaf: Any) -> Any:
            replicates = len(leaf) // number
            return leaf[place * replicates : (place + 1) * replicates]

        return self._replace(
            schedules={"": self.schedules[variant]},
            origins=[jax.tree.map(own, origin) for origin in self.origins],
            records=[record.only(variant) for record in self.records if variant in record.variants],
        )

    def tickets(self, level: int) -> Record:
        """Gives the ticket's networks of a level, those of all replicates of all variants.

        Args:
          level: of the ticket.

        Returns:
          One record, variant by variant.

        Raises:
          TicketError: if there is no such level.
        """
        own = [r for r in self.records if r.arms[0] == "ticket" and r.levels[0] == level]
        if sum(len(record.arms) for record in own) < self.replicates * len(self.schedules):
            raise TicketError(f"level: got {level}, expected 0 to {self.levels - 1}")
        own.sort(key=lambda record: record.replicates[0])
        # Where an earlier process dropped those of one group.
        dropped = [r.params for r in own if isinstance(r.params, Dropped)]
        own = [r._replace(params=dropped[0]) for r in own] if dropped else own
        arrays = [tuple(map(np.array, record[:4])) for record in own]
        names = _in_order(arrays, len(self.schedules))
        parts = _in_order([record[5:] for record in own], len(self.schedules))
        return Record._make((*(tuple(n.tolist()) for n in names), own[0].steps, *parts))

    def network(self, arm: str, level: int, replicate: int, variant: str = "") -> Network:
        """Gives one finished network.

        Args:
          arm: its arm; at level 0 all arms share the dense network.
          level: its level.
          replicate: its replicate.
          variant: of a sweep.

        Returns:
          Mask, trained params and curves of that network.

        Raises:
          TicketError: if there is no such network.
        """
        wanted = Coordinate("ticket" if level == 0 else arm, level, replicate, variant)
        for record in self.records:
            if wanted in record.coordinates:
                here = operator.itemgetter(record.coordinates.index(wanted))
                return Network(
                    mask=jax.tree.map(here, record.masks),
                    params=jax.tree.map(here, record.params),
                    model_state=jax.tree.map(here, record.model_state),
                    curves=jax.tree.map(here, record.curves),
                    steps=record.steps,
                )
        raise TicketError(
            f"network: got {tuple(wanted)}, expected an arm of {self.arms}, a level below "
            f"{self.levels}, a replicate below {self.replicates} and a variant of {self.variants}"
        )


def _in_order(groups: Sequence[Any], variants: int) -> Any:
    """Puts groups of replicates behind each other, each of which has rows for all variants."""
    if len(groups) == 1:
        return groups[0]

    def together(*leaves: Any) -> Any:
        if isinstance(leaves[0], Dropped):
            return leaves[0]
        # NumPy has no typed keys.
        library = np if isinstance(leaves[0], np.ndarray) else jnp
        shape, number = leaves[0].shape[1:], sum(len(leaf) for leaf in leaves)
        parts = [leaf.reshape(variants, len(leaf) // variants, *shape) for leaf in leaves]
        return library.concatenate(parts, axis=1).reshape(number, *shape)

    return jax.tree.map(together, *groups)
