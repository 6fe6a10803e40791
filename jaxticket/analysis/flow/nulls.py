"""Flows that need no training: what exponents are when nothing has been learned."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from jaxticket.allocate.base import Allocation, Counts
from jaxticket.criteria.base import Criterion, Evidence
from jaxticket.keys import derive
from jaxticket.prune import prune
from jaxticket.types import Mask, Params


def untrained_masks(
    key: PRNGKeyArray,
    params: Params,
    mask: Mask,
    criterion: Criterion,
    allocation: Allocation,
    counts: Sequence[Counts],
) -> Mask:
    """Prunes weights level by level that nothing trains in between: m_{n+1} = prune(m_n, θ_0).

    With `criteria.random()` and `allocate.globally` every layer's expected share of the kept
    magnitude, and so on average its exponent, is that of doing nothing: σ_i = 0. With
    `criteria.magnitude()` the flow depends on the layers' sizes and initial scales alone. A flow
    that training makes is what differs from both.

    Args:
      key: a typed key; a level's draw is derived from it and the level.
      params: θ_0 of one network.
      mask: what is kept at level 0.
      criterion: one that reads nothing but params and key.
      allocation: from where weights go.
      counts: what each level keeps, level 0 first, from `prune.schedule`.

    Returns:
      The masks, `bool[levels, ...]` leaves, level 0 first.

    Raises:
      TicketError: if the criterion needs more than params and key.

    Example:
      >>> from jaxticket import allocate, criteria, masks, prune
      >>> params = {"kernel": jnp.arange(1.0, 9.0)}
      >>> mask, half = masks.ones(params, masks.matching("*")), allocate.globally(0.5)
      >>> choices = criteria.magnitude(), half, prune.schedule(half, mask, levels=3)
      >>> untrained_masks(jax.random.key(0), params, mask, *choices)["kernel"].sum(axis=1).tolist()
      [8, 4, 2]

    Source: this project's definition of the two nulls.
    """
    levels = jnp.arange(1, len(counts), dtype=jnp.int32)
    wanted = {name: jnp.array([kept[name] for kept in counts[1:]], jnp.int32) for name in counts[0]}

    def level(mask: Mask, at: tuple[jax.Array, Counts]) -> tuple[Mask, Mask]:
        evidence = Evidence(params, params, derive(key, "prune", at[0]), mask)
        pruned = prune(criterion, allocation, evidence, mask, at[1])
        return pruned, pruned

    dense = jax.tree.map(jnp.asarray, mask)
    _, later = jax.lax.scan(level, dense, (levels, wanted))
    return jax.tree.map(lambda one, rest: jnp.concatenate([one[None], rest]), dense, later)
