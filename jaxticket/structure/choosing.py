"""Which units are kept: read off a mask, or chosen layer by layer."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool

from jaxticket.errors import TicketError, unknown
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure.graph import Graph, Group, Member
from jaxticket.structure.units import all_units, mask_of
from jaxticket.types import Mask


def kept_of(graph: Graph, mask: Mask) -> dict[str, Bool[np.ndarray, " units"]]:
    """Finds the units that a mask leaves with an effect.

    A unit goes where every weight that reads it is pruned or leads to units that go themselves.
    Without it the network's outputs stay what they are under that mask, whatever the biases.

    Args:
      graph: from `trace`.
      mask: concrete, of a structured ticket or any other.

    Returns:
      Which units are kept.

    Example:
      >>> from jaxticket import masks
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(3,), outputs=1)
      >>> params, model_state = jax.eval_shape(model.init, jax.random.key(0))
      >>> mask = masks.ones(params)
      >>> mask["output"]["kernel"] = np.array([[True], [False], [True]])
      >>> kept_of(trace(model, params, model_state, (2, 1, 1)), mask)["hidden_0/kernel"].tolist()
      [True, False, True]
    """
    kept, before, mask = all_units(graph), None, jax.tree.map(np.asarray, mask)
    while before != {name: on.tobytes() for name, on in kept.items()}:
        before = {name: on.tobytes() for name, on in kept.items()}
        alive = dict(leaves_by_path(mask_of(graph, mask, kept)))
        kept = {group.name: _read_by_some(group, alive) for group in graph.groups}
    return kept


def choose(graph: Graph, wanted: Mapping[str, Any]) -> dict[str, Bool[np.ndarray, " units"]]:
    """Keeps what is wanted of some kernels' results, if that can be removed there.

    Args:
      graph: from `trace`.
      wanted: `bool[outputs]` by the paths of kernels, over the last axis of each.

    Returns:
      Which units are kept; all of those that no kernel in `wanted` makes.

    Raises:
      TicketError: a unit cannot be removed there, or two kernels give the same units and one
        removes what the other keeps; the message names the edge that forbids it.

    Example:
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(3,), outputs=2)
      >>> graph = trace(model, *jax.eval_shape(model.init, jax.random.key(0)), (2, 1, 1))
      >>> choose(graph, {"output/kernel": [True, False]})
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: output/kernel: none of what it gives can be removed, since it \
is the network's output; choose among hidden_0/kernel
    """
    kept, votes = all_units(graph), {}
    for path, chosen in wanted.items():
        given, stays = _given_by(graph, path), np.array(chosen, bool)
        _check_chosen(path, given, stays)
        for group, member in given:
            for unit in range(group.size):
                vote = path, bool(stays[np.flatnonzero(member.units == unit)].all())
                other, before = votes.setdefault((group.name, unit), vote)
                if before != vote[1]:
                    raise TicketError(_conflict(graph, group, unit, path, other))
                kept[group.name][unit] = before
    return kept


def _check_chosen(path: str, given: list[tuple[Group, Member]], stays: np.ndarray) -> None:
    size = given[0][1].units.size
    if stays.shape != (size,):
        raise TicketError(f"{path}: got {stays.shape} of what it gives, expected bool[{size}]")
    highest = np.max(np.stack([member.units for _, member in given]), axis=0)
    no_unit = np.logical_and(~stays, highest < 0)
    if no_unit.any():
        raise TicketError(
            f"{path}: {np.flatnonzero(no_unit).tolist()} cannot be removed, only other parts of "
            "what it gives; keep them"
        )
    for group, member in given:
        for places in (np.flatnonzero(member.units == unit) for unit in range(group.size)):
            if stays[places].any() != stays[places].all():
                raise TicketError(
                    f"{path}: {places.tolist()} are one unit, expected all or none of them kept"
                )


def _read_by_some(group: Group, alive: Mapping[str, np.ndarray]) -> np.ndarray:
    found = np.zeros(group.size, bool)
    for member in group.members:
        if not member.reads:
            continue
        ours = np.flatnonzero(member.units >= 0)
        # A leaf that is not prunable always reads.
        reads = np.ones(len(member.units), bool)
        if member.path in alive:
            rows = np.moveaxis(alive[member.path], member.axis, 0).reshape(len(reads), -1)
            reads = np.any(rows, axis=1)
        np.logical_or.at(found, member.units[ours], reads[ours])
    return found


def _given_by(graph: Graph, path: str) -> list[tuple[Group, Member]]:
    """The groups of what a kernel gives, which is what runs along its last axis."""
    pairs = [(group, member) for group in graph.groups for member in group.members]
    axes = [axis for where, axis in graph.forbidden if where == path]
    axes += [member.axis for _, member in pairs if member.path == path]
    if not axes:
        raise unknown("kernel", path, (group.name for group in graph.groups))
    last = path, max(axes)
    given = [(g, m) for g, m in pairs if (m.path, m.axis) == last and not m.reads]
    if not given:
        raise TicketError(
            f"{path}: none of what it gives can be removed, since {graph.forbidden[last]}; "
            f"choose among {', '.join(group.name for group in graph.groups) or 'nothing'}"
        )
    return given


def _conflict(graph: Graph, group: Group, unit: int, path: str, other: str) -> str:
    return (
        f"unit {unit} of {path}: one of {path} and {other} removes it and the other keeps it, but "
        f"both meet in {_edge_between(graph, path, other)}; choose the same for both, or for "
        f"{group.name} alone"
    )


def _edge_between(graph: Graph, start: str, end: str) -> str:
    """The first equation on the way from one leaf to another."""
    queue, seen = deque([(start, "")]), {start}
    while queue:
        path, first = queue.popleft()
        if path == end:
            return first
        for (a, _), (b, _), where in graph.edges:
            for here, there in ((a, b), (b, a)):
                if here == path and there not in seen:
                    seen.add(there)
                    queue.append((there, first or where))
    return "the same axis"
