"""Budgets of what weights cost, such as multiplications, not of their number."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num

from jaxticket.allocate.base import Allocation, AnyArray, Counts, ordered_bits, totals
from jaxticket.allocate.leaves import by_path, prunable_leaves, split
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.errors import MaskError, TicketError
from jaxticket.masks.basic import counts as mask_counts
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Scores

_MOST = 2**31 - 1
"""What the device can count to."""


def by_cost(rate: Rate, costs: Mapping[str, int], *, per_cost: bool = False) -> Allocation:
    """Prunes the lowest scores of the whole network until the rest costs what it may.

    Weights are ranked by score, or by score / cost, best first, as under `globally`; the longest
    beginning of that ranking is kept whose cost is at most C − round(p C) of the C that the level
    before was allowed. What is unused is less than the dearest weight costs. With all costs 1 this
    is `globally`.

    Args:
      rate: share of the remaining cost that goes at each level, in (0, 1), or the share of the
        whole cost that every level from level 1 on may keep.
      costs: positive integers, what one kept weight costs, by shell-style pattern of the leaf's
        path; the last pattern that matches counts. `structure.multiplications` gives those of a
        forward pass: 1 in a dense layer, the number of output positions in a convolution.
      per_cost: whether weights are ranked by score / cost.

    Returns:
      The allocation; its counts are `{"cost": total}`.

    Raises:
      TicketError: for a rate outside (0, 1) or a cost that is no positive integer; later, when a
        schedule is made, for leaves without a cost, patterns without a leaf, and a whole cost
        past 2³¹ − 1.
      MaskError: when a schedule is made, for a budget that the dearest weight alone exceeds.

    Example:
      >>> import numpy as np
      >>> mask = {"convolution": np.ones(9, bool), "dense": np.ones(36, bool)}
      >>> by_cost(0.5, {"convolution": 16, "dense": 1}).schedule(mask, 2)
      [{'cost': 180}, {'cost': 90}]

    Source: own.
    """
    check_rates("prune rate", rate)
    wrong = {p: c for p, c in costs.items() if not isinstance(c, int) or c < 1}
    if wrong:
        raise TicketError(f"costs: got {wrong}, expected positive integers")

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        kept = mask_counts(mask)
        each = by_path("costs", costs, kept)
        whole = sum(each[path] * number for path, number in kept.items())
        if whole > _MOST:
            raise TicketError(
                f"costs: got {whole} in all, expected at most {_MOST}; give them in larger units"
            )
        budgets = totals(rate, whole, levels)
        dearest = max(each, key=lambda path: each[path])
        if budgets[-1] < each[dearest]:
            raise MaskError(
                f"the schedule leaves a cost of {budgets[-1]} at level {levels - 1}, less than one "
                f"weight of {dearest} ({each[dearest]}); ask for fewer levels or a lower prune rate"
            )
        return [{"cost": budget} for budget in budgets]

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        leaves = prunable_leaves(scores, mask)
        each = by_path("costs", costs, [leaf.path for leaf in leaves])
        flat = [jnp.ravel(leaf.scores) for leaf in leaves]
        if per_cost:
            flat = [s / each[leaf.path] for s, leaf in zip(flat, leaves, strict=True)]
        chosen = keep_affordable(
            jnp.concatenate(flat),
            jnp.concatenate([jnp.ravel(leaf.mask) for leaf in leaves]),
            jnp.concatenate([jnp.full(leaf.mask.size, each[leaf.path]) for leaf in leaves]),
            counts["cost"],
        )
        return split(chosen, mask)

    def spent_by(mask: Mask) -> Counts:
        kept = {path: jnp.sum(leaf, dtype=jnp.int32) for path, leaf in leaves_by_path(mask)}
        each = by_path("costs", costs, kept)
        spent = (each[path] * number for path, number in kept.items())
        return {"cost": sum(spent, start=jnp.int32(0))}

    return Allocation(schedule, select, spent_by, exact=False)


def keep_affordable(
    scores: Num[AnyArray, " n"],
    mask: Bool[AnyArray, " n"],
    costs: Int[Array, " n"],
    budget: Int[Array, ""] | int,
    first: Bool[Array, " n"] | None = None,
) -> Bool[Array, " n"]:
    """Keeps the longest beginning of the ranking whose cost is at most the budget.

    Args:
      scores: as in `keep_highest`; ties break by the lower index, NaN ranks lowest.
      mask: `bool[n]`; what is pruned stays pruned.
      costs: `int32[n]`, positive; their sum at most 2³¹ − 1.
      budget: possibly traced.
      first: what is ranked before everything else.

    Returns:
      `bool[n]`.

    Example:
      >>> costs = jnp.array([2, 3, 2, 1])
      >>> keep_affordable(jnp.array([4.0, 3.0, 2.0, 1.0]), jnp.ones(4, bool), costs, 6).tolist()
      [True, True, False, False]
    """
    ranks = ordered_bits(scores)
    if first is not None:
        ranks = jnp.where(first, ~jnp.zeros((), ranks.dtype), ranks)
    # What is pruned costs nothing, wherever it ranks.
    order = jnp.argsort(~ranks, stable=True)
    spent = jnp.cumsum(jnp.where(mask, costs, 0)[order], dtype=jnp.int32)
    return jnp.zeros_like(mask).at[order].set(spent <= budget) & mask
