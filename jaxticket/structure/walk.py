"""What a walk through a program keeps, and the form of its rules."""

from collections.abc import Callable
from typing import NamedTuple

from jaxticket.structure.axes import Atoms, Axis
from jaxticket.structure.program import Equation, Program

Axes = tuple[Axis, ...]


class Walk(NamedTuple):
    """What a walk through a program has found so far.

    Attributes:
      program: the program.
      atoms: the union of units.
      weights: values that are a leaf of the params in another layout.
      reads: axes of leaves, as (leaf, axis), over which a weight sums what units give.
    """

    program: Program
    atoms: Atoms
    weights: dict[int, str]
    reads: set[tuple[int, int]]


Rule = Callable[[Walk, Equation, list[Axes]], list[Axes]]
"""`rule(walk, equation, axes of the operands) -> axes of the results`."""
