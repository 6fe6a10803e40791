"""Tickets of wider networks: units that stand in the network more than once."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.errors import TicketError, unknown
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure import Graph, Group, Member
from jaxticket.transfer.tickets import Ticket


def widen(graph: Graph, ticket: Ticket, copies: Mapping[str, Any]) -> Ticket:
    """Repeats the units of layers, so that the network stays the same function.

    Unit u stands c_u times beside itself: the weights that make, shift and scale it are copied,
    and those that read it are copied and divided by c_u, so that the sums over units are the same
    up to rounding. The mask is copied in the same way. Copies of a unit are given the same
    gradients and stay alike as long as nothing tells them apart (noise, dropout, other masks):
    training a widened ticket is training the given one with smaller steps in the weights that are
    divided. What is narrower instead is `structure.compact`.

    Args:
      graph: of the given network, from `structure.trace`.
      ticket: of one network.
      copies: by the name of a group, how often each of its units stands in the new network,
        `int[units]` or one number, at least 1; groups that are not named stay.

    Returns:
      The ticket of the wider network, its units' copies beside each other.

    Raises:
      TicketError: for a group that is not there, a number of copies below 1, and as many numbers
        as there are no units.

    Example:
      >>> from jaxticket import masks
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(2,), outputs=1)
      >>> params, state = model.init(jax.random.key(0))
      >>> graph = trace(model, params, state, (2, 1, 1))
      >>> ticket = Ticket(masks.ones(params), params, state)
      >>> wide = widen(graph, ticket, {"hidden_0/kernel": 2})
      >>> wide.params["hidden_0"]["kernel"].shape, wide.params["output"]["kernel"].shape
      ((2, 4), (4, 1))

    Source: the widening of 1511.05641 (Net2Net, section 3; unverified), there of units drawn at
    random and with noise; that a ticket is widened so is this project's definition.
    """
    number = {group.name: _copies(group, copies.get(group.name, 1)) for group in graph.groups}
    for name in copies:
        if name not in number:
            raise unknown("group of units", name, number)
    trees = {"params": ticket.params, "model_state": ticket.model_state, "mask": ticket.mask}
    made = {}
    for kind, tree in trees.items():
        leaves = dict(leaves_by_path(tree))
        for path, leaf in leaves.items():
            for axis in range(leaf.ndim):
                members = _members(graph, "params" if kind == "mask" else kind, path, axis)
                leaf = _repeat(leaf, axis, members, number, divide=kind == "params")
            leaves[path] = leaf
        made[kind] = jax.tree.unflatten(jax.tree.structure(tree), list(leaves.values()))
    return Ticket(**made)


def _copies(group: Group, given: Any) -> np.ndarray:
    number = np.asarray(given)
    shaped = number.shape in ((), (group.size,)) and number.dtype.kind in "iu"
    if not shaped or (number < 1).any():
        raise TicketError(
            f"{group.name}: got copies {number.tolist()}, expected whole numbers of at least 1, "
            f"one for all or for each of its {group.size} units"
        )
    return np.broadcast_to(number, group.size)


def _members(graph: Graph, tree: str, path: str, axis: int) -> list[tuple[str, Member]]:
    return [
        (group.name, member)
        for group in graph.groups
        for member in group.members
        if (member.tree, member.path, member.axis) == (tree, path, axis)
    ]


def _repeat(
    leaf: Any,
    axis: int,
    members: list[tuple[str, Member]],
    number: Mapping[str, np.ndarray],
    *,
    divide: bool,
) -> Any:
    """Repeats the entries of one axis, run by run, and divides those that read units."""
    order, share = np.arange(leaf.shape[axis]), np.ones(leaf.shape[axis])
    for name, member in members:
        times = np.append(number[name], 1)
        if member.reads:
            share = share / times[member.units]
        # A flattened image has a unit in many places, or in a run of them: runs stay together.
        units = member.units[order]
        runs = np.split(order, np.flatnonzero(np.diff(units)) + 1)
        order = np.concatenate([np.tile(run, times[member.units[run[0]]]) for run in runs])
    leaf = jnp.take(jnp.asarray(leaf), order, axis=axis)
    if not divide or (share == 1).all():
        return leaf
    around = [-1 if place == axis else 1 for place in range(leaf.ndim)]
    return leaf * jnp.asarray(share[order], leaf.dtype).reshape(around)
