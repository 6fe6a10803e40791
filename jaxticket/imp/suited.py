"""Whether learner, criteria and levels suit each other, said before anything is trained."""

from typing import Any

import jax
import numpy as np

from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.imp.lineages import Lineages
from jaxticket.learned_masks.base import is_reparametrised
from jaxticket.learners.base import Learner
from jaxticket.learners.sparse import Sparse
from jaxticket.protocol import Protocol


def check_suited(learner: Learner, lineages: Lineages, levels: int, protocol: Protocol) -> None:
    """Refuses what a learner cannot do, and criteria that would lack what they read.

    Args:
      learner: the first of the lineages'.
      lineages: what is searched for.
      levels: number of levels.
      protocol: how long each training is.

    Raises:
      TicketError: one line on the first that does not suit.
    """
    state = jax.eval_shape(learner.init, jax.random.key(0))
    _check_own_mask(state.model_state, levels)
    strengths = lineages.repulsion[lineages.repulsion != 0]
    if strengths.size and learner.with_penalty is None:
        raise TicketError(
            f"repulsion: got {strengths[0]:g}, expected 0: this learner has no function "
            "with_penalty; give its Learner one, as learners.supervised does"
        )
    for place, (index, *_) in enumerate(lineages.pruners):
        rows, criterion = lineages.pruner == place, lineages.criteria[index]
        name = lineages.name(int(np.flatnonzero(rows)[0]))[0]
        who = f"criterion of variant {name!r}" if name else "criterion"
        if "objective" in criterion.reads and learner.objective is None:
            raise TicketError(
                f"{who}: needs the loss's derivatives, and this learner has no objective; give "
                "its Learner one, as learners.supervised does"
            )
        _check_at_start(who, criterion, lineages, rows, state.params)
        _check_watched(who, criterion, protocol.steps - _unwatched(lineages, rows, levels))


def _check_own_mask(model_state: Any, levels: int) -> None:
    """Refuses to prune again, between trainings, what prunes itself in each of them."""
    found = [
        (isinstance(model_state, Sparse), "learners.sparse"),
        (is_reparametrised(model_state), "learned_masks.reparametrise"),
    ]
    names = [name for own, name in found if own]
    if names and levels > 1:
        raise TicketError(
            f"levels: got {levels}, expected 1: the learner of {names[0]} has a mask of its own, "
            "which changes as it trains and which no level would take over; search with levels=1, "
            "then train its masks, shuffled and reinitialised ones too, by transfer.transfer, as "
            "docs/masks.md shows"
        )


def _check_at_start(
    who: str, criterion: Criterion, lineages: Lineages, rows: np.ndarray, params: Any
) -> None:
    name, early = criterion.name or "it", lineages.at_start & rows
    watches = criterion.steps or jax.tree.leaves(jax.eval_shape(criterion.init, params))
    if watches and early.any():
        raise TicketError(
            f"{who}: {name} watches training, and pruning 'at_start' comes before any; choose "
            "'iterative' or 'oneshot'"
        )
    if "change" in criterion.reads and (early & (lineages.begins == 0)).any():
        raise TicketError(
            f"{who}: {name} scores what training changed, and pruning 'at_start' at step 0 comes "
            "before any; choose 'iterative' or 'oneshot', or a rewind step above 0"
        )


def _unwatched(lineages: Lineages, rows: np.ndarray, levels: int) -> int:
    """Gives the step from which the shortest training that is pruned from is watched."""
    again = rows & ~lineages.at_start & ~lineages.oneshot
    return int(lineages.begins[again].max()) if levels > 2 and again.any() else 0


def _check_watched(who: str, criterion: Criterion, steps: int) -> None:
    if steps < criterion.steps:
        raise TicketError(
            f"{who}: {criterion.name or 'it'} must have watched {criterion.steps} steps before it "
            f"can score, and a training has {steps}; train longer, or let it watch more often"
        )
