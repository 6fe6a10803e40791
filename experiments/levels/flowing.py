"""The flow of the layers' shares over levels, and the two flows that no training makes."""

from typing import Any

import jax
import numpy as np

from experiments.common.experiment import Problem
from experiments.levels.measuring import Tickets, stacked
from jaxticket import criteria, masks, prune
from jaxticket.analysis.flow import fit_flow, magnitude_shares, untrained_masks
from jaxticket.keys import derive, replicate_keys
from jaxticket.population import over, populate
from jaxticket.recipes import make_prunable
from jaxticket.result import Result

NULLS = ("random", "magnitude")
"""Criteria that prune the initial weights, which nothing trains."""


def flows(problem: Problem, result: Result, tickets: Tickets) -> dict[str, Any]:
    """Measures the shares of the tickets and of both nulls, and fits their exponents.

    Args:
      problem: gives the allocation, the plan and the seed.
      result: of the search; its initial weights are those of the nulls.
      tickets: its networks.

    Returns:
      `magnitude_share` (flow, replicate, level, layer), `exponent`, `intercept`, `r_squared` and
      `emptied` (flow, replicate, layer), for the flows `trained`, `random` and `magnitude`; and
      `fitted_levels`, how many levels, from the first on, no flow has emptied a layer at.
    """
    rows = list(zip(*tickets, strict=True))
    params = stacked([stacked([one.params for one in row]) for row in rows])
    kept = stacked([stacked([one.mask for one in row]) for row in rows])
    trained = magnitude_shares(params, kept, axes=2)
    nulls = (_null(problem, result, name) for name in NULLS)
    shares = np.stack([trained.values, *nulls])
    # One window for all flows: a layer that one of them has emptied has no logarithm from there on.
    empty = (shares == 0).any(axis=(0, 1, 3))
    last = max(2, int(empty.argmax())) if empty.any() else result.levels
    fitted = fit_flow(shares, result.densities(), window=(0, last))
    each = ("flow", "replicate", "layer")
    return {
        "magnitude_share": (("flow", "replicate", "level", "layer"), shares),
        "exponent": (each, fitted.exponents),
        "intercept": (each, fitted.intercepts),
        "r_squared": (each, fitted.r_squared),
        "emptied": (each, fitted.emptied),
        "fitted_levels": ((), last),
        "flow": ("flow", ["trained", *NULLS]),
    }


def _null(problem: Problem, result: Result, name: str) -> np.ndarray:
    """Shares of the initial weights under masks that are pruned without training.

    NaN where the search of a sweep prunes by another allocation than its configuration's.
    """
    number, initial = result.replicates, jax.device_get(result.origin.initial)
    dense = jax.tree.map(
        lambda leaf: np.ones(leaf.shape, bool),
        masks.ones(problem.shapes, make_prunable(problem.config)),
    )
    allocation, criterion = problem.allocation(), criteria.by_name(name)
    counts = prune.schedule(allocation, dense, result.levels, empty_layers=True)
    if tuple(counts) != tuple(result.counts):
        return np.full((number, result.levels, len(masks.sizes(dense))), np.nan)

    def one(network: Any) -> Any:
        key, params = network
        return untrained_masks(key, params, dense, criterion, allocation, counts)

    keys = replicate_keys(jax.random.key(problem.config.seed), number)
    keys = jax.vmap(lambda key: derive(key, "null", name))(keys)
    run = populate(one, problem.plan, compile_fast=True)
    piece = problem.plan.padded(problem.plan.devices)
    made = over(lambda networks, number: run(networks, number=number), piece)((keys, initial))
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf[:, None], result.levels, axis=1), initial)
    return magnitude_shares(repeated, made, axes=2).values
