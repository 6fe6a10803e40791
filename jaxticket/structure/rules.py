"""What every primitive does to the units along the axes of its operands."""

import numpy as np

from jaxticket.structure.axes import Axis, Fixed
from jaxticket.structure.products import convolution, dot_general
from jaxticket.structure.program import Equation
from jaxticket.structure.reshaping import reshape_axes
from jaxticket.structure.walk import Axes, Rule, Walk


def apply_rule(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    """Finds the axes of an equation's results.

    A primitive without a rule is taken to mix all entries, so whatever it touches is fixed.

    Args:
      walk: what has been found; changed.
      equation: the equation.
      axes: of its operands.

    Returns:
      The axes of its results.
    """
    return RULES.get(equation.name, _unknown)(walk, equation, axes)


def _unknown(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    touched = (axis for each in axes for axis in each)
    fixed = walk.atoms.forbid(touched, f"it goes through {equation.where}, for which is no rule")
    shapes = (walk.program.shape(result) for result in equation.results)
    return [tuple(None if size == 1 else fixed for size in shape) for shape in shapes]


def _elementwise(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    rank = len(walk.program.shape(equation.results[0]))
    wide = [each for each in axes if len(each) == rank]
    met = tuple(walk.atoms.meet([each[i] for each in wide], equation.where) for i in range(rank))
    return [met for _ in equation.results]


def _broadcast(_walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    found: list[Axis] = [None] * len(equation.choices["shape"])
    for place, axis in zip(equation.choices["broadcast_dimensions"], axes[0], strict=True):
        found[place] = axis
    return [tuple(found)]


def _reshape(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    before = walk.program.shape(equation.operands[0])
    after = walk.program.shape(equation.results[0])
    return [reshape_axes(walk.atoms, axes[0], before, after, equation.where)]


def _transpose(_walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    return [tuple(axes[0][i] for i in equation.choices["permutation"])]


def _squeeze(_walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    gone = equation.choices["dimensions"]
    return [tuple(axis for i, axis in enumerate(axes[0]) if i not in gone)]


def _slice(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    choices = equation.choices
    steps = choices["strides"] or (1,) * len(axes[0])
    cuts = map(slice, choices["start_indices"], choices["limit_indices"], steps)
    return [tuple(_cut(walk, equation, *pair) for pair in zip(axes[0], cuts, strict=True))]


def _cut(walk: Walk, equation: Equation, axis: Axis, cut: slice) -> Axis:
    if not isinstance(axis, np.ndarray):
        return axis
    left = axis[cut]
    # One entry by its place, or every other one: after a removal that would be another.
    if left.size > 1 and cut.step == 1:
        return left
    walk.atoms.forbid([axis], f"entries are picked by {equation.where}")
    return None if left.size == 1 else left


def _split(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    place, sizes = equation.choices["axis"], equation.choices["sizes"]
    ends = np.cumsum(sizes).tolist()
    parts = []
    for end, size in zip(ends, sizes, strict=True):
        part = _cut(walk, equation, axes[0][place], slice(end - size, end, 1))
        parts.append((*axes[0][:place], part, *axes[0][place + 1 :]))
    return parts


def _concatenate(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    place = equation.choices["dimension"]
    found = [
        None if i == place else walk.atoms.meet([each[i] for each in axes], equation.where)
        for i in range(len(axes[0]))
    ]
    parts = [each[place] for each in axes]
    if not any(isinstance(part, np.ndarray) for part in parts):
        found[place] = Fixed(f"the parts of {equation.where}")
        return [tuple(found)]
    sizes = [walk.program.shape(operand)[place] for operand in equation.operands]
    found[place] = np.concatenate(
        [_as_atoms(walk, *pair, equation.where) for pair in zip(parts, sizes, strict=True)]
    )
    return [tuple(found)]


def _as_atoms(walk: Walk, axis: Axis, size: int, where: str) -> np.ndarray:
    if isinstance(axis, np.ndarray):
        return axis
    atoms = walk.atoms.fresh((-1, 0), size)
    walk.atoms.fix(atoms, axis.reason if isinstance(axis, Fixed) else f"a part of {where}")
    return atoms


def _pad(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    found = []
    for axis, config in zip(axes[0], equation.choices["padding_config"], strict=True):
        plain = tuple(config) == (0, 0, 0)
        found.append(
            axis if plain else walk.atoms.forbid([axis], f"it is padded by {equation.where}")
        )
    return [tuple(found)]


def _reduce(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    gone = equation.choices["axes"]
    walk.atoms.forbid((axes[0][i] for i in gone), f"units are mixed by {equation.where}")
    return [tuple(axis for i, axis in enumerate(axes[0]) if i not in gone)]


def _window(walk: Walk, equation: Equation, axes: list[Axes]) -> list[Axes]:
    found = []
    for axis, size in zip(axes[0], equation.choices["window_dimensions"], strict=True):
        mixed = f"units are mixed by {equation.where}"
        found.append(axis if size == 1 else walk.atoms.forbid([axis], mixed))
    return [tuple(found)]


def _iota(_walk: Walk, equation: Equation, _axes: list[Axes]) -> list[Axes]:
    shape, place = equation.choices["shape"], equation.choices["dimension"]
    counted = Fixed(f"the numbers of {equation.where}")
    return [tuple(counted if i == place and shape[i] > 1 else None for i in range(len(shape)))]


_ELEMENTWISE = (
    "abs acos acosh add add_any and asin asinh atan atan2 atanh cbrt ceil clamp "
    "convert_element_type copy copy_p cos cosh digamma div eq erf erf_inv erfc exp exp2 expm1 "
    "floor ge gt integer_pow is_finite le lgamma log log1p logistic lt max min mul ne neg "
    "nextafter not or pow real reduce_precision rem round rsqrt select_n sign sin sinh sqrt "
    "square stop_gradient sub tan tanh xor"
)

_REDUCTIONS = "argmax argmin reduce_and reduce_max reduce_min reduce_or reduce_prod reduce_sum"

RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE.split(), _elementwise),
    **dict.fromkeys(_REDUCTIONS.split(), _reduce),
    **dict.fromkeys(("reduce_window_max", "reduce_window_min", "reduce_window_sum"), _window),
    **dict.fromkeys(("conv_general_dilated", "convolution"), convolution),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dot_general": dot_general,
    "iota": _iota,
    "pad": _pad,
    "reshape": _reshape,
    "slice": _slice,
    "split": _split,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
"""Rules by the primitives' names."""
