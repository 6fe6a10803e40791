"""Budgets that give every layer its share of one total, in proportion to what it is."""

from collections.abc import Callable, Mapping
from fractions import Fraction

from jaxticket.allocate.base import Allocation, Counts, totals
from jaxticket.allocate.layerwise import select_by_layer
from jaxticket.allocate.leaves import by_path
from jaxticket.allocate.rates import Rate, check_rate, check_rates
from jaxticket.errors import TicketError
from jaxticket.masks.basic import counts as mask_counts
from jaxticket.masks.basic import sizes
from jaxticket.types import Mask

Factors = Callable[[Mask], Mapping[str, Fraction]]
"""`factors(mask) -> what each layer's density is in proportion to`, by leaf path, on the host."""


def proportional(
    rate: Rate, factors: Factors, fixed: Mapping[str, float] | None = None
) -> Allocation:
    """Gives layers densities in proportion to given factors: d_l = min(1, ε f_l).

    ε is such that the network keeps K − round(p K) of the K weights it kept before, exactly. A
    layer never keeps more than it kept at the level before: what it cannot take goes to the
    others, in proportion again. Shares are rounded to the largest remainders, ties by the order
    of the leaves.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on.
      factors: f_l by leaf path, from the dense mask; all above zero.
      fixed: densities of layers that take no part, by shell-style pattern of the leaf's path; the
        total counts them too.

    Returns:
      The allocation; its counts are by leaf path.

    Raises:
      TicketError: for a rate or a fixed density outside (0, 1); later, when a schedule is made,
        for a total that the fixed layers leave no room for.

    Example:
      >>> import numpy as np
      >>> mask = {"a": np.ones(100, bool), "b": np.ones(100, bool)}
      >>> twice = proportional((0.3, 0.1), lambda _: {"a": Fraction(2), "b": Fraction(1)})
      >>> twice.schedule(mask, 3)[1:]
      [{'a': 40, 'b': 20}, {'a': 13, 'b': 7}]
    """
    check_rates("prune rate", rate)
    for pattern, density in (fixed or {}).items():
        check_rate(f"density of {pattern!r}", density)

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        kept, size, factor = mask_counts(mask), sizes(mask), factors(mask)
        own = by_path("fixed densities", fixed or {}, kept, every=False)
        most = {path: round(Fraction(str(density)) * size[path]) for path, density in own.items()}
        weights = {path: factor[path] * size[path] for path in kept if path not in own}
        counts = [kept]
        for total in totals(rate, sum(kept.values()), levels)[1:]:
            before = counts[-1]
            held = {path: min(number, before[path]) for path, number in most.items()}
            shared = apportion(total - sum(held.values()), weights, before)
            counts.append({path: (held | shared)[path] for path in kept})
        return list(counts)

    return Allocation(schedule, select_by_layer)


def apportion(
    total: int, weights: Mapping[str, Fraction], limits: Mapping[str, int]
) -> dict[str, int]:
    """Divides a total in proportion to weights, none getting more than its limit, exactly.

    Quotas are min(limit_l, ε w_l) with the ε at which they add up; they are rounded down, and what
    is missing goes one each to the largest remainders, ties by order.

    Args:
      total: what is divided.
      weights: w_l above zero, by name.
      limits: the most that each may get; more names are ignored.

    Returns:
      Integers by name that add up to the total.

    Raises:
      TicketError: for a total below zero or above the sum of the limits.

    Example:
      >>> apportion(10, {"a": Fraction(6), "b": Fraction(3), "c": Fraction(1)}, dict(a=4, b=9, c=9))
      {'a': 4, 'b': 5, 'c': 1}

    Source: the method of largest remainders (Hamilton); limits as in 1911.11134 (unverified
    section), where layers that would be more than dense are made dense and the others scaled.
    """
    most = sum(limits[name] for name in weights)
    if not 0 <= total <= most:
        raise TicketError(
            f"budget: got {total} weights for {', '.join(weights) or 'no layer'}, expected 0 to "
            f"{most}, what they kept before; change the rate or the fixed densities"
        )
    quotas = _quotas(total, weights, limits)
    counts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: counts[name] - quotas[name])
    for name in by_remainder[: total - sum(counts.values())]:
        counts[name] += 1
    return counts


def _quotas(
    total: int, weights: Mapping[str, Fraction], limits: Mapping[str, int]
) -> dict[str, Fraction]:
    full: dict[str, Fraction] = {}
    while True:
        free = [name for name in weights if name not in full]
        whole = sum((weights[name] for name in free), start=Fraction(0))
        scale = (total - sum(full.values())) / whole if whole else Fraction(0)
        over = [name for name in free if scale * weights[name] >= limits[name]]
        if not over:
            return {name: full.get(name, scale * weights[name]) for name in weights}
        full |= {name: Fraction(limits[name]) for name in over}
