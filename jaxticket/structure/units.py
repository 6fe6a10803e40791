"""Scoring and choosing units, and what a choice means for masks and params."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxticket.errors import TicketError, unknown
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure.graph import Graph, Group, Member
from jaxticket.types import Mask, Params, Scores

Kept = Mapping[str, Bool[Any, " units"]]
"""For every group of a graph, by its name, which of its units are kept."""


def all_units(graph: Graph) -> dict[str, Bool[np.ndarray, " units"]]:
    """Keeps everything.

    A choice of units is a mask like any other, whose leaves are groups, and so are scores of
    units: `prune.schedule` and any allocation prune them level by level.

    Args:
      graph: from `trace`.

    Returns:
      True for every unit, by the group's name.

    Example:
      >>> from jaxticket import allocate, prune
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((4, 1, 1), widths=(4,), outputs=2)
      >>> params, model_state = model.init(jax.random.key(0))
      >>> graph, half = trace(model, params, model_state, (4, 1, 1)), allocate.uniform(0.5)
      >>> kept = all_units(graph)
      >>> counts = prune.schedule(half, kept, levels=2)[1]
      >>> scores = score_units(graph, jax.tree.map(jnp.abs, params))
      >>> int(half.select(scores, kept, counts)["hidden_0/kernel"].sum())
      2
    """
    return {group.name: np.ones(group.size, bool) for group in graph.groups}


def score_units(graph: Graph, scores: Scores) -> dict[str, Float[Array, " units"]]:
    """Sums the scores of all weights of each unit.

    A unit's weights are those that make it, shift and scale it, and those that read it. What is
    not to be counted is None in the scores: kernels alone, or those that make the unit alone. A
    mean is the sum over the number of weights, which is `score_units` of ones.

    Args:
      graph: from `trace`.
      scores: of weights, from any criterion.

    Returns:
      The sums by the group's name.

    Example: see `all_units`.
    """
    leaves = dict(leaves_by_path(scores))
    found = {}
    for group in graph.groups:
        total = jnp.zeros(group.size, jnp.float32)
        for member in _members(group, leaves):
            others = tuple(i for i in range(leaves[member.path].ndim) if i != member.axis)
            sums = jnp.sum(leaves[member.path], axis=others, dtype=jnp.float32)
            ours = np.flatnonzero(member.units >= 0)
            total = total.at[member.units[ours]].add(sums[ours])
        found[group.name] = total
    return found


def mask_of(graph: Graph, mask: Mask, kept: Kept) -> Mask:
    """Masks all weights of the units that are not kept.

    Args:
      graph: from `trace`.
      mask: what is kept now; leaves that are None stay so.
      kept: which units are.

    Returns:
      The mask, without the other units' weights.

    Raises:
      TicketError: `kept` has other groups or sizes than the graph.

    Example:
      >>> from jaxticket import masks
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(3,), outputs=1)
      >>> params, model_state = model.init(jax.random.key(0))
      >>> graph = trace(model, params, model_state, (2, 1, 1))
      >>> kept = {"hidden_0/kernel": np.array([True, False, True])}
      >>> mask = mask_of(graph, masks.ones(params), kept)
      >>> mask["hidden_0"]["kernel"].tolist(), mask["output"]["kernel"].ravel().tolist()
      ([[True, False, True], [True, False, True]], [True, False, True])
    """
    check_kept(graph, kept)
    alive = dict(leaves_by_path(mask))
    for group in graph.groups:
        for member in _members(group, alive):
            alive[member.path] = alive[member.path] & _spread(member, kept[group.name], alive)
    return jax.tree.unflatten(jax.tree.structure(mask), alive.values())


def zeroed(graph: Graph, params: Params, kept: Kept) -> Params:
    """Sets everything of the units that are not kept to zero, biases and scales included.

    Args:
      graph: from `trace`.
      params: the network's.
      kept: which units are.

    Returns:
      Params of the same shapes, with which the network gives what the compacted one gives.

    Raises:
      TicketError: as `mask_of`.

    Example:
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(2,), outputs=1)
      >>> params = jax.tree.map(jnp.ones_like, model.init(jax.random.key(0))[0])
      >>> graph = trace(model, params, {}, (2, 1, 1))
      >>> kept = {"hidden_0/kernel": np.array([True, False])}
      >>> zeroed(graph, params, kept)["hidden_0"]["bias"].tolist()
      [1.0, 0.0]
    """
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
    alive = mask_of(graph, ones, kept)
    return jax.tree.map(lambda leaf, on: jnp.where(on, leaf, 0), params, alive)


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
      >>> params, model_state = model.init(jax.random.key(0))
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
      >>> graph = trace(model, *model.init(jax.random.key(0)), (2, 1, 1))
      >>> choose(graph, {"output/kernel": [True, False]})
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: output/kernel: none of what it gives can be removed, since it \
is the network's output; choose among hidden_0/kernel
    """
    kept, by = all_units(graph), {}
    for path, chosen in wanted.items():
        group, member = _given_by(graph, path)
        chosen = np.asarray(chosen, bool)
        if chosen.shape != member.units.shape:
            raise TicketError(
                f"{path}: got {chosen.shape} of what it gives, expected bool[{member.units.size}]"
            )
        for unit in range(group.size):
            votes = chosen[member.units == unit]
            other, before = by.setdefault((group.name, unit), (path, bool(votes.all())))
            if votes.any() != votes.all() or before != votes.all():
                raise TicketError(_conflict(graph, group, unit, member, path, other))
            kept[group.name][unit] = before
    return kept


def check_kept(graph: Graph, kept: Kept) -> None:
    """Checks that a choice of units is one of this graph's.

    Args:
      graph: from `trace`.
      kept: the choice.

    Raises:
      TicketError: it has other groups or sizes.
    """
    sizes = {group.name: (group.size,) for group in graph.groups}
    for name in kept:
        if name not in sizes:
            raise unknown("group of units", name, sizes)
    for name, size in sizes.items():
        given = np.shape(kept[name]) if name in kept else "nothing"
        if given != size:
            raise TicketError(f"{name}: kept has {given}, expected bool{list(size)}")


def _members(group: Group, leaves: Mapping[str, Any]) -> Iterator[Member]:
    """Members among some leaves of the params."""
    return (m for m in group.members if m.tree == "params" and m.path in leaves)


def _spread(member: Member, kept: Any, leaves: Mapping[str, Any]) -> Any:
    """Which entries of a leaf a choice keeps, with the leaf's number of axes."""
    # On the host where the choice is there, since a choice is made of many small arrays.
    library = np if isinstance(kept, np.ndarray) else jnp
    on = library.append(kept, True)[member.units]
    rank = leaves[member.path].ndim
    return on.reshape([-1 if i == member.axis else 1 for i in range(rank)])


def _read_by_some(group: Group, alive: Mapping[str, np.ndarray]) -> np.ndarray:
    found = np.zeros(group.size, bool)
    for member in group.members:
        if not member.reads:
            continue
        ours = np.flatnonzero(member.units >= 0)
        # A leaf that is not prunable always reads.
        reads = np.ones(len(member.units), bool)
        if member.path in alive:
            reads = np.moveaxis(alive[member.path], member.axis, 0).reshape(len(reads), -1).any(1)
        np.logical_or.at(found, member.units[ours], reads[ours])
    return found


def _given_by(graph: Graph, path: str) -> tuple[Group, Member]:
    ranks: dict[str, int] = {}
    for where, axis in [*graph.forbidden, *((m.path, m.axis) for g in graph.groups for m in g.members)]:
        ranks[where] = max(axis, ranks.get(where, 0))
    if path not in ranks:
        raise unknown("kernel", path, (group.name for group in graph.groups))
    last = ranks[path]
    for group in graph.groups:
        for member in group.members:
            if (member.path, member.axis) == (path, last) and not member.reads:
                return group, member
    raise TicketError(
        f"{path}: none of what it gives can be removed, since {graph.forbidden[path, last]}; "
        f"choose among {', '.join(group.name for group in graph.groups) or 'nothing'}"
    )


def _conflict(graph, group: Group, unit: int, member: Member, path: str, other: str) -> str:
    if other == path:
        places = np.flatnonzero(member.units == unit).tolist()
        return f"{path}: {places} are one unit, expected all or none of them to be kept"
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
