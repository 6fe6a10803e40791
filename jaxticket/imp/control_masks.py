"""The masks that control networks begin with: the ticket's, or what one pruning left of the dense.

How an arm changes them is decided on the device, in `control_starts`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxticket.arms import ARMS
from jaxticket.criteria.base import Evidence
from jaxticket.imp.next_masks import Pruned
from jaxticket.imp.setup import Setup
from jaxticket.records import Coordinate, Origin, Record
from jaxticket.types import Mask

Prune = Callable[[Pruned], Any]
"""The masks of networks, and how many scores were not finite, along axis 0."""


def gather_masks(
    setup: Setup,
    prune: Prune,
    chosen: Sequence[Coordinate],
    rows: np.ndarray,
    origin: Origin,
    tickets: dict[int, Record],
) -> Mask:
    """Collects along axis 0 the masks that control networks begin with.

    Args:
      setup: what was chosen.
      prune: of the search's programs.
      chosen: names of the networks.
      rows: `int64[n]`, their lineages.
      origin: where the group's tickets come from.
      tickets: the finished levels of the ticket.

    Returns:
      `bool[n, ...]` leaves.
    """
    places = zip(chosen, rows, strict=True)
    own = [jax.tree.map(lambda leaf, r=row: leaf[r], tickets[c.level].masks) for c, row in places]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *own)
    once = [place for place, c in enumerate(chosen) if ARMS[c.arm].mask == "oneshot"]
    if once:
        pruned = _gather_oneshot(
            setup, [chosen[place] for place in once], rows[once], origin, tickets
        )
        made, _ = prune(pruned)
        for leaf, its in zip(jax.tree.leaves(together), jax.tree.leaves(made), strict=True):
            leaf[once] = its
    return together


def _gather_oneshot(
    setup: Setup,
    chosen: Sequence[Coordinate],
    rows: np.ndarray,
    origin: Origin,
    tickets: dict[int, Record],
) -> Pruned:
    """Collects what the dense networks are pruned by, as if each level were the first."""
    lineages, dense = setup.lineages, tickets[0]
    counts = [lineages.counts(level) for level in range(setup.levels)]
    take = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
    trained = take((dense.params, dense.model_state, dense.observed))
    evidence = Evidence(
        take(origin.initial),
        trained[0],
        setup.keys("prune", rows, levels_of(chosen)),
        model_state=trained[1],
        examples=take(setup.scoring),
    )
    places = list(zip(chosen, rows, strict=True))
    start = origin.rewound.params, origin.rewound.model_state
    return Pruned(
        evidence=evidence,
        mask=take(jax.tree.map(np.ones_like, dense.masks)),
        counts={
            path: np.array([counts[c.level][path][row] for c, row in places], np.int32)
            for path in counts[0]
        },
        observed=trained[2],
        pruner=lineages.pruner[rows],
        hyperparameters=take(lineages.hyperparameters),
        # What lineages of other prunings would be given is there, and not taken.
        dense=trained if lineages.oneshot.any() else (),
        rewound=take(start) if lineages.at_start.any() else (),
        oneshot=np.zeros(len(rows), bool),
        at_start=np.zeros(len(rows), bool),
    )


def levels_of(chosen: Sequence[Coordinate]) -> np.ndarray:
    """Lists the levels of networks, `int32[n]`."""
    return np.array([name.level for name in chosen], np.int32)
