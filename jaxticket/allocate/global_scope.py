"""Global allocation: all weights compete with each other."""

import jax.numpy as jnp

from jaxticket.allocate.base import Allocation, Counts, keep_highest, totals
from jaxticket.allocate.leaves import prunable_leaves, split
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.masks.basic import counts as mask_counts
from jaxticket.types import Mask, Scores


def globally(rate: Rate) -> Allocation:
    """Prunes the lowest scores of the whole network, wherever they are.

    The network keeps K − round(p K) of the K weights it kept before. Scores are compared as
    they are: nothing is normalised by layer. Ties break by the order of the leaves, then by
    the lower flat index.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on.

    Returns:
      The allocation; its counts are `{"*": total}`.

    Raises:
      TicketError: for a rate outside (0, 1); densities are checked when a schedule is made.

    Example:
      >>> import numpy as np
      >>> globally(0.2).schedule({"w": np.ones(266_200, bool)}, 2)
      [{'*': 266200}, {'*': 212960}]

    Source: 1803.03635, section 4 (ResNet-18, VGG-19).
    """
    check_rates("prune rate", rate)

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        kept = sum(mask_counts(mask).values())
        return [{"*": total} for total in totals(rate, kept, levels)]

    return Allocation(schedule, select_globally)


def select_globally(scores: Scores, mask: Mask, counts: Counts) -> Mask:
    """Keeps the `counts["*"]` highest scores of all leaves together.

    Args:
      scores: float leaves; those of leaves that are not prunable are ignored.
      mask: what is kept now.
      counts: `{"*": total}`, possibly traced.

    Returns:
      A subset of `mask`.
    """
    leaves = prunable_leaves(scores, mask)
    flat_scores = jnp.concatenate([jnp.ravel(leaf.scores) for leaf in leaves])
    flat_mask = jnp.concatenate([jnp.ravel(leaf.mask) for leaf in leaves])
    return split(keep_highest(flat_scores, flat_mask, counts["*"]), mask)
