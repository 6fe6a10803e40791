"""The assembler: criterion x allocation -> the next mask, and the schedule of counts."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxticket import masks
from jaxticket.allocate.base import Allocation, Counts, Select, count_kept
from jaxticket.criteria.base import Criterion, CriterionState, Evidence, Rounds
from jaxticket.errors import MaskError, TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Scores


def prune(
    criterion: Criterion,
    allocation: Allocation,
    evidence: Evidence,
    mask: Mask,
    counts: Counts,
    observed: CriterionState = (),
) -> Mask:
    """Makes the next mask: the best-scored `counts` weights among those that `mask` keeps.

    Args:
      criterion: what a weight is worth.
      allocation: from where weights go.
      evidence: initial params, final params and a key.
      mask: the present mask.
      counts: how many to keep, from `schedule`; may be traced.
      observed: the criterion's state after training; `()` if it watches nothing.

    Returns:
      A subset of `mask` with exactly `counts` kept.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jaxticket import allocate, criteria, masks
      >>> params = {"w": jnp.array([0.5, -3.0, 1.0, 2.0])}
      >>> mask = masks.ones(params, masks.matching("w"))
      >>> evidence = Evidence(params, params, jax.random.key(0))
      >>> allocation = allocate.uniform(0.5)
      >>> counts = schedule(allocation, mask, levels=2)[1]
      >>> prune(criteria.magnitude(), allocation, evidence, mask, counts)["w"].tolist()
      [False, True, False, True]
    """
    return prune_by(criterion, allocation.select, evidence, mask, counts, observed, allocation.kept)


def prune_by(
    criterion: Criterion,
    select: Select,
    evidence: Evidence,
    mask: Mask,
    counts: Counts,
    observed: CriterionState = (),
    kept: Callable[[Mask], Counts] = count_kept,
) -> Mask:
    """Makes the next mask with the selection of an allocation, in the rounds of the criterion.

    Args:
      criterion: what a weight is worth.
      select: from where weights go.
      evidence: as for `prune`.
      mask: the present mask.
      counts: how many to keep; may be traced.
      observed: the criterion's state after training.
      kept: what a mask keeps in the terms of `counts`, by which rounds are cut.

    Returns:
      A subset of `mask` with exactly `counts` kept.
    """
    return prune_counting(criterion, select, evidence, mask, counts, observed, kept)[0]


def prune_counting(
    criterion: Criterion,
    select: Select,
    evidence: Evidence,
    mask: Mask,
    counts: Counts,
    observed: CriterionState = (),
    kept: Callable[[Mask], Counts] = count_kept,
) -> tuple[Mask, Counts]:
    """Makes the next mask as `prune_by`, and counts the scores that say nothing.

    Args:
      criterion: as for `prune_by`, as all that follows.
      select: from where weights go.
      evidence: as for `prune`.
      mask: the present mask.
      counts: how many to keep; may be traced.
      observed: the criterion's state after training.
      kept: what a mask keeps in the terms of `counts`.

    Returns:
      The mask; and by leaf path, `int32[]`, how many weights had a score that is not finite where
      they could be kept or not, in all rounds together: their order is that of the array.
    """

    def once(mask: Mask, counts: Counts) -> tuple[Mask, Counts]:
        final = masks.apply(evidence.final, mask)
        here = evidence._replace(final=final, mask=mask)
        scores = criterion.score(observed, here)
        return select(scores, mask, counts), _count_lost(scores, mask)

    if criterion.rounds is None:
        return once(mask, counts)
    rounds, start = criterion.rounds, kept(mask)
    # In a sweep there are counts in the terms of other allocations too.
    mine = [name for name in counts if name in start]

    def one_round(index: Array, carry: tuple[Mask, Counts]) -> tuple[Mask, Counts]:
        mask, before = carry
        left = {n: _between(rounds, index, start[n], counts[n]) for n in mine}
        mask, lost = once(mask, left)
        return mask, jax.tree.map(jnp.add, before, lost)

    none = {path: jnp.int32(0) for path, _ in leaves_by_path(mask)}
    first = jax.tree.map(jnp.asarray, mask), none
    return jax.lax.fori_loop(0, rounds.number, one_round, first)


def _count_lost(scores: Scores, mask: Mask) -> Counts:
    """Counts the scores of kept weights that are not finite, by leaf path."""
    of = dict(leaves_by_path(scores))
    return {
        path: jnp.sum(leaf & ~jnp.isfinite(of[path]), dtype=jnp.int32)
        for path, leaf in leaves_by_path(mask)
    }


def schedule(
    allocation: Allocation,
    mask: Mask,
    levels: int,
    *,
    empty_layers: bool = False,
    idle_levels: bool = False,
) -> tuple[Counts, ...]:
    """Lists what every level keeps, level 0 being what `mask` keeps now.

    Args:
      allocation: how many go at each level.
      mask: concrete `bool` leaves, usually the dense mask.
      levels: how many, level 0 included.
      empty_layers: whether a layer may lose its last weight.
      idle_levels: whether a level may prune nothing, as where densities fall by less than a weight.

    Returns:
      Integer counts a level, computed exactly on the host.

    Raises:
      TicketError: if `levels` is not positive.
      MaskError: if a level would empty a layer or prune nothing at all and may not, naming it.

    Example:
      >>> import numpy as np
      >>> from jaxticket import allocate
      >>> schedule(allocate.globally(0.2), {"w": np.ones(100, bool)}, levels=3)
      ({'*': 100}, {'*': 80}, {'*': 64})
    """
    if levels < 1:
        raise TicketError(f"levels: got {levels}, expected at least 1 (level 0 is dense)")
    counts = allocation.schedule(mask, levels)
    for level in range(1, levels):
        # What had no weights to begin with loses none.
        empty = [path for path, kept in counts[level].items() if kept < 1 <= counts[0][path]]
        if empty and not (empty_layers and sum(counts[level].values())):
            raise MaskError(
                f"the schedule empties {', '.join(empty)} at level {level} of {levels - 1}; "
                f"ask for at most {level} levels, a lower prune rate, or for empty layers"
            )
        if counts[level] == counts[level - 1] and not idle_levels:
            raise MaskError(
                f"the schedule prunes nothing at level {level} of {levels - 1}, where "
                f"{sum(counts[level].values())} weights are left and each layer's share rounds to "
                f"none; ask for at most {level} levels or a higher prune rate"
            )
    return tuple(counts)


def _between(rounds: Rounds, index: Array, kept: Any, wanted: Any) -> Array:
    """Gives what round `index` leaves; exactly what is wanted in the last one."""
    share = (index + 1).astype(jnp.float32) / float(rounds.number)
    start, end = (jnp.asarray(count, jnp.int32) for count in (kept, wanted))
    first, last = (jnp.maximum(count, 1).astype(jnp.float32) for count in (start, end))
    if rounds.schedule == "exponential":
        left = first * (last / first) ** share
    else:
        left = first + (last - first) * share
    # Floats are exact to 2^24 only, which may not change what the last round leaves.
    left = jnp.clip(jnp.ceil(left).astype(jnp.int32), end, start)
    return jnp.where(index == rounds.number - 1, end, left)
