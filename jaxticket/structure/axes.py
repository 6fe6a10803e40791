"""What runs along an axis: nothing, something that may not be cut, or units, kept in a union."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np


class Fixed(NamedTuple):
    """An axis along which nothing may be removed.

    Attributes:
      reason: what it is, e.g. "the network's input".
    """

    reason: str


Axis = None | Fixed | np.ndarray
"""None where all entries are the same or there is one; `int[size]` of atoms where units are."""


class Edge(NamedTuple):
    """Where two axes of leaves were found to be the same units.

    Attributes:
      first: an axis of a leaf, as (leaf, axis).
      second: another.
      where: the equation.
    """

    first: tuple[int, int]
    second: tuple[int, int]
    where: str


class Atoms:
    """A union of the entries of all leaves' axes: entries that must go together are one unit.

    An atom is one entry of one axis of one leaf. Atoms that meet in an equation become one, and
    an atom that meets what may not be cut is fixed, with all that are one with it.
    """

    def __init__(self) -> None:
        self.edges: list[Edge] = []
        self.reasons: dict[int, str] = {}
        self._parents: list[int] = []
        self._owners: list[tuple[int, int]] = []

    def fresh(self, owner: tuple[int, int], number: int) -> np.ndarray:
        """Makes the atoms of an axis.

        Args:
          owner: the leaf and its axis; a leaf of −1 for what is no leaf.
          number: how many.

        Returns:
          `int[number]`.
        """
        start = len(self._parents)
        self._parents += range(start, start + number)
        self._owners += [owner] * number
        return np.arange(start, start + number)

    def owners(self, atoms: np.ndarray) -> set[tuple[int, int]]:
        """Gives the leaves and axes that atoms were made for."""
        return {self._owners[atom] for atom in atoms.tolist()}

    def roots(self, atoms: np.ndarray) -> np.ndarray:
        """Gives one number for all atoms of a unit, `int[...]` of the same shape."""
        return np.array([self._root(atom) for atom in atoms.ravel().tolist()]).reshape(atoms.shape)

    def fix(self, atoms: np.ndarray, reason: str) -> None:
        """Forbids that any of these atoms be removed."""
        for atom in set(atoms.ravel().tolist()):
            self.reasons.setdefault(self._root(atom), reason)

    def unite(self, first: np.ndarray, second: np.ndarray, where: str) -> None:
        """Makes one unit of the atoms at the same place."""
        if first is second:
            return
        pairs = zip(first.tolist(), second.tolist(), strict=True)
        changed = [pair for pair in pairs if self._join(*pair)]
        ends = {(self._owners[a], self._owners[b]) for a, b in changed}
        self.edges += [Edge(*end, where) for end in sorted(ends) if end[0] != end[1]]

    def meet(self, axes: Sequence[Axis], where: str) -> Axis:
        """Finds what runs along an axis on which several values meet entry by entry.

        Args:
          axes: of the values.
          where: the equation.

        Returns:
          The axis of the result.
        """
        units = [axis for axis in axes if isinstance(axis, np.ndarray)]
        fixed = next((axis for axis in axes if isinstance(axis, Fixed)), None)
        if fixed is not None:
            for axis in units:
                self.fix(axis, f"it meets {fixed.reason} in {where}")
            return fixed
        for other in units[1:]:
            self.unite(units[0], other, where)
        return units[0] if units else None

    def forbid(self, axes: Iterable[Axis], reason: str) -> Fixed:
        """Fixes all units of some axes, and gives the axis of what is made of them."""
        for axis in axes:
            if isinstance(axis, np.ndarray):
                self.fix(axis, reason)
        return Fixed(reason)

    def is_fixed(self, axis: np.ndarray) -> bool:
        """Says whether no unit of an axis can be removed, as far as is known."""
        return all(root in self.reasons for root in self.roots(axis).tolist())

    def _root(self, atom: int) -> int:
        while self._parents[atom] != atom:
            self._parents[atom] = self._parents[self._parents[atom]]
            atom = self._parents[atom]
        return atom

    def _join(self, first: int, second: int) -> bool:
        first, second = sorted((self._root(first), self._root(second)))
        if first == second:
            return False
        self._parents[second] = first
        if second in self.reasons:
            self.reasons.setdefault(first, self.reasons.pop(second))
        return True
