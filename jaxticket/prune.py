"""The assembler: criterion x allocation -> the next mask, and the schedule of counts."""

from jaxticket.allocate.base import Allocation, Counts
from jaxticket.criteria.base import Criterion, CriterionState, Evidence
from jaxticket.errors import MaskError, TicketError
from jaxticket.types import Mask


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
    return allocation.select(criterion.score(observed, evidence), mask, counts)


def schedule(allocation: Allocation, mask: Mask, levels: int) -> tuple[Counts, ...]:
    """Lists what every level keeps, level 0 being what `mask` keeps now.

    Args:
      allocation: how many go at each level.
      mask: concrete `bool` leaves, usually the dense mask.
      levels: how many, level 0 included.

    Returns:
      Integer counts a level, computed exactly on the host.

    Raises:
      TicketError: if `levels` is not positive.
      MaskError: if a level would empty a layer or prune nothing at all, naming it.

    Example:
      >>> import numpy as np
      >>> from jaxticket import allocate
      >>> schedule(allocate.globally(0.2), {"w": np.ones(100, bool)}, levels=3)
      ({'*': 100}, {'*': 80}, {'*': 64})
    """
    if levels < 1:
        raise TicketError(f"levels: got {levels}, expected at least 1 (level 0 is dense)")
    counts = [allocation.start(mask)]
    for level in range(1, levels):
        counts.append(allocation.following(counts[-1]))
        empty = [path for path, kept in counts[-1].items() if kept < 1]
        if empty:
            raise MaskError(
                f"the schedule empties {', '.join(empty)} at level {level} of {levels - 1}; "
                f"ask for at most {level} levels or a lower prune rate"
            )
        if counts[-1] == counts[-2]:
            raise MaskError(
                f"the schedule prunes nothing at level {level} of {levels - 1}, where "
                f"{sum(counts[-1].values())} weights are left and each layer's share rounds to "
                f"none; ask for at most {level} levels or a higher prune rate"
            )
    return tuple(counts)
