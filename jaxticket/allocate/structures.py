"""Structures as masks: whole blocks and whole units, kept or pruned together."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxticket.allocate.base import Allocation, Counts, keep_highest, totals
from jaxticket.allocate.cost import keep_affordable
from jaxticket.allocate.groups import ShapeOf, block_shape, from_groups, group_counts, to_groups
from jaxticket.allocate.leaves import Leaf, map_prunable, prunable_leaves, split
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.errors import MaskError, TicketError, unknown
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


def blocks(
    rate: Rate,
    shape: Sequence[int | None],
    *,
    scope: Scope = "layerwise",
    reduction: str = "sum",
) -> Allocation:
    """Prunes whole blocks of weights, those of the lowest score.

    Under layerwise scope each layer keeps B − round(p B) of the B blocks it kept before. Under
    global scope blocks of all layers are ranked together, and the longest beginning of the ranking
    is kept that has at most K − round(p K) of the K weights kept before; if blocks are of one
    size, K counts whole blocks and nothing is left over. Ties break by the order of the leaves,
    then by the lower block.

    Args:
      rate: share that goes at each level, in (0, 1), or the density of every level from level 1
        on, falling.
      shape: a block's sizes along the last axes of a leaf, `None` for the whole axis; 1 along the
        axes before. `(4, 4)` are blocks over inputs and outputs, at each place of a convolution's
        kernel by itself; `(1, None)` are rows of a matrix.
      scope: `layerwise` or `global`.
      reduction: what a block is worth, from its scores: `sum`, `mean`, `maximum` or `norm`.

    Returns:
      The allocation; its counts are weights, by leaf path or `{"*": total}`.

    Raises:
      TicketError: for a rate outside (0, 1), sizes below 1, an unknown scope or reduction; later,
        when a schedule is made, for sizes that do not divide a leaf, naming leaf and axis.
      MaskError: when a schedule is made, for a mask that keeps parts of blocks.

    Example:
      >>> mask = {"kernel": jnp.ones((2, 4), bool)}
      >>> scores = {"kernel": jnp.array([[1.0, 2.0, 9.0, 0.0], [1.0, 2.0, 0.0, 0.0]])}
      >>> allocation = blocks(0.5, (2, 2))
      >>> allocation.select(scores, mask, allocation.schedule(mask, 2)[1])["kernel"].tolist()
      [[False, False, True, True], [False, False, True, True]]

    Source: own.
    """
    wrong = [size for size in shape if size is not None and size < 1]
    if wrong:
        raise TicketError(f"blocks: got shape {tuple(shape)}, expected sizes of at least 1 or None")
    shape_of = lambda path, leaf: block_shape("blocks", path, leaf, shape)  # noqa: E731
    return _structured("blocks", rate, shape_of, scope, reduction, 0)


def units(
    rate: Rate,
    *,
    axis: int = -1,
    scope: Scope = "layerwise",
    reduction: str = "sum",
    at_least: int = 1,
) -> Allocation:
    """Prunes whole units of a layer (neurons, channels): all weights that lead to one.

    The mask stays one over kernels: a unit's bias, its normalisation and what it gives to the
    layers that follow are not touched here. Scope and ties are those of `blocks`. With the sum and
    `criteria.magnitude()` units go by their L1 norm.

    Args:
      rate: share that goes at each level, in (0, 1), or the density of every level from level 1
        on, falling: of units under layerwise scope, of weights under global scope.
      axis: whose indices are the units: −1 are the outputs of Flax's kernels, −2 the inputs.
      scope: `layerwise` or `global`.
      reduction: what a unit is worth, from its scores: `sum`, `mean`, `maximum` or `norm`. Under
        global scope sums favour the layers with more inputs.
      at_least: best units that each layer keeps whatever the budget and the other layers say; with
        0 a layer may be emptied, which a schedule or a search then refuses or was asked for.

    Returns:
      The allocation; its counts are weights, by leaf path or `{"*": total}`.

    Raises:
      TicketError: for a rate outside (0, 1), an unknown scope or reduction, a negative
        `at_least`; later, when a schedule is made, for a leaf without the axis.
      MaskError: when a schedule is made, for a mask that keeps parts of units, and under global
        scope for a budget below `at_least` units of every layer.

    Example:
      >>> mask = {"kernel": jnp.ones((2, 4), bool)}
      >>> scores = {"kernel": jnp.array([[1.0, 2.0, 9.0, 0.0], [1.0, 2.0, 0.0, 0.0]])}
      >>> allocation = units(0.5)
      >>> allocation.select(scores, mask, allocation.schedule(mask, 2)[1])["kernel"].tolist()
      [[False, True, True, False], [False, True, True, False]]

    Source: 1608.08710, section 3.1 (filters by L1 norm; unverified section).
    """
    if at_least < 0:
        raise TicketError(f"units: got at_least {at_least}, expected 0 or more")

    def shape_of(path: str, leaf: tuple[int, ...]) -> tuple[int, ...]:
        if not -len(leaf) <= axis < len(leaf):
            raise TicketError(f"units: got axis {axis} for {path}, which has shape {leaf}")
        return tuple(1 if i == axis % len(leaf) else max(n, 1) for i, n in enumerate(leaf))

    return _structured("units", rate, shape_of, scope, reduction, at_least)


def _structured(
    who: str, rate: Rate, shape_of: ShapeOf, scope: str, reduction: str, at_least: int
) -> Allocation:
    check_rates("prune rate", rate)
    if reduction not in REDUCTIONS:
        raise unknown("reduction", reduction, REDUCTIONS)
    if scope == "layerwise":
        return _by_layer(who, rate, shape_of, reduction, at_least)
    if scope == "global":
        return _globally(who, rate, shape_of, reduction, at_least)
    raise unknown("scope", scope, ("layerwise", "global"))


def _by_layer(who: str, rate: Rate, shape_of: ShapeOf, reduction: str, at_least: int) -> Allocation:
    def schedule(mask: Mask, levels: int) -> list[Counts]:
        counts: list[Counts] = [{} for _ in range(levels)]
        for path, (groups, size) in group_counts(who, mask, shape_of).items():
            for level, left in enumerate(totals(rate, groups, levels)):
                counts[level][path] = max(left, min(at_least, groups)) * size
        return counts

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        def chosen(path: str, score: Array, kept: Array) -> Array:
            block = shape_of(path, kept.shape)
            worth, here = _worth(Leaf(path, score, kept), block, reduction)
            number = -(-counts[path] // math.prod(block))
            return _spread(keep_highest(worth, here, number), kept, block)

        return map_prunable(chosen, scores, mask)

    return Allocation(schedule, select)


def _globally(who: str, rate: Rate, shape_of: ShapeOf, reduction: str, at_least: int) -> Allocation:
    def schedule(mask: Mask, levels: int) -> list[Counts]:
        kept = group_counts(who, mask, shape_of)
        sizes = {size for _, size in kept.values()}
        unit = sizes.pop() if len(sizes) == 1 else 1
        weights = sum(groups * size for groups, size in kept.values())
        budgets = [number * unit for number in totals(rate, weights // unit, levels)]
        least = sum(min(at_least, groups) * size for groups, size in kept.values())
        if budgets[-1] < least:
            raise MaskError(
                f"{who}: the schedule keeps {budgets[-1]} weights at level {levels - 1}, fewer "
                f"than the {least} of at_least {at_least} in every layer; ask for fewer levels, a "
                "lower prune rate or a smaller at_least"
            )
        return [{"*": budget} for budget in budgets]

    def select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        leaves = prunable_leaves(scores, mask)
        shapes = [shape_of(leaf.path, leaf.mask.shape) for leaf in leaves]
        pairs = [_worth(*pair, reduction) for pair in zip(leaves, shapes, strict=True)]
        costs = [
            jnp.full(here.size, math.prod(shape))
            for shape, (_, here) in zip(shapes, pairs, strict=True)
        ]
        row = keep_affordable(
            jnp.concatenate([worth for worth, _ in pairs]),
            jnp.concatenate([here for _, here in pairs]),
            jnp.concatenate(costs),
            counts["*"],
            jnp.concatenate([keep_highest(*pair, at_least) for pair in pairs]),
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
