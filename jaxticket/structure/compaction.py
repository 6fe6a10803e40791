"""A network without the units that it does not keep: smaller arrays, the same outputs."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure.graph import Graph, read_evaluation
from jaxticket.structure.program import Constant, Equation, Program
from jaxticket.structure.units import Kept, check_kept
from jaxticket.types import Model, ModelState, Params


class Compacted(NamedTuple):
    """A smaller network.

    Attributes:
      model: its `init` draws what the dense network's draws and cuts it; its `apply` is the dense
        network's own, on smaller arrays.
      params: the dense network's without the removed units.
      model_state: likewise.
    """

    model: Model
    params: Params
    model_state: ModelState


def compact(
    graph: Graph, model: Model, params: Params, model_state: ModelState, kept: Kept
) -> Compacted:
    """Removes units: the arrays become smaller, and the outputs stay what they are under the mask.

    It gives what the dense network gives under `mask_of(graph, ..., kept)`, and so what a
    structured ticket gives whose `kept_of` is `kept`, up to the order of summation. It trains as
    any model does. The network has to take its widths from its params, as all of
    `jaxticket.models`, every module given to `from_linen` or `from_nnx` whose layers have
    `features`, and most networks written by hand do: it is traced once more with the smaller
    arrays, and must be the same program but for the sizes.

    Args:
      graph: from `trace`.
      model: the dense network.
      params: the dense network's.
      model_state: the dense network's.
      kept: which units stay, concrete, by the group's name.

    Returns:
      The smaller network, its params and its model state.

    Raises:
      TicketError: a group would be empty, `kept` does not fit the graph, or the network computes
        something else, or nothing, with smaller arrays.

    Example:
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace, zeroed
      >>> model = mlp((2, 2, 1), widths=(4,), outputs=3)
      >>> params, model_state = model.init(jax.random.key(0))
      >>> graph = trace(model, params, model_state, (2, 2, 1))
      >>> kept = {"hidden_0/kernel": np.array([True, False, False, True])}
      >>> small = compact(graph, model, params, model_state, kept)
      >>> small.params["hidden_0"]["kernel"].shape, small.params["output"]["kernel"].shape
      ((4, 2), (2, 3))
      >>> x = jnp.ones((5, 2, 2, 1))
      >>> found, _ = small.model.apply(small.params, small.model_state, x, train=False)
      >>> dense, _ = model.apply(zeroed(graph, params, kept), model_state, x, train=False)
      >>> bool(jnp.allclose(found, dense, atol=1e-5))
      True
    """
    check_kept(graph, kept)
    empty = [group.name for group in graph.groups if not np.any(kept[group.name])]
    if empty:
        raise TicketError(f"compact: no unit of {', '.join(empty)} is kept, expected one or more")

    def init(key: PRNGKeyArray) -> tuple[Params, ModelState]:
        return _cut(graph, kept, *model.init(key))

    small = jax.jit(functools.partial(_cut, graph, kept))(params, model_state)
    _check_same_program(graph, model, kept, *small)
    return Compacted(Model(init, model.apply), *small)


def _cut(graph: Graph, kept: Kept, *trees: Any) -> tuple[Any, Any]:
    """Params and model state without the units that are not kept."""
    cut = []
    for name, tree in zip(("params", "model_state"), trees, strict=True):
        leaves = dict(leaves_by_path(tree))
        stays = {
            path: [np.ones(size, bool) for size in leaf.shape] for path, leaf in leaves.items()
        }
        for group in graph.groups:
            on = np.append(np.asarray(kept[group.name]), True)
            for member in group.members:
                if member.tree == name:
                    stays[member.path][member.axis] &= on[member.units]
        taken = [_take(leaf, stays[path]) for path, leaf in leaves.items()]
        cut.append(jax.tree.unflatten(jax.tree.structure(tree), taken))
    return cut[0], cut[1]


def _take(leaf: Any, stays: Sequence[np.ndarray]) -> Any:
    for axis, on in enumerate(stays):
        if not on.all():
            leaf = jnp.take(leaf, np.flatnonzero(on), axis=axis)
    return leaf


def _check_same_program(
    graph: Graph, model: Model, kept: Kept, params: Params, model_state: ModelState
) -> None:
    """Traces the smaller network, which may differ from the dense one in sizes alone."""
    try:
        small = read_evaluation(model, params, model_state, graph.input_shape)
    except Exception as error:
        raise TicketError(
            "compact: the network does not take its widths from its params, which gave "
            f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}; build it with layers "
            "that do, such as those of jaxticket.models"
        ) from error
    every = [np.asarray(kept[group.name]) for group in graph.groups]
    on = np.concatenate([*every, np.ones(1, bool)])
    pairs = zip(graph.program.equations, small.equations, strict=False)
    differs = next(
        (dense for dense, here in pairs if not _same(graph, small, on, dense, here)), None
    )
    if differs is None and len(graph.program.equations) != len(small.equations):
        differs = graph.program.equations[-1]
    if differs is not None:
        raise TicketError(
            "compact: with smaller arrays the network computes something else from "
            f"{differs.where} on: let it take sizes from its params and divide by none of them"
        )


def _same(graph: Graph, small: Program, on: np.ndarray, dense: Equation, here: Equation) -> bool:
    """Whether an equation of the smaller network is the dense one's, of the sizes expected."""
    expected = [
        tuple(
            size if units is None else int(on[units].sum())
            for size, units in zip(graph.program.shapes[value], graph.axes[value], strict=True)
        )
        for value in dense.results
    ]
    return (
        dense.name == here.name
        and _scalars(dense) == _scalars(here)
        and expected == [small.shapes[value] for value in here.results]
        and _starts(graph, on, dense) == here.choices.get("start_indices")
    )


def _scalars(equation: Equation) -> list[Any]:
    """Numbers that are written into the program, which sizes may have gone into."""
    return [
        np.asarray(operand.value).tolist()
        for operand in equation.operands
        if isinstance(operand, Constant) and np.size(operand.value) == 1
    ]


def _starts(graph: Graph, on: np.ndarray, dense: Equation) -> Any:
    """Where a slice of the smaller network has to begin."""
    given = dense.operands[0] if dense.name == "slice" else None
    if not isinstance(given, int):
        return dense.choices.get("start_indices")
    axes = graph.axes[given]
    return tuple(
        start if units is None else int(on[units[:start]].sum())
        for start, units in zip(dense.choices["start_indices"], axes, strict=True)
    )
