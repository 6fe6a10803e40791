"""The masks that are judged: of which levels, and what a search has left of them."""

from typing import Any

import jax
import numpy as np

from experiments.common.experiment import Problem
from jaxticket import masks
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.learned_masks.base import is_reparametrised
from jaxticket.learners import Sparse
from jaxticket.result import Result
from jaxticket.transfer import tickets_of
from jaxticket.types import Mask

DENSITIES = (21.7, 13.1)
"""In percent, at which the verdict on the default's own search is given."""


def near(density: float, percent: float) -> bool:
    """Says whether a level's density, in percent, is the one that is meant."""
    return abs(density - percent) <= 0.1 * percent


def judged_levels(problem: Problem) -> list[int]:
    """Lists the levels at which the verdict is given.

    Args:
      problem: what is run, or of a run that is read.

    Returns:
      Places among `masks_by_level`; without a run those of `DENSITIES`, the last one if there is
      none; of a run what was asked for, its last one if nothing was.

    Raises:
      TicketError: for masks that are learned, or a level that the run does not have.
    """
    config = problem.config
    last = [config.levels - 1] if config.levels > 1 else []
    if config.run is None:
        found = enumerate(problem.densities())
        return [n for n, d in found if any(near(d, p) for p in DENSITIES)] or last
    if changes_in_training(problem):
        if config.judged_levels:
            raise TicketError(
                f"--judged-levels: got {config.judged_levels[0]} of {config.run}, whose masks "
                "change while it trains: the last mask is judged; leave it out"
            )
        return [1]
    levels = list(config.judged_levels) or last
    wrong = [level for level in levels if not 1 <= level < config.levels]
    if wrong or not levels:
        got = f"level {wrong[0]} of " if wrong else ""
        raise TicketError(
            f"--run {config.run}: got {got}{config.levels} level(s), expected a pruned one, which "
            "are counted from 1"
        )
    return levels


def changes_in_training(problem: Problem) -> bool:
    """Says whether the networks of a run change their masks while they train.

    Args:
      problem: of the run.

    Returns:
      Whether their model state is a `Sparse`.

    Raises:
      TicketError: for masks that are learned over weights, which are no mask to train under.
    """
    state = jax.eval_shape(problem.family({}).init, jax.random.key(0)).model_state
    if is_reparametrised(state):
        raise TicketError(
            f"--run {problem.config.run}: its masks are learned over weights, expected masks under "
            "which weights are trained; python -m experiments.supermask checks learned ones itself"
        )
    return isinstance(state, Sparse)


def searched(problem: Problem) -> Variant:
    """Gives how the run's search differs from its configuration.

    Args:
      problem: of a run that is read; one of several searches is measured.

    Returns:
      The variant of that search.
    """
    variants = problem.variants or {"": Variant()}
    return variants[problem.config.variant or next(iter(variants))]


def masks_by_level(result: Result) -> tuple[Mask, ...]:
    """Gives the masks that a search found, the dense one first.

    Args:
      result: of the search.

    Returns:
      A mask a level, of all variants and replicates along axis 0; of networks whose masks change
      while they train the last mask as level 1.
    """
    if not isinstance(result.origin.rewound.model_state, Sparse):
        return tickets_of(result).masks
    last = [
        result.network("ticket", 0, replicate, variant).model_state.mask
        for variant in result.variants
        for replicate in range(result.replicates)
    ]
    together = jax.tree.map(lambda *leaves: np.stack(leaves), *last)
    return jax.tree.map(np.ones_like, together), together


def counts_by_level(result: Result) -> tuple[dict[str, Any], ...]:
    """Gives what the levels of `masks_by_level` should keep.

    Args:
      result: of one search.

    Returns:
      The search's schedule; of masks that changed in training what the first network's keeps.
    """
    if not isinstance(result.origin.rewound.model_state, Sparse):
        return result.counts
    mask = result.network("ticket", 0, 0).model_state.mask
    return result.counts[0], {"*": sum(masks.counts(mask).values())}
