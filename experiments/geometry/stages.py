"""The stages of iterative pruning as populations of networks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.keys import derive, replicate_keys
from jaxticket.population import over, populate, share
from jaxticket.result import Result

STARTS = {"reinit_init": "reinit", "shuffle_init": "shuffle", "oneshot_pruned": "oneshot"}
"""Before the controls train, by their arm: where they start, and for one-shot the dense network
without all the weights that go at once."""

STAGES = ("init", "pruned", "ticket", *(name for pair in STARTS.items() for name in pair))
"""Of a level: where the ticket starts, the network before without the weights that go, and what
each arm has trained, each control after its own start."""


class Point(NamedTuple):
    """One network at one stage, or many along axis 0.

    Attributes:
      params: zero where pruned.
      model_state: that belongs to them.
      mask: which weights are kept.
      replicate: `int32[]`, from which its random directions are drawn.
    """

    params: Any
    model_state: Any
    mask: Any
    replicate: Any


def stages_of(result: Result, level: int) -> tuple[str, ...]:
    """Lists the stages that a run holds at a level: two of the dense network.

    Args:
      result: the networks.
      level: 0 is dense.

    Returns:
      Names of `STAGES`.
    """
    if level == 0:
        return ("init", "ticket")
    return tuple(
        name for name in STAGES if name in STAGES[:3] or STARTS.get(name, name) in result.arms
    )


Place = tuple[str, int, int]
"""A stage, a level and a replicate."""


def points_of(problem: Any, result: Result, places: Sequence[Place]) -> list[Point]:
    """Gives networks at any stages, those from new initial weights made as the search made them.

    Args:
      problem: gives the learner, the seed and the plan.
      result: the networks.
      places: of `stages_of` each level.

    Returns:
      The networks, in this order.
    """
    new = [place for place in places if place[0] == "reinit_init"]
    made = dict(zip(new, _reinitialised(problem, result, new), strict=True))
    return [made[place] if place in made else point(result, *place) for place in places]


def _reinitialised(problem: Any, result: Result, places: Sequence[Place]) -> list[Point]:
    """Draws the new initial weights of the arm reinit again, by the keys of `find_tickets`."""
    if not places:
        return []
    keys = replicate_keys(jax.random.key(problem.config.seed), result.replicates)
    learner, plan = problem.family({}), problem.plan

    def init(own: Any) -> Any:
        key, level = own
        state = learner.init(derive(key, "reinit", level))
        return state.params, state.model_state

    run = populate(init, plan, compile_fast=True)
    levels = np.array([level for _, level, _ in places], np.int32)
    own = keys[np.array([replicate for *_, replicate in places])], levels
    size = plan.padded(plan.chunk or plan.devices)
    params, states = over(lambda own, number: run(own, number=number), size)(own)
    found = []
    for row, (_, level, replicate) in enumerate(places):
        mask = result.network("reinit", level, replicate).mask
        fresh, state = jax.tree.map(lambda leaf, row=row: leaf[row], (params, states))
        found.append(Point(masked(fresh, mask), state, mask, np.int32(replicate)))
    return found


def point(result: Result, stage: str, level: int, replicate: int) -> Point:
    """Gives a network at a stage that the run keeps; `points_of` gives the others too.

    Args:
      result: the networks.
      stage: one of `stages_of` other than `reinit_init`.
      level: which.
      replicate: which.

    Returns:
      The network.
    """
    number = np.int32(replicate)
    if stage in ("init", "shuffle_init"):
        mask = result.network(STARTS.get(stage, "ticket"), level, replicate).mask
        start = jax.tree.map(lambda leaf: np.asarray(leaf)[replicate], result.origin.rewound)
        return Point(masked(start.params, mask), start.model_state, mask, number)
    if stage in ("pruned", "oneshot_pruned"):
        mask = result.network(STARTS.get(stage, "ticket"), level, replicate).mask
        before = result.network("ticket", 0 if stage in STARTS else level - 1, replicate)
        return Point(masked(before.params, mask), before.model_state, mask, number)
    network = result.network(stage, level, replicate)
    return Point(network.params, network.model_state, network.mask, number)


def masked(params: Any, mask: Any) -> Any:
    """Applies a mask on the host."""
    # What is not finite is pruned like anything else, and nothing becomes −0.0.
    zero = lambda leaf: np.zeros((), leaf.dtype)  # noqa: E731
    return jax.tree.map(lambda p, m: p if m is None else np.where(m, p, zero(p)), params, mask)


def stack(points: Sequence[Any]) -> Any:
    """Puts networks along axis 0."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *points)


def over_all(
    problem: Any, function: Callable[..., Any], points: Sequence[Any], *shared: Any
) -> Any:
    """Runs a function of one network over many, on the plan's devices.

    Args:
      problem: gives the plan.
      function: `function(point, *shared) -> numbers`, pure.
      points: the networks.
      *shared: what all of them are given.

    Returns:
      Its results along axis 0, on the host.
    """
    plan = problem.plan
    given = share(shared, plan)
    run = populate(function, plan)
    size = plan.padded(plan.chunk or plan.devices)
    return over(lambda own, number: run(own, *given, number=number), size)(stack(points))


def examples_of(problem: Any) -> Any:
    """Takes the training examples that geometry is measured on, from the first on."""
    number = problem.config.examples
    return jax.tree.map(lambda leaf: np.asarray(leaf[:number]), problem.dataset.train)
