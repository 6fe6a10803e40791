"""Units through a reshape: channels flattened into features, features cut into heads."""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from jaxticket.structure.axes import Atoms, Axis, Fixed


def reshape_axes(
    atoms: Atoms, axes: Sequence[Axis], before: Sequence[int], after: Sequence[int], where: str
) -> tuple[Axis, ...]:
    """Finds what runs along the axes of a reshaped value.

    Axes of units that are merged with others become one axis along which the units repeat, and
    an axis that is cut keeps its units along the one part that tells them apart. Where none
    does, as where features are cut into heads, each entry of the first part is one unit.

    Args:
      atoms: the union of units; changed.
      axes: before.
      before: the shape before.
      after: the shape after.
      where: the equation.

    Returns:
      The axes after.

    Example:
      >>> atoms = Atoms()
      >>> channels = atoms.fresh((0, 3), 2)
      >>> axes = None, Fixed("a row"), channels
      >>> reshape_axes(atoms, axes, (1, 3, 2), (1, 6), "here")[1].tolist()
      [0, 1, 0, 1, 0, 1]
    """
    found: list[Axis] = [None] * len(after)
    for sources, targets in _blocks(before, after):
        sources = [i for i in sources if before[i] > 1]
        targets = [i for i in targets if after[i] > 1]
        if len(sources) == len(targets) == 1:
            found[targets[0]] = axes[sources[0]]
        elif targets:
            flat = _merge(atoms, [axes[i] for i in sources], [before[i] for i in sources], where)
            parts = _cut(atoms, flat, [after[i] for i in targets], where)
            for place, part in zip(targets, parts, strict=True):
                found[place] = part
    return tuple(found)


def _blocks(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Cuts two shapes into the smallest runs of axes of equal sizes."""
    i = j = 0
    while i < len(before) or j < len(after):
        sources, targets = [], []
        left = right = 1
        while left != right or not (sources or targets):
            if left <= right and i < len(before):
                sources, left, i = [*sources, i], left * before[i], i + 1
            else:
                targets, right, j = [*targets, j], right * after[j], j + 1
        yield sources, targets


def _merge(atoms: Atoms, axes: list[Axis], sizes: list[int], where: str) -> Axis:
    """One axis of several: units repeat along it; of two kinds of units the last one stays."""
    places = [
        i
        for i, axis in enumerate(axes)
        if isinstance(axis, np.ndarray) and not atoms.is_fixed(axis)
    ]
    for i in places[:-1]:
        atoms.forbid([axes[i]], f"it is merged with other units by {where}")
    if not places:
        if all(axis is None for axis in axes):
            return None
        return Fixed(next(_reason(atoms, axis) for axis in axes if axis is not None))
    last = places[-1]
    axis = axes[last]
    assert isinstance(axis, np.ndarray), "chosen above"
    return np.tile(np.repeat(axis, math.prod(sizes[last + 1 :])), math.prod(sizes[:last]))


def _reason(atoms: Atoms, axis: Axis) -> str:
    if isinstance(axis, np.ndarray):
        return atoms.reasons[int(atoms.roots(axis[:1])[0])]
    assert axis is not None, "asked for fixed axes alone"
    return axis.reason


def _cut(atoms: Atoms, flat: Axis, sizes: list[int], where: str) -> list[Axis]:
    if not isinstance(flat, np.ndarray):
        return [flat] * len(sizes)
    entries = flat.reshape(sizes)
    roots = atoms.roots(entries)
    found: list[Axis] = [Fixed(f"a part of what {where} cuts")] * len(sizes)
    for place in range(len(sizes)):
        along = np.moveaxis(roots, place, 0).reshape(sizes[place], -1)
        if (along == along[:, :1]).all():
            found[place] = np.moveaxis(entries, place, 0).reshape(sizes[place], -1)[:, 0]
            return found
    blocks = entries.reshape(sizes[0], -1)
    for column in blocks.T[1:]:
        atoms.unite(blocks[:, 0], column, where)
    found[0] = blocks[:, 0]
    return found
