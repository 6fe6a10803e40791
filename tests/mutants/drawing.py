"""The faults that can be put into a file, and a sample of them."""

import ast
import functools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

# They need names of variables; and `is` in the place of `==` is the same for small integers.
LEFT_OUT = ("_Is", "_IsNot")
KEPT = ("core/ReplaceComparisonOperator_Is_IsNot", "core/ReplaceComparisonOperator_IsNot_Is")


class Mutant(NamedTuple):
    """One fault.

    Attributes:
      path: of the file, from the root.
      line: where the fault is, from 1.
      column: from 0.
      operator: what is done there, as Cosmic Ray calls it.
      occurrence: which of the places in this file where it can be done.
    """

    path: str
    line: int
    column: int
    operator: str
    occurrence: int

    def source(self, root: Path) -> str:
        """Gives the whole file with the fault in it."""
        operator = get_operator(self.operator)()
        changed = mutate_code((root / self.path).read_text(), operator, self.occurrence)
        assert changed is not None, self
        return changed


@functools.cache
def operators() -> tuple[str, ...]:
    """Lists what can be done to code."""
    names = (name for name in operator_names() if "Variable" not in name)
    return tuple(name for name in names if name in KEPT or not name.endswith(LEFT_OUT))


def mutants(root: Path, path: str) -> Iterator[Mutant]:
    """Lists the faults of a file.

    Args:
      root: of the project.
      path: of the file, from there.

    Yields:
      All that Cosmic Ray can make, but for those in annotations, in lists of names, and in what
      `zip` checks where lengths always agree.
    """
    source = (root / path).read_text()
    nodes, free = list(ast_nodes(get_ast(source))), _not_code(source)
    for name in operators():
        operator, occurrence = get_operator(name)(), 0
        for node in nodes:
            for (line, column), _ in operator.mutation_positions(node):
                if not any(start <= (line, column) < end for start, end in free):
                    yield Mutant(path, line, column, name, occurrence)
                occurrence += 1


def draw(root: Path, paths: list[str], number: int, seed: int) -> list[Mutant]:
    """Draws places without replacement, and one fault for each.

    Were faults drawn, sums would have eleven times the weight of conditions.

    Args:
      root: of the project.
      paths: of the files, from there.
      number: of faults; all places if there are fewer.
      seed: of the draw.

    Returns:
      The faults, in a random order.
    """
    places = defaultdict(list)
    for path in paths:
        for mutant in mutants(root, path):
            places[mutant[:3]].append(mutant)
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(places))[:number]
    groups = list(places.values())
    return [groups[place][rng.integers(len(groups[place]))] for place in chosen]


def statement(source: str, line: int) -> range:
    """Finds the lines of the statement, or of the head of the block, that a line belongs to."""
    found = range(line, line + 1)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or 0):
            body = getattr(node, "body", None)
            end = body[0].lineno if body else (node.end_lineno or node.lineno) + 1
            if line < end:
                found = range(node.lineno, end)
    return found


def _not_code(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    tree = ast.parse(source)
    spans = []
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, ast.keyword) and node.arg == "strict":
            parts.append(node.value)
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            parts.append(node)
        spans += [
            ((part.lineno, part.col_offset), (part.end_lineno, part.end_col_offset))
            for part in parts
            if part is not None
        ]
    return spans
