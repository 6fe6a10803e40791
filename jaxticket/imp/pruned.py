"""Whether the masks of a level mean anything, before networks are trained under them."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket import masks
from jaxticket.allocate.base import Counts
from jaxticket.errors import MaskError, TicketError
from jaxticket.imp.setup import Setup
from jaxticket.records import Record
from jaxticket.types import Mask


class PrunedLevel(NamedTuple):
    """The masks of a level of the ticket, and what they were made from.

    Attributes:
      masks: `bool[L, ...]` leaves.
      lost: how many scores were not finite, `int32[L]` by leaf path.
      dense: the trained dense networks.
      before: the networks of the level before.
    """

    masks: Mask
    lost: Counts
    dense: Record
    before: Record


def check_pruned(setup: Setup, level: int, pruned: PrunedLevel) -> None:
    """Refuses to go on with masks that follow no score, or that leave a layer without a weight.

    A network that diverged has no order among its weights, and its mask means nothing anyway: it
    ends nobody's search.

    Args:
      setup: what was chosen.
      level: of the masks.
      pruned: the masks, and what they were made from.

    Raises:
      TicketError: for scores that are not finite, with criterion, leaf and network.
      MaskError: for layers that have lost their last weight and may not, likewise.
    """
    _check_scored(setup, level, pruned)
    if not setup.empty_layers:
        _check_not_empty(setup, level, pruned)


def _check_scored(setup: Setup, level: int, pruned: PrunedLevel) -> None:
    finite = _whole(pruned.before) & _whole(pruned.dense)
    for path, numbers in pruned.lost.items():
        for index in np.flatnonzero(finite & (np.asarray(numbers) > 0)):
            lineages = setup.lineages
            criterion = lineages.criteria[lineages.pruners[lineages.pruner[index]][0]]
            raise TicketError(
                f"criterion {criterion.name or '(yours)'}: {numbers[index]} scores of {path} of "
                f"{_described(setup, int(index))} are not finite at level {level}, expected "
                "numbers, by whose order weights are kept; see what it says of its range and of "
                "what it must have seen, or choose another criterion"
            )


def _check_not_empty(setup: Setup, level: int, pruned: PrunedLevel) -> None:
    finite = _whole(pruned.before)
    # What a network lost as it diverged stays lost at all levels behind.
    lost = jax.tree.map(
        lambda old, new: finite & _any(old) & ~_any(new), pruned.before.masks, pruned.masks
    )
    empty = [
        f"{masks.path_string(path)} of {_described(setup, int(index))}"
        for path, leaf in jax.tree_util.tree_leaves_with_path(lost)
        for index in np.flatnonzero(leaf)
    ]
    if empty:
        raise MaskError(
            f"level {level} empties {', '.join(empty)}; ask for at most {level} levels, a lower "
            "prune rate, layerwise scope, or for empty layers"
        )


def _whole(record: Record) -> np.ndarray:
    """Says of each network whether its loss stayed finite."""
    return record.diverged_steps() < 0


def _any(leaf: Any) -> Any:
    """Says of each network whether the leaf has a weight left."""
    return np.asarray(leaf).reshape(len(leaf), -1).any(axis=1)


def _described(setup: Setup, index: int) -> str:
    variant, replicate = setup.lineages.name(index)
    return f"replicate {replicate}{f' of variant {variant}' if variant else ''}"
