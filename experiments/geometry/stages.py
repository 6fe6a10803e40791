"""The stages of iterative pruning as populations of networks."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.population import over, populate, share
from jaxticket.records import Result

STAGES = ("init", "pruned", "ticket", "reinit", "shuffle", "oneshot")
"""Of a level: where the ticket starts, the network before without the weights that go, and what
each arm has trained."""


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
    return tuple(name for name in STAGES if name in (*STAGES[:3], *result.arms))


def point(result: Result, stage: str, level: int, replicate: int) -> Point:
    """Gives a network at a stage.

    Args:
      result: the networks.
      stage: one of `stages_of`.
      level: which.
      replicate: which.

    Returns:
      The network.
    """
    number = np.int32(replicate)
    if stage == "init":
        mask = result.network("ticket", level, replicate).mask
        start = jax.tree.map(lambda leaf: np.asarray(leaf)[replicate], result.origin.rewound)
        return Point(masked(start.params, mask), start.model_state, mask, number)
    if stage == "pruned":
        mask = result.network("ticket", level, replicate).mask
        before = result.network("ticket", level - 1, replicate)
        return Point(masked(before.params, mask), before.model_state, mask, number)
    network = result.network(stage, level, replicate)
    return Point(network.params, network.model_state, network.mask, number)


def masked(params: Any, mask: Any) -> Any:
    """Applies a mask on the host."""
    return jax.tree.map(lambda p, m: p if m is None else np.where(m, p, p * 0), params, mask)


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
