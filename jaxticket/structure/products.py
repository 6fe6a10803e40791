"""Rules of products and convolutions, by which a weight sums over units."""

import numpy as np

from jaxticket.structure.axes import Axis, Fixed
from jaxticket.structure.program import Equation, Operand
from jaxticket.structure.walk import Axes, Walk


def dot_general(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    """The rule of a matrix product: units go where a weight sums over them."""
    (contracted, batch), where = equation.choices["dimension_numbers"], equation.where
    left, right = axes
    for i, j in zip(*contracted, strict=True):
        _contract(walk, equation, left[i], right[j])
    shared = [walk.atoms.meet([left[i], right[j]], where) for i, j in zip(*batch, strict=True)]
    gone = [{*contracted[side], *batch[side]} for side in (0, 1)]
    free = [axis for side in (0, 1) for i, axis in enumerate(axes[side]) if i not in gone[side]]
    return [(*shared, *free)]


def _contract(walk: Walk, equation: Equation, left: Axis, right: Axis) -> None:
    """Notes that two axes are summed over: if by a weight, then units can go with its rows."""
    by_weight = False
    for operand, axis in zip(equation.operands, (left, right), strict=True):
        if _is_weight(walk, operand) and isinstance(axis, np.ndarray):
            walk.reads.update(walk.atoms.owners(axis))
            by_weight = True
    both = isinstance(left, np.ndarray) and isinstance(right, np.ndarray)
    if not (by_weight and (both or Fixed in (type(left), type(right)))):
        walk.atoms.forbid([left, right], f"units are mixed by {equation.where}, not by a weight")
    walk.atoms.meet([left, right], equation.where)


def _is_weight(walk: Walk, operand: Operand) -> bool:
    return isinstance(operand, int) and operand in walk.weights


def convolution(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    """The rule of a convolution: its channels are summed over, its features given."""
    choices, (images, kernel) = equation.choices, axes
    rank = len(images)
    # jaxticket's own primitive has channels last and no groups.
    last = ((0, rank - 1, *range(1, rank - 1)), (rank - 1, rank - 2, *range(rank - 2)))
    numbers = choices.get("dimension_numbers")
    layout = (*last, last[0]) if numbers is None else tuple(numbers)
    (batch, channels, *spatial), (features, inputs, *window), result = layout
    if choices.get("feature_group_count", 1) * choices.get("batch_group_count", 1) != 1:
        reason = f"{equation.where} has groups of channels"
        walk.atoms.forbid([images[channels], kernel[features], kernel[inputs]], reason)
    else:
        _contract(walk, equation, images[channels], kernel[inputs])
    walk.atoms.forbid((kernel[i] for i in window), f"it is the window of {equation.where}")
    walk.atoms.forbid((images[i] for i in spatial), f"{equation.where} slides along it")
    found: list[Axis] = [Fixed(f"the positions of {equation.where}")] * rank
    found[result[0]], found[result[1]] = images[batch], kernel[features]
    return [tuple(found)]
