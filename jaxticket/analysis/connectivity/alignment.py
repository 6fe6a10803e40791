"""Permutation alignment: the hidden units of one network in the places of another's."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket.analysis.comparable import check_alike, ends
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.masks.basic import leaves_by_path
from jaxticket.masks.prunable import path_string
from jaxticket.structure import Graph, Group, Member
from jaxticket.types import ModelState, Params

Permutations = Mapping[str, np.ndarray]
"""By the name of a group of units, `int[size]`: the place that each of its units is taken from."""

_GAIN = 1e-9
"""Below this share of ‖θ₁‖ ‖θ₂‖ a gain is rounding, and would be taken back and forth."""


class Alignment(NamedTuple):
    """A network whose units are in the places of another's.

    Attributes:
      params: of the second network, permuted.
      model_state: likewise.
      permutations: by group; what `permute` does to its masks with them belongs to it too.
      similarity: Σ θ₁ · P θ₂ over all params, which is as large as was found.
      sweeps: how many times all groups were visited.
    """

    params: Params
    model_state: ModelState
    permutations: dict[str, np.ndarray]
    similarity: float
    sweeps: int


def permute(graph: Graph, tree: Any, permutations: Permutations, kind: str = "params") -> Any:
    """Puts the units of a network in other places, in every leaf along which they run.

    Unit i of what it gives is unit p_i of what it was given, so that the network's outputs stay
    what they were, but for the order in which sums are rounded.

    Args:
      graph: of the network, from `structure.trace`.
      tree: its params, a mask over them, or its model state; `None` leaves stay so.
      permutations: of some groups of the graph; the others stay.
      kind: `params`, for masks too, or `model_state`.

    Returns:
      The tree with its units permuted.

    Raises:
      TicketError: for a group that the graph has not, or what is no permutation of its units.

    Example:
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((1, 1, 1), widths=(3,), outputs=1)
      >>> graph = trace(model, *jax.eval_shape(model.init, jax.random.key(0)), (1, 1, 1))
      >>> mask = {"hidden_0": {"kernel": np.array([[True, False, True]]), "bias": None}}
      >>> moved = permute(graph, mask, {"hidden_0/kernel": np.array([1, 2, 0])})
      >>> moved["hidden_0"]["kernel"].tolist(), moved["hidden_0"]["bias"]
      ([[False, True, True]], None)
    """
    groups = {group.name: group for group in graph.groups}
    along: dict[str, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for name, permutation in permutations.items():
        _check_permutation(groups, name, permutation)
        for member in groups[name].members:
            if member.tree == kind:
                places = _places(member, groups[name].size)
                index = np.arange(len(member.units))
                index[places] = places[permutation]
                along[member.path].append((member.axis, index))

    def moved(path: tuple[Any, ...], leaf: Any) -> Any:
        for axis, index in along.get(path_string(path), ()):
            leaf = leaf[(slice(None),) * axis + (index,)]
        return leaf

    return jax.tree_util.tree_map_with_path(moved, tree)


def align(
    graph: Graph, first: Any, second: Any, key: PRNGKeyArray, *, starts: int = 1
) -> Alignment:
    """Permutes the hidden units of the second network so that its weights are like the first's.

    Weight matching: maximises Σ_leaves ⟨θ₁, P θ₂⟩ over the permutations P of every group of units,
    by coordinate descent. With all other groups held, the best permutation of one is a linear
    assignment, solved exactly; groups are visited in a random order until none can be bettered,
    which is a local optimum. Which axes a group runs along is read off the traced network. It is
    one pair's, on the host, where SciPy solves assignments: many pairs are `align_pairs`.

    Args:
      graph: of both networks, from `structure.trace`; units that it does not list, as in front of
        a normalisation over units, stay in their places.
      first: θ₁, with `params` and `model_state`, of one network on the host, zero where pruned.
      second: θ₂, likewise.
      key: of the order of visits.
      starts: how many orders are tried, of which the best result counts.

    Returns:
      The second network aligned, which computes what it computed before.

    Raises:
      TicketError: for networks of different shapes, and for fewer than one start.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model, key = mlp((4, 4, 1), widths=(6, 5), outputs=3), jax.random.key(0)
      >>> first = jax.device_get(TrainState(*model.init(key), ()))
      >>> graph = trace(model, first.params, {}, (4, 4, 1))
      >>> planted = {"hidden_0/kernel": np.array([2, 0, 1, 5, 4, 3])}
      >>> second = first._replace(params=permute(graph, first.params, planted))
      >>> align(graph, first, second, key).permutations["hidden_0/kernel"].tolist()
      [1, 2, 0, 5, 4, 3]

    Source: 2209.04836, section 3.2 and algorithm 1 (unverified); the groups are this project's.
    """
    check_alike(ends(first), ends(second), "alignment, first and second")
    if starts < 1:
        raise TicketError(f"starts: got {starts}, expected at least 1")
    found = [
        _match(graph, first.params, second.params, derive(key, "start", start))
        for start in range(starts)
    ]
    permutations, similarity, sweeps = max(found, key=lambda one: one[1])
    return Alignment(
        permute(graph, second.params, permutations),
        permute(graph, second.model_state, permutations, "model_state"),
        permutations,
        similarity,
        sweeps,
    )


def _match(
    graph: Graph, first: Params, second: Params, key: PRNGKeyArray
) -> tuple[dict[str, np.ndarray], float, int]:
    # Sums of many products decide between permutations that are almost as good.
    ours, theirs = (
        jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), t) for t in (first, second)
    )
    groups = [group for group in graph.groups if _is_permutable(group)]
    permutations = {group.name: np.arange(group.size) for group in groups}
    similarity = lambda p: _inner(ours, permute(graph, theirs, p))  # noqa: E731
    best = similarity(permutations)
    least = _GAIN * (_inner(ours, ours) * _inner(theirs, theirs)) ** 0.5
    sweeps, changed = 0, True
    while changed:
        changed = False
        order = jax.random.permutation(derive(key, "visits", sweeps), len(groups))
        for group in (groups[place] for place in np.asarray(order)):
            tried = permutations | {group.name: _assigned(graph, group, ours, theirs, permutations)}
            reached = similarity(tried)
            # Where a leaf has a group on two axes the assignment holds one of them, and may lose.
            if reached > best + least:
                permutations, best, changed = tried, reached, True
        sweeps += 1
    return permutations, best, sweeps


def _assigned(
    graph: Graph, group: Group, ours: Params, theirs: Params, permutations: Permutations
) -> np.ndarray:
    """Solves the linear assignment of one group, all others held."""
    from scipy.optimize import linear_sum_assignment

    others = {name: value for name, value in permutations.items() if name != group.name}
    mine, yours = dict(leaves_by_path(ours)), dict(leaves_by_path(permute(graph, theirs, others)))
    gains = np.zeros((group.size, group.size))
    for member in group.members:
        if member.tree == "params":
            rows = _by_unit(member, group.size)
            gains += rows(mine[member.path]) @ rows(yours[member.path]).T
    return linear_sum_assignment(gains, maximize=True)[1]


def _by_unit(member: Member, size: int) -> Callable[[np.ndarray], np.ndarray]:
    places = _places(member, size)
    return lambda leaf: np.moveaxis(leaf, member.axis, 0)[places].reshape(size, -1)


def _places(member: Member, size: int) -> np.ndarray:
    """Lists where each unit is along an axis, `int[size, times]`: channels repeat over pixels."""
    order = np.argsort(member.units, kind="stable")
    return order[np.count_nonzero(member.units < 0) :].reshape(size, -1)


def _is_permutable(group: Group) -> bool:
    """Says whether every unit is as often as every other along each axis."""
    counts = [np.bincount(m.units[m.units >= 0], minlength=group.size) for m in group.members]
    return all((count == count[0]).all() for count in counts)


def _inner(first: Params, second: Params) -> float:
    products = jax.tree.map(lambda a, b: float(np.sum(a * b)), first, second)
    return sum(jax.tree.leaves(products))


def _check_permutation(groups: Mapping[str, Group], name: str, permutation: np.ndarray) -> None:
    size = groups[name].size if name in groups else 0
    if name not in groups or not _is_permutable(groups[name]):
        names = [one for one, group in groups.items() if _is_permutable(group)]
        raise TicketError(
            f"{name}: is no group of units that can change places, expected some of "
            f"{', '.join(names) or 'none'}"
        )
    if np.sort(permutation).tolist() != list(range(size)):
        raise TicketError(
            f"{name}: got {np.asarray(permutation).tolist()}, expected the numbers from 0 to "
            f"{size - 1}, each once"
        )
