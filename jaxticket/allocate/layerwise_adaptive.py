"""Layer-adaptive budget (LAMP): scores of a layer are compared as shares of what they leave."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from jaxticket.allocate.base import Allocation, Counts, keep_highest, ordered_bits
from jaxticket.allocate.global_scope import globally
from jaxticket.allocate.leaves import prunable_leaves, split
from jaxticket.allocate.rates import Rate
from jaxticket.types import Mask, Scores


def layerwise_adaptive(rate: Rate) -> Allocation:
    """Prunes globally by s² / Σ_{t ≥ s} t², the sum over the scores of the layer not below s.

    The best weight of a layer is worth 1 and every other at most ½, so no layer is emptied before
    the network keeps fewer weights than it has layers. Within a layer the order is that of the
    criterion: equal scores go by the lower flat index, and each counts those before it. LAMP is
    this with `criteria.magnitude()`; scores of other criteria are taken as they are, those below
    zero and NaN as zero, which suits criteria whose scores are not negative. Sums run over what
    the mask keeps. Equal values of different layers go by the order of the leaves.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on.

    Returns:
      The allocation; its counts are `{"*": total}`.

    Raises:
      TicketError: for a rate outside (0, 1).

    Example:
      >>> scores = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array([10.0, 20.0, 50.0])}
      >>> mask = jax.tree.map(lambda leaf: jnp.ones(3, bool), scores)
      >>> layerwise_adaptive(0.5).select(scores, mask, {"*": 3})["a"].tolist()
      [False, True, True]

    Source: 2010.07611, section 2 (unverified section).
    """
    return Allocation(globally(rate).schedule, select_adaptively)


def select_adaptively(scores: Scores, mask: Mask, counts: Counts) -> Mask:
    """Keeps `counts["*"]` weights, layers compared by what their scores are worth.

    Args:
      scores: float leaves; those of leaves that are not prunable are ignored.
      mask: what is kept now.
      counts: `{"*": total}`, possibly traced.

    Returns:
      A subset of `mask`.
    """
    orders, worths, kept = [], [], []
    for leaf in prunable_leaves(scores, mask):
        flat_scores, flat_mask = jnp.ravel(leaf.scores), jnp.ravel(leaf.mask)
        ranks = jnp.where(flat_mask, ordered_bits(flat_scores), 0)
        order = jnp.argsort(~ranks, stable=True)  # best first, ties by the lower index
        orders.append(order)
        kept.append(flat_mask[order])
        worths.append(_worths(flat_scores[order], flat_mask[order]))
    chosen = keep_highest(jnp.concatenate(worths), jnp.concatenate(kept), counts["*"])
    pieces = jax.tree.leaves(split(chosen, orders))
    back = [jnp.zeros_like(p).at[order].set(p) for p, order in zip(pieces, orders, strict=True)]
    return split(jnp.concatenate(back), mask)


def _worths(scores: Num[Array, " n"], kept: Bool[Array, " n"]) -> Float[Array, " n"]:
    """Gives what scores are worth that are sorted, best first; none is worth more than before."""
    if not scores.size:
        return scores.astype(jnp.float32)
    scores = jnp.where(kept, jnp.maximum(jnp.nan_to_num(scores.astype(jnp.float32), nan=0.0), 0), 0)
    # Only ratios count, and squares of small numbers would be zero, as reciprocals of great ones.
    scores = scores * jnp.where(scores[0] > 1, jnp.float32(2.0**-64), jnp.float32(2.0**64))
    ratios = scores / jnp.where(scores[0] > 0, scores[0], 1)
    squares = ratios**2
    sums = jnp.cumsum(squares)
    shares = squares / jnp.where(sums > 0, sums, 1)
    # The best one is worth 1 even at zero; rounding must not change a layer's order.
    return jax.lax.cummin(shares.at[0].set(1.0))
