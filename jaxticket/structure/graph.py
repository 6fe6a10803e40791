"""Which weights make up a neuron, a channel or a head, found from the traced network."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.structure.axes import Atoms, Edge, Fixed
from jaxticket.structure.program import Constant, Program, paths, read, views
from jaxticket.structure.rules import apply_rule
from jaxticket.structure.walk import Axes, Walk
from jaxticket.types import Model, ModelState, Params

LAYOUT = (
    *("broadcast_in_dim", "convert_element_type", "copy", "copy_p", "reduce_precision"),
    *("reshape", "squeeze", "transpose"),
)
"""Primitives after which a weight is still that weight: zero where the weight is zero."""


class Member(NamedTuple):
    """An axis of a leaf along which the units of a group run.

    Attributes:
      tree: "params" or "model_state".
      path: of the leaf.
      axis: of the leaf.
      units: `int[size]`, which unit an entry belongs to; −1 for none of this group.
      reads: whether the leaf is a weight that sums what the units give, so that they have no
        effect where it is zero.
    """

    tree: str
    path: str
    axis: int
    units: np.ndarray
    reads: bool


class Group(NamedTuple):
    """Units of one kind: the neurons of a layer, the channels of a residual stream, heads.

    Attributes:
      name: the path of the first kernel that gives them.
      size: how many.
      members: all axes along which they run.
    """

    name: str
    size: int
    members: tuple[Member, ...]


class Graph(NamedTuple):
    """A network's structure.

    Attributes:
      groups: of units that can be removed, in the order of the leaves.
      forbidden: for every other axis of the params, as (path, axis), the reason why not.
      edges: where leaves meet, their ends named as (path, axis) and the equation.
      input_shape: of one example.
      program: the network's evaluation.
      axes: for every value of the program, for every axis, `int[size]` with each entry's unit,
        counted through all groups, −1 for none; None where no entry has one.
    """

    groups: tuple[Group, ...]
    forbidden: dict[tuple[str, int], str]
    edges: tuple[tuple[tuple[str, int], tuple[str, int], str], ...]
    input_shape: tuple[int, ...]
    program: Program
    axes: tuple[tuple[np.ndarray | None, ...], ...]


def trace(
    model: Model, params: Params, model_state: ModelState, input_shape: Sequence[int]
) -> Graph:
    """Finds the units of a network that can be removed: neurons, channels, heads.

    The network's evaluation is traced and every axis of every value followed, entry by entry.
    Entries that meet in a sum or a product are one unit, with all weights, biases and statistics
    along which it runs, whatever they are called. A unit may be removed where every way out of it
    is a weight that sums over units: a dense layer, a convolution. What reaches the input, the
    output, a normalisation over units, or a primitive without a rule may not, and the reason is
    kept.

    Args:
      model: any network; its evaluation is traced for two examples.
      params: arrays, or their shapes and dtypes.
      model_state: likewise.
      input_shape: of one example; it is `float32`.

    Returns:
      The graph.

    Example:
      >>> from jaxticket.models import mlp
      >>> model = mlp((4, 4, 1), widths=(6, 5), outputs=3)
      >>> graph = trace(model, *jax.eval_shape(model.init, jax.random.key(0)), (4, 4, 1))
      >>> [(group.name, group.size) for group in graph.groups]
      [('hidden_0/kernel', 6), ('hidden_1/kernel', 5)]
      >>> [(member.path, member.axis, member.reads) for member in graph.groups[1].members]
      [('hidden_1/bias', 0, False), ('hidden_1/kernel', 1, False), ('output/kernel', 0, True)]
      >>> graph.forbidden["output/bias", 0]
      "it is the network's output"

    Source: own; the dependencies are those of 2301.12900 (unverified), here from the jaxpr.
    """
    program = read_evaluation(model, params, model_state, input_shape)
    leaves = [*_named("params", params), *_named("model_state", model_state)]
    numbers = program.inputs[: len(leaves)]
    kernels = {number: path for number, (_, path) in zip(numbers, leaves, strict=True)}
    walk = Walk(program, Atoms(), views(program, kernels, LAYOUT), set())
    axes: dict[int, Axes] = {}
    for leaf, number in enumerate(numbers):
        shape = program.shapes[number]
        axes[number] = tuple(
            walk.atoms.fresh((leaf, i), size) if size > 1 else None for i, size in enumerate(shape)
        )
    axes[program.inputs[-1]] = _fixed("the network's input", program.shapes[program.inputs[-1]])
    for equation in program.equations:
        operands = [_axes_of(program, axes, operand) for operand in equation.operands]
        results = apply_rule(walk, equation, operands)
        axes |= zip(equation.results, results, strict=True)
    for operand in program.outputs:
        walk.atoms.forbid(_axes_of(program, axes, operand), "it is the network's output")
    return _collect(walk, axes, leaves, tuple(input_shape))


def read_evaluation(
    model: Model, params: Params, model_state: ModelState, input_shape: Sequence[int]
) -> Program:
    """Traces a network's evaluation of two examples.

    Args:
      model: the network.
      params: arrays, or their shapes and dtypes.
      model_state: likewise.
      input_shape: of one example.

    Returns:
      The program, its inputs the leaves of params and model state, then the examples.
    """
    x = jax.ShapeDtypeStruct((2, *input_shape), "float32")
    return read(lambda p, s, x: model.apply(p, s, x, train=False)[0], params, model_state, x)


def _named(tree: str, leaves: Any) -> list[tuple[str, str]]:
    return [(tree, path) for path in paths(leaves)]


def _fixed(reason: str, shape: Sequence[int]) -> Axes:
    return tuple(None if size == 1 else Fixed(reason) for size in shape)


def _axes_of(program: Program, axes: dict[int, Axes], operand: int | Constant) -> Axes:
    if isinstance(operand, Constant):
        return _fixed("an array that is no leaf of the params", program.shape(operand))
    return axes[operand]


def _collect(
    walk: Walk, axes: dict[int, Axes], leaves: list[tuple[str, str]], input_shape: tuple[int, ...]
) -> Graph:
    """Sorts the units by the axes along which they run; those of the same axes are a group."""
    roots = {
        (leaf, i): walk.atoms.roots(axis)
        for leaf, number in enumerate(walk.program.inputs[: len(leaves)])
        for i, axis in enumerate(axes[number])
        if isinstance(axis, np.ndarray)
    }
    runs_along: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for place, units in roots.items():
        for root in dict.fromkeys(units.tolist()):
            runs_along[root].append(place)
    alike: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for root, places in runs_along.items():
        if root not in walk.atoms.reasons and walk.reads & set(places):
            alike[tuple(places)].append(root)
    groups, unit_of = [], {}
    for places, units in alike.items():
        ranks = {root: rank for rank, root in enumerate(units)}
        unit_of |= {root: len(unit_of) + rank for root, rank in ranks.items()}
        groups.append(_group(walk, leaves, roots, places, ranks, {group.name for group in groups}))
    forbidden = {
        (leaves[leaf][1], i): walk.atoms.reasons.get(int(units[0]), "no weight sums over it")
        for (leaf, i), units in roots.items()
        if leaves[leaf][0] == "params" and not any(unit in unit_of for unit in units.tolist())
    }
    values = tuple(
        tuple(_units(walk.atoms, axis, unit_of) for axis in axes[number])
        for number in range(len(walk.program.shapes))
    )
    edges = tuple(_named_edge(leaves, edge) for edge in walk.atoms.edges)
    return Graph(tuple(groups), forbidden, edges, input_shape, walk.program, values)


def _group(
    walk: Walk,
    leaves: list[tuple[str, str]],
    roots: dict[tuple[int, int], np.ndarray],
    places: tuple[tuple[int, int], ...],
    ranks: dict[int, int],
    taken: set[str],
) -> Group:
    members = tuple(
        Member(
            *leaves[leaf],
            axis=i,
            units=np.array([ranks.get(root, -1) for root in roots[leaf, i].tolist()]),
            reads=(leaf, i) in walk.reads,
        )
        for leaf, i in places
    )
    given = [m for m in members if m.tree == "params" and not m.reads] or list(members)
    rank = {
        m.path: len(walk.program.shapes[walk.program.inputs[leaf]])
        for m, (leaf, _) in zip(members, places, strict=True)
    }
    name = max(given, key=lambda m: rank[m.path]).path
    number = sum(other.split(" ")[0] == name for other in taken)
    return Group(f"{name} ({number + 1})" if number else name, len(ranks), members)


def _units(atoms: Atoms, axis: Any, unit_of: dict[int, int]) -> np.ndarray | None:
    if not isinstance(axis, np.ndarray):
        return None
    return np.array([unit_of.get(root, -1) for root in atoms.roots(axis).tolist()])


def _named_edge(leaves: list[tuple[str, str]], edge: Edge) -> Any:
    ends = ((leaves[leaf][1], axis) for leaf, axis in (edge.first, edge.second))
    return (*ends, edge.where)
