"""Groups of weights that compete with each other, within layers or in the whole network."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxticket.allocate.base import Allocation, Counts, keep_highest, totals
from jaxticket.allocate.cost import keep_affordable
from jaxticket.allocate.groups import ShapeOf, from_groups, group_counts, to_groups
from jaxticket.allocate.leaves import Leaf, map_prunable, prunable_leaves, split
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.errors import MaskError, unknown
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Scores

Scope = Literal["layerwise", "global"]
"""Whether groups compete within their layer or in the whole network."""


def _norm(scores: Array, axis: int) -> Array:
    """Gives the Euclidean norm, sign(t) √|t| with t = Σ s |s| where scores are below zero too.

    Σ s² alone would rank the lowest of signed scores, such as those of an inverse criterion, best.
    """
    signed = jnp.sum(scores * jnp.abs(scores), axis=axis)
    return jnp.sign(signed) * jnp.sqrt(jnp.abs(signed))


REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": jnp.sum,
    "mean": jnp.mean,
    "maximum": jnp.max,
    "norm": _norm,
}
"""What a group is worth, from the scores of its weights."""


class Structures(NamedTuple):
    """What competes, and how.

    Attributes:
      who: the allocation's name, for messages.
      rate: share that goes at each level, or the densities.
      shape_of: the shape of each leaf's groups.
      scope: where groups compete.
      reduction: what a group is worth.
      at_least: best groups that each layer keeps.
      stays: which leaves stay dense, by path and shape.
    """

    who: str
    rate: Rate
    shape_of: ShapeOf
    scope: str
    reduction: str
    at_least: int = 0
    stays: Callable[[Mapping[str, Any]], frozenset[str]] = lambda shapes: frozenset()


def structured(given: Structures) -> Allocation:
    """Makes the allocation that keeps or prunes groups of weights together.

    Args:
      given: what competes, and how.

    Returns:
      The allocation.

    Raises:
      TicketError: for a rate outside (0, 1), an unknown reduction or scope.
    """
    check_rates("prune rate", given.rate)
    if given.reduction not in REDUCTIONS:
        raise unknown("reduction", given.reduction, REDUCTIONS)
    if given.scope == "layerwise":
        return _by_layer(given)
    if given.scope == "global":
        return _globally(given)
    raise unknown("scope", given.scope, ("layerwise", "global"))


def _shapes(mask: Mask) -> dict[str, Any]:
    return {path: leaf.shape for path, leaf in leaves_by_path(mask)}


def _by_layer(given: Structures) -> Allocation:
    shape_of, at_least = given.shape_of, given.at_least

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        counts: list[Counts] = [{} for _ in range(levels)]
        stays = given.stays(_shapes(mask))
        for path, (groups, size) in group_counts(given.who, mask, shape_of).items():
            least = groups if path in stays else min(at_least, groups)
            for level, left in enumerate(totals(given.rate, groups, levels)):
                counts[level][path] = max(left, least) * size
        return counts

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        def chosen(path: str, score: Array, kept: Array) -> Array:
            block = shape_of(path, kept.shape)
            worth, here = _worth(Leaf(path, score, kept), block, given.reduction)
            number = -(-counts[path] // math.prod(block))
            return _spread(keep_highest(worth, here, number), kept, block)

        return map_prunable(chosen, scores, mask)

    return Allocation(schedule, select)


def _globally(given: Structures) -> Allocation:
    who, shape_of, at_least = given.who, given.shape_of, given.at_least

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        stays, every = given.stays(_shapes(mask)), group_counts(who, mask, shape_of)
        kept = {path: number for path, number in every.items() if path not in stays}
        dense = sum(groups * size for path, (groups, size) in every.items() if path in stays)
        sizes = {size for _, size in kept.values()}
        unit = sizes.pop() if len(sizes) == 1 else 1
        weights = sum(groups * size for groups, size in kept.values())
        budgets = [dense + n * unit for n in totals(given.rate, weights // unit, levels)]
        least = dense + sum(min(at_least, groups) * size for groups, size in kept.values())
        if budgets[-1] < least:
            raise MaskError(
                f"{who}: the schedule keeps {budgets[-1]} weights at level {levels - 1}, fewer "
                f"than the {least} of at_least {at_least} in every layer; ask for fewer levels, a "
                "lower prune rate or a smaller at_least"
            )
        return [{"*": budget} for budget in budgets]

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        leaves, stays = prunable_leaves(scores, mask), given.stays(_shapes(mask))
        shapes = [shape_of(leaf.path, leaf.mask.shape) for leaf in leaves]
        pairs = [_worth(*pair, given.reduction) for pair in zip(leaves, shapes, strict=True)]
        costs = [
            jnp.full(here.size, math.prod(shape))
            for shape, (_, here) in zip(shapes, pairs, strict=True)
        ]
        first = [
            here if leaf.path in stays else keep_highest(worth, here, at_least)
            for leaf, (worth, here) in zip(leaves, pairs, strict=True)
        ]
        row = keep_affordable(
            jnp.concatenate([worth for worth, _ in pairs]),
            jnp.concatenate([here for _, here in pairs]),
            jnp.concatenate(costs),
            counts["*"],
            jnp.concatenate(first),
        )
        parts = zip(split(row, [here for _, here in pairs]), leaves, shapes, strict=True)
        chosen = [_spread(part, leaf.mask, shape) for part, leaf, shape in parts]
        return jax.tree.unflatten(jax.tree.structure(mask), chosen)

    return Allocation(schedule, select, exact=False)


def _worth(
    leaf: Leaf, block: tuple[int, ...], reduction: str
) -> tuple[Float[Array, " groups"], Bool[Array, " groups"]]:
    """Gives what each group is worth, and which groups are kept now."""
    scores, kept = (to_groups(array, block) for array in (leaf.scores, leaf.mask))
    return REDUCTIONS[reduction](scores, axis=1), jnp.any(kept, axis=1)


def _spread(chosen: Bool[Array, " groups"], kept: Array, block: tuple[int, ...]) -> Array:
    """Gives all weights of a group what was chosen for it."""
    whole = jnp.repeat(chosen[:, None], math.prod(block), axis=1)
    return from_groups(whole, kept.shape, block) & kept
