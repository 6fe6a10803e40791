"""Scores of units, and what a choice of units means for masks and params."""

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
      >>> from jaxticket import allocate, masks, prune
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((4, 1, 1), widths=(4,), outputs=2)
      >>> params, model_state = jax.eval_shape(model.init, jax.random.key(0))
      >>> graph, half = trace(model, params, model_state, (4, 1, 1)), allocate.uniform(0.5)
      >>> kept = all_units(graph)
      >>> counts = prune.schedule(half, kept, levels=2)[1]
      >>> scores = score_units(graph, masks.ones(params))
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
        for member in members_in(group, leaves):
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
      >>> params, model_state = jax.eval_shape(model.init, jax.random.key(0))
      >>> graph = trace(model, params, model_state, (2, 1, 1))
      >>> kept = {"hidden_0/kernel": np.array([True, False, True])}
      >>> mask = mask_of(graph, masks.ones(params), kept)
      >>> mask["hidden_0"]["kernel"].tolist(), mask["output"]["kernel"].ravel().tolist()
      ([[True, False, True], [True, False, True]], [True, False, True])
    """
    check_kept(graph, kept)
    alive = dict(leaves_by_path(mask))
    for group in graph.groups:
        for member in members_in(group, alive):
            alive[member.path] = alive[member.path] & _spread(member, kept[group.name], alive)
    return jax.tree.unflatten(jax.tree.structure(mask), alive.values())


def units_kept(graph: Graph, mask: Mask) -> dict[str, Bool[Array, " units"]]:
    """Finds the units that have a weight left, in the middle of compiled code too.

    Of a mask of whole units these are those of `kept_of`, which reads any mask, on the host.

    Args:
      graph: from `trace`.
      mask: possibly traced; leaves that are None say nothing.

    Returns:
      `bool[units]` by the group's name.

    Example:
      >>> from jaxticket import masks
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(3,), outputs=1)
      >>> params, model_state = jax.eval_shape(model.init, jax.random.key(0))
      >>> graph = trace(model, params, model_state, (2, 1, 1))
      >>> kept = {"hidden_0/kernel": np.array([True, False, True])}
      >>> units_kept(graph, mask_of(graph, masks.ones(params), kept))["hidden_0/kernel"].tolist()
      [True, False, True]
    """
    leaves = dict(leaves_by_path(mask))
    return {group.name: _alive(group, leaves) for group in graph.groups}


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
      >>> shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
      >>> params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
      >>> graph = trace(model, params, {}, (2, 1, 1))
      >>> kept = {"hidden_0/kernel": np.array([True, False])}
      >>> zeroed(graph, params, kept)["hidden_0"]["bias"].tolist()
      [1.0, 0.0]
    """
    ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), params)
    alive = mask_of(graph, ones, kept)
    return jax.tree.map(lambda leaf, on: jnp.where(on, leaf, 0), params, alive)


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


def members_in(group: Group, leaves: Mapping[str, Any]) -> Iterator[Member]:
    """Members among some leaves of the params."""
    return (m for m in group.members if m.tree == "params" and m.path in leaves)


def _alive(group: Group, leaves: Mapping[str, Any]) -> Bool[Array, " units"]:
    alive = jnp.zeros(group.size, bool)
    for member in members_in(group, leaves):
        leaf = jnp.asarray(leaves[member.path])
        others = tuple(axis for axis in range(leaf.ndim) if axis != member.axis)
        ours = np.flatnonzero(member.units >= 0)
        alive = alive.at[member.units[ours]].max(jnp.any(leaf, axis=others)[ours])
    return alive


def _spread(member: Member, kept: Any, leaves: Mapping[str, Any]) -> Any:
    """Which entries of a leaf a choice keeps, with the leaf's number of axes."""
    # On the host where the choice is there, since a choice is made of many small arrays.
    library = np if isinstance(kept, np.ndarray) else jnp
    on = library.append(kept, True)[member.units]
    rank = leaves[member.path].ndim
    return on.reshape([-1 if i == member.axis else 1 for i in range(rank)])
