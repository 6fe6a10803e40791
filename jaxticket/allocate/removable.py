"""Units that can be removed from a traced network: neurons, channels, heads.

A unit goes with all its weights at once, those that make it and those that read it, through
normalisations, residual sums and reshapes, and leaves a network that `structure.compact` makes
smaller.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxticket.allocate.base import Allocation, Counts, keep_highest, totals
from jaxticket.allocate.leaves import map_prunable
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.errors import MaskError, TicketError, unknown
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure.graph import Graph
from jaxticket.structure.units import mask_of, members_in, score_units, units_kept
from jaxticket.types import Mask, Scores

SCOPES = ("layerwise", "global")
REDUCTIONS = ("mean", "sum")

Units = Mapping[str, Bool[Any, " units"]]
"""Which units, by the group's name."""


def removable_units(
    graph: Graph, rate: Rate, *, scope: str = "layerwise", reduction: str = "mean"
) -> Allocation:
    """Prunes whole units of a traced network, those of the lowest score.

    A unit is worth the mean, or the sum, of the scores of its weights that are kept. Under
    layerwise scope each group of units keeps U − round(p U) of its U units; under global scope
    units of all groups are ranked together, and each group keeps its best. What the network is
    given and what it gives are no units and stay.

    Args:
      graph: from `structure.trace`, of the network that is pruned.
      rate: share of the units that goes at each level, in (0, 1), or the density of every level
        from level 1 on, falling.
      scope: `layerwise`, each group of units by itself, or `global`.
      reduction: `mean`, which compares units of different sizes, or `sum`.

    Returns:
      The allocation; its counts are units, as `"units of <group>"` or `"units"`.

    Raises:
      TicketError: for a rate outside (0, 1), another scope or reduction, a network without units;
        later, when a schedule is made, for groups none of whose weights is prunable.
      MaskError: when a schedule is made, for one that leaves a group without a unit.

    Example:
      >>> import jax
      >>> from jaxticket import masks, structure
      >>> from jaxticket.models import mlp
      >>> model = mlp((4, 1, 1), widths=(4,), outputs=2)
      >>> params, model_state = model.init(jax.random.key(0))
      >>> allocation = removable_units(structure.trace(model, params, model_state, (4, 1, 1)), 0.5)
      >>> mask = masks.ones(params)
      >>> counts = allocation.schedule(mask, 2)[1]
      >>> counts
      {'units of hidden_0/kernel': 2}
      >>> masks.counts(allocation.select(jax.tree.map(jnp.abs, params), mask, counts))
      {'hidden_0/kernel': 8, 'output/kernel': 4}

    Source: that a unit goes with what reads it is as in filter pruning, 1608.08710; finding units
    in the traced network and the mean as their worth are this project's own.
    """
    check_rates("prune rate", rate)
    if scope not in SCOPES:
        raise unknown("scope", scope, SCOPES)
    if reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
    if not graph.groups:
        reasons = ", ".join(dict.fromkeys(graph.forbidden.values()))
        raise TicketError(f"removable_units: the network has no unit that can go: {reasons}")
    together = scope == "global"

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        _check_prunable(graph, mask)
        # Also where everything around is being compiled.
        with jax.ensure_compile_time_eval():
            sizes = {name: int(on.sum()) for name, on in units_kept(graph, mask).items()}
        wanted = {"units": sum(sizes.values())} if together else _named(sizes)
        least = len(sizes) if together else 1
        kept = {name: totals(rate, number, levels) for name, number in wanted.items()}
        for name, numbers in kept.items():
            if numbers[-1] < least:
                raise MaskError(
                    f"removable_units: the schedule keeps {numbers[-1]} {name} at level "
                    f"{levels - 1}, expected at least {least}; ask for fewer levels or a lower "
                    "prune rate"
                )
        return [{name: kept[name][level] for name in kept} for level in range(levels)]

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        here, worth = units_kept(graph, mask), _worth(graph, scores, mask, reduction)
        if together:
            chosen = _best_of_all(worth, here, counts["units"])
        else:
            chosen = {
                name: keep_highest(worth[name], on, counts[f"units of {name}"])
                for name, on in here.items()
            }
        return mask_of(graph, mask, chosen)

    def kept(mask: Mask) -> Counts:
        numbers = {n: jnp.sum(on, dtype=jnp.int32) for n, on in units_kept(graph, mask).items()}
        return _named(numbers) | {"units": sum(numbers.values(), start=jnp.int32(0))}

    return Allocation(schedule, select, kept)


def _worth(
    graph: Graph, scores: Scores, mask: Mask, reduction: str
) -> dict[str, Float[Array, " units"]]:
    left = map_prunable(lambda _, s, m: jnp.where(m, s, 0), scores, mask)
    sums = score_units(graph, left)
    if reduction == "sum":
        return sums
    numbers = score_units(graph, mask)
    return {name: total / jnp.maximum(numbers[name], 1) for name, total in sums.items()}


def _best_of_all(
    worth: Mapping[str, Array], here: Mapping[str, Array], number: Any
) -> dict[str, Bool[Array, " units"]]:
    """Keeps the best units of all groups together, the best of each group before the others."""
    first = {name: keep_highest(worth[name], on, 1) for name, on in here.items()}
    raised = [jnp.where(first[name], jnp.inf, worth[name]) for name in here]
    chosen = keep_highest(jnp.concatenate(raised), jnp.concatenate(list(here.values())), number)
    ends = np.cumsum([on.size for on in here.values()])[:-1].tolist()
    return dict(zip(here, jnp.split(chosen, ends), strict=True))


def _named(numbers: Mapping[str, Any]) -> dict[str, Any]:
    return {f"units of {name}": number for name, number in numbers.items()}


def _check_prunable(graph: Graph, mask: Mask) -> None:
    leaves = dict(leaves_by_path(mask))
    without = [g.name for g in graph.groups if not any(members_in(g, leaves))]
    if without:
        raise TicketError(
            f"removable_units: no weight of {', '.join(without)} is prunable, so its units cannot "
            "go; make their kernels prunable"
        )
