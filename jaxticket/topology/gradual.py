"""Pruning while a network trains: gradual, and in cycles."""

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from jaxticket.allocate.base import Allocation
from jaxticket.allocate.sparing import check_spared, sparing
from jaxticket.criteria import Criterion, Evidence, magnitude
from jaxticket.criteria.base import CriterionState
from jaxticket.errors import TicketError
from jaxticket.prune import prune_by, schedule
from jaxticket.topology.base import Topology
from jaxticket.types import Mask

Scope = Callable[[Sequence[float]], Allocation]
"""Where weights compete while densities fall, such as `allocate.globally`."""


def polynomial(
    final: float, updates: int, *, initial: float = 1.0, power: int = 3
) -> tuple[float, ...]:
    """Lists densities that fall fast first and slowly at the end.

    d_i = d_f + (d_0 − d_f) (1 − i/n)^p for i = 0 ... n, the paper's equation 1 written for
    densities instead of sparsities; exact fractions until each is rounded to a float.

    Args:
      final: d_f, the last density.
      updates: n.
      initial: d_0, the first density.
      power: p.

    Returns:
      n + 1 densities, from `initial` to `final`.

    Raises:
      TicketError: unless 0 < final < initial ≤ 1 and there is an update.

    Example:
      >>> polynomial(0.1, 2)
      (1.0, 0.2125, 0.1)

    Source: 1710.01878, section 2, equation 1, with p = 3.
    """
    if not 0 < final < initial <= 1:
        raise TicketError(
            f"densities: got {initial} to {final}, expected them to fall, from at most 1 and to "
            "more than 0"
        )
    if updates < 1:
        raise TicketError(f"updates: got {updates}, expected at least 1")
    first, last = (Fraction(str(density)) for density in (initial, final))
    # NumPy's integers have no room for the powers.
    updates = int(updates)
    falls = [Fraction(updates - i, updates) ** power for i in range(updates + 1)]
    return tuple(float(last + (first - last) * fall) for fall in falls)


def gradual(
    scope: Scope,
    final: float,
    *,
    begin: int,
    end: int,
    every: int,
    initial: float = 1.0,
    criterion: Criterion | None = None,
    empty_layers: bool = False,
) -> Topology:
    """Prunes a dense network while it trains, along the cubic polynomial.

    At steps begin, begin + ΔT ... end the network is pruned to the densities of `polynomial`, as
    whole weights that are counted on the host; from density 1 the first of them prunes nothing,
    and so do those that the cubic leaves less than a weight, late in a small network. Nothing
    comes back, so the masks are nested.

    Args:
      scope: where weights compete, such as `allocate.globally`.
      final: the last density.
      begin: t_0, at least 1: changes are made after a step.
      end: t_0 + nΔT.
      every: ΔT.
      initial: the density at `begin`.
      criterion: what a weight is worth; `magnitude` if `None`. One that watches training sees
        every step since the start.
      empty_layers: whether a layer may lose its last weight. If not, every layer keeps its best
        one, wherever weights compete, and as many are kept in all.

    Returns:
      The topology, for networks that start with `everything`.

    Raises:
      TicketError: for numbers that cannot be, or a criterion that must watch longer than it can.
      MaskError: when a network first changes, for a density that leaves no weight for a layer,
        unless `empty_layers`, naming it.

    Example:
      >>> from jaxticket import allocate
      >>> rule = gradual(allocate.globally, 0.1, begin=2, end=6, every=2)
      >>> [step for step in range(9) if rule.due(jnp.int32(step))]
      [2, 4, 6]

    Source: 1710.01878, section 2.
    """
    updates = _updates(begin, end, every)
    densities = polynomial(final, updates, initial=initial)
    chosen = magnitude() if criterion is None else criterion
    _check_watched("gradual", chosen, begin if densities[0] < 1 else begin + every)
    allocation = _Falling(scope, densities, empty_layers)
    return _scheduled(allocation, 1, begin, every, chosen)


def cyclic(
    scope: Scope,
    final: float,
    *,
    begin: int,
    end: int,
    every: int,
    cycles: int,
    criterion: Criterion | None = None,
    empty_layers: bool = False,
) -> Topology:
    """Prunes along the cubic polynomial again and again, all weights being free in between.

    Each cycle has n + 1 changes, ΔT steps apart: the first makes the mask dense, its new weights
    zero with zero moments, the others prune as `gradual` does, the last one to the final density.

    Args:
      scope: where weights compete, such as `allocate.globally`.
      final: the density at the end of every cycle.
      begin: the step of the first change, at least 1.
      end: the step of the last one.
      every: ΔT.
      cycles: how many; they divide the changes evenly.
      criterion: what a weight is worth; `magnitude` if `None`. One that watches training sees
        every step since its cycle began.
      empty_layers: whether a layer may lose its last weight. If not, every layer keeps its best
        one, wherever weights compete, and as many are kept in all.

    Returns:
      The topology, for networks that start with `everything`.

    Raises:
      TicketError: for numbers that cannot be, or a criterion that must watch longer than it can.
      MaskError: when a network first changes, for a density that leaves no weight for a layer,
        unless `empty_layers`, naming it.

    Example:
      >>> from jaxticket import allocate
      >>> rule = cyclic(allocate.globally, 0.1, begin=2, end=12, every=2, cycles=2)
      >>> [step for step in range(15) if rule.due(jnp.int32(step))]
      [2, 4, 6, 8, 10, 12]

    Source: this project's own reading of cyclical pruning, 2202.01290 (unverified).
    """
    changes = _updates(begin, end, every) + 1
    if cycles < 1 or changes % cycles or changes // cycles < 2:
        raise TicketError(
            f"cycles: got {cycles} for {changes} changes, expected a divisor that leaves each "
            "cycle at least two; move the end"
        )
    densities = polynomial(final, changes // cycles - 1)
    chosen = magnitude() if criterion is None else criterion
    _check_watched("cyclic", chosen, every if cycles > 1 else begin + every)
    allocation = _Falling(scope, densities, empty_layers)
    return _scheduled(allocation, cycles, begin, every, chosen)


class _Falling(NamedTuple):
    """Where weights compete, how their density falls, and whether a layer may be emptied."""

    scope: Scope
    densities: Sequence[float]
    empty_layers: bool


def _scheduled(
    falling: _Falling, cycles: int, begin: int, every: int, criterion: Criterion
) -> Topology:
    """Goes through densities, from all weights where a density is 1."""
    scope, densities, empty_layers = falling
    below = [density for density in densities if density < 1]
    allocation, levels = scope(below), len(below) + 1
    # Level 0 of an allocation is dense, so densities from 1 on are its levels from 0 on.
    path = np.tile(np.arange(levels - len(densities), levels, dtype=np.int32), cycles)
    select = allocation.select if empty_layers else sparing(allocation.select)

    def due(step: Int[Array, ""]) -> Bool[Array, ""]:
        since = step - begin
        return (since >= 0) & (since % every == 0) & (since < every * len(path))

    def change(
        step: Int[Array, ""], evidence: Evidence, limit: Mask, observed: CriterionState = ()
    ) -> Mask:
        dense = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), limit)
        counts = schedule(allocation, dense, levels, empty_layers=empty_layers, idle_levels=True)
        if not empty_layers:
            check_spared("densities", allocation.select, dense, counts[-1])
        level = jnp.asarray(path)[(step - begin) // every]
        kept = {name: _at(level, [count[name] for count in counts]) for name in counts[0]}
        free = jax.tree.map(lambda now, may: now | (may & (level == 0)), evidence.mask, limit)
        return prune_by(criterion, select, evidence, free, kept, observed, allocation.kept)

    return Topology(due, change, criterion)


def _check_watched(who: str, criterion: Criterion, steps: int) -> None:
    if steps < criterion.steps:
        raise TicketError(
            f"{who}: {criterion.name or 'the criterion'} must have watched {criterion.steps} steps "
            f"before it can score, and has watched {steps} where it first prunes; prune later, or "
            "let it watch more often"
        )


def _at(level: Int[Array, ""], counts: list[int]) -> Any:
    return jnp.asarray(np.array(counts, np.int32))[level]


def _updates(begin: int, end: int, every: int) -> int:
    if begin < 1 or every < 1 or end <= begin or (end - begin) % every:
        raise TicketError(
            f"changes: got steps {begin} to {end}, {every} apart, expected them from 1 on, a "
            "multiple of their distance between first and last"
        )
    return (end - begin) // every
