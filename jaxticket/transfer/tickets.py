"""The tickets of a finished search, as what other networks are made from."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxticket.errors import TicketError, unknown
from jaxticket.population import to_host
from jaxticket.result import Result
from jaxticket.types import Mask, ModelState, Params


class Ticket(NamedTuple):
    """A ticket of one network.

    Attributes:
      mask: m.
      params: θ_k, not masked.
      model_state: what belongs to θ_k (batch statistics ...).
    """

    mask: Mask
    params: Params
    model_state: ModelState


class Tickets(NamedTuple):
    """The tickets of a search; along axis 0 the replicates of all its variants, L of them.

    Attributes:
      variants: of the sweep, `("",)` without one.
      replicates: of each.
      masks: by level, `bool[L, ...]` leaves.
      params: θ_k, `float[L, ...]` leaves.
      model_state: likewise.
    """

    variants: tuple[str, ...]
    replicates: int
    masks: tuple[Mask, ...]
    params: Params
    model_state: ModelState

    def row(self, variant: str, level: int, replicate: int) -> int:
        """Finds a ticket.

        Args:
          variant: of the sweep.
          level: of the ticket.
          replicate: likewise.

        Returns:
          Its place along axis 0.

        Raises:
          TicketError: if there is none.
        """
        if variant not in self.variants:
            raise unknown("source of a transfer", variant, self.variants)
        if not (0 <= level < len(self.masks) and 0 <= replicate < self.replicates):
            raise TicketError(
                f"ticket: got level {level} and replicate {replicate}, expected them below "
                f"{len(self.masks)} and {self.replicates}, which the search has"
            )
        return self.variants.index(variant) * self.replicates + replicate

    def changed(self, change: Callable[[Ticket], Ticket]) -> "Tickets":
        """Makes tickets of another network of all of them.

        Args:
          change: of one ticket, such as by `stretch` or `widen`.

        Returns:
          The tickets.

        Example:
          >>> one = {"a_0": np.ones((1, 2), bool)}
          >>> tickets = Tickets(("",), 1, (one,), {"a_0": np.ones((1, 2))}, {})
          >>> drop = lambda ticket: ticket._replace(params={"b": ticket.params["a_0"][:1]})
          >>> tickets.changed(drop).params["b"].shape
          (1, 1)
        """
        made = [
            to_host(jax.vmap(change)(Ticket(mask, self.params, self.model_state)))
            for mask in self.masks
        ]
        return self._replace(
            masks=tuple(one.mask for one in made),
            params=made[0].params,
            model_state=made[0].model_state,
        )


def tickets_of(result: Result) -> Tickets:
    """Takes the tickets of a search.

    Args:
      result: from `find_tickets`, or of a run directory.

    Returns:
      The tickets of all levels; level 0 is the dense network.

    Raises:
      TicketError: if a network of the arm `ticket` is missing.

    Example:
      See `experiments.universality`.
    """
    levels = [
        [_mask(result, variant, level, replicate) for variant, replicate in _lineages(result)]
        for level in range(result.levels)
    ]
    stacked = [jax.tree.map(lambda *leaves: np.stack(leaves), *masks) for masks in levels]
    rewound = result.origin.rewound
    return Tickets(
        result.variants, result.replicates, tuple(stacked), rewound.params, rewound.model_state
    )


def _lineages(result: Result) -> list[tuple[str, int]]:
    return [(variant, r) for variant in result.variants for r in range(result.replicates)]


def _mask(result: Result, variant: str, level: int, replicate: int) -> Mask:
    try:
        return result.network("ticket", level, replicate, variant).mask
    except TicketError:
        raise TicketError(
            f"tickets: lacks the ticket of level {level}, replicate {replicate}"
            f"{f', variant {variant}' if variant else ''}; run its search to the end first"
        ) from None
