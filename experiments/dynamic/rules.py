"""Rules by which masks change in training, each at every density, as one family of learners."""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

from experiments.common.experiment import Problem
from jaxticket import allocate, learners, recipes, topology
from jaxticket.allocate import Allocation
from jaxticket.imp import Variant

RULES = ("static", "set", "rigl")
"""From the least to the most that is expected."""


def allocation(density: float) -> Allocation:
    """Says how many weights each layer has at a density: Erdős–Rényi with kernels (ERK).

    Args:
      density: share of the weights.

    Returns:
      The allocation, at its level 1.
    """
    return allocate.erdos_renyi((density,))


def _topologies(config: Any, steps: int) -> list[topology.Topology]:
    times = {"every": config.change_every, "stop": round(config.change_until * steps)}
    made = {
        "static": topology.static,
        "set": functools.partial(topology.set_, **times, fraction=config.fraction),
        "rigl": functools.partial(topology.rigl, **times, fraction=config.fraction),
    }
    return [made[rule]() for rule in config.rules]


def make_family(config: Any, dataset: Any) -> Callable[[Mapping[str, Any]], learners.Learner]:
    """Makes the learners, which differ in their rule and their density.

    Args:
      config: the configuration.
      dataset: what is trained on.

    Returns:
      `family(hyperparameters) -> Learner`, with the places of a rule and of a density, 0 unless
      given.
    """
    base = recipes.make_family(config, dataset, config.precision)
    steps = config.steps.at(recipes.steps_an_epoch(config, len(dataset.train.labels)))
    rules = _topologies(config, steps)
    starts = [topology.at_random(allocation(density)) for density in config.densities]

    def family(hyperparameters: Mapping[str, Any]) -> learners.Learner:
        rule, density = (hyperparameters.get(name, 0) for name in ("rule", "density"))
        return learners.sparse(
            base({}),
            topology.one_of(rules, rule),
            start=topology.one_of(starts, density),
            prunable=recipes.make_prunable(config),
        )

    return family


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists every rule at every density.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    config = problem.config
    pairs = itertools.product(enumerate(config.rules), enumerate(config.densities))
    return {
        _name(rule, density): Variant({"rule": place, "density": other})
        for (place, rule), (other, density) in pairs
    }


def _name(rule: str, density: float) -> str:
    return f"{rule} {100 * density:g} %"
