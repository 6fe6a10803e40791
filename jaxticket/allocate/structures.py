"""Structures as masks: whole blocks and whole units, kept or pruned together."""

from collections.abc import Mapping, Sequence

from jaxticket.allocate.base import Allocation
from jaxticket.allocate.competing import REDUCTIONS, Scope, Structures, structured
from jaxticket.allocate.groups import block_shape
from jaxticket.allocate.rates import Rate
from jaxticket.errors import TicketError
from jaxticket.masks.prunable import matching

__all__ = ["OUTPUT", "REDUCTIONS", "Scope", "blocks", "units"]

OUTPUT = ("output/*", "*/output/*")
"""Where the last layer of a network is, by the names of this library's own."""


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
      >>> import jax.numpy as jnp
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
    return structured(Structures("blocks", rate, shape_of, scope, reduction))


def units(
    rate: Rate,
    *,
    axis: int = -1,
    scope: Scope = "layerwise",
    reduction: str = "sum",
    at_least: int = 1,
    dense: Sequence[str] | None = None,
) -> Allocation:
    """Prunes whole units of a layer (neurons, channels): all weights that lead to one.

    The mask stays one over kernels: a unit's bias, its normalisation and what it gives to the
    layers that follow are not touched here. Scope and ties are those of `blocks`. With the sum and
    `criteria.magnitude()` units go by their L1 norm.

    The outputs of the last layer are the network's classes, so it stays dense. Rates and densities
    are of the other layers.

    `structure.compact` removes, with equal outputs, what nothing reads: units of axis −2, whose
    outgoing weights are pruned. Units of axis −1 still speak by their biases;
    `structure.choose`, given the columns that such a mask keeps, takes those out too, which changes
    the outputs by what they said.

    Args:
      rate: share that goes at each level, in (0, 1), or the density of every level from level 1
        on, falling: of units under layerwise scope, of weights under global scope.
      axis: whose indices are the units: −1 are the outputs of Flax's kernels, −2 the inputs.
      scope: `layerwise` or `global`.
      reduction: what a unit is worth, from its scores: `sum`, `mean`, `maximum` or `norm`. Under
        global scope sums favour the layers with more inputs.
      at_least: best units that each layer keeps whatever the budget and the other layers say; with
        0 a layer may be emptied, which a schedule or a search then refuses or was asked for.
      dense: shell-style patterns of the leaves whose units all stay. `None` is the layer called
        `output` where units are outputs, axis −1, and none otherwise.

    Returns:
      The allocation; its counts are weights, by leaf path or `{"*": total}`.

    Raises:
      TicketError: for a rate outside (0, 1), an unknown scope or reduction, a negative
        `at_least`; later, when a schedule is made, for a leaf without the axis, and for patterns
        in `dense` that match none: a network whose last layer has another name must say so.
      MaskError: when a schedule is made, for a mask that keeps parts of units, and under global
        scope for a budget below `at_least` units of every layer.

    Example:
      >>> import jax.numpy as jnp
      >>> mask = {"kernel": jnp.ones((2, 4), bool)}
      >>> scores = {"kernel": jnp.array([[1.0, 2.0, 9.0, 0.0], [1.0, 2.0, 0.0, 0.0]])}
      >>> allocation = units(0.5, dense=())
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

    def stays(shapes: Mapping[str, tuple[int, ...]]) -> frozenset[str]:
        return _dense(dense, shapes, axis)

    return structured(Structures("units", rate, shape_of, scope, reduction, at_least, stays))


def _dense(
    patterns: Sequence[str] | None, shapes: Mapping[str, tuple[int, ...]], axis: int
) -> frozenset[str]:
    """Finds the leaves whose units all stay."""
    gives = [path for path, shape in shapes.items() if axis % len(shape) == len(shape) - 1]
    if patterns is None and not gives:
        return frozenset()
    wanted = OUTPUT if patterns is None else tuple(patterns)
    found = frozenset(path for path in shapes if matching(*wanted)(path, None))
    if wanted and not found:
        raise TicketError(
            f"units: dense {wanted} matches none of {', '.join(shapes)}; name the layer that gives "
            "the network's outputs, which would lose classes, or dense=() if none of these does"
        )
    return found
