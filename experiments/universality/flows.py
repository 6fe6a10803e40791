"""The flows of all sources: how the layers' shares of the magnitude change from level to level."""

from typing import Any

import jax
import numpy as np
import xarray

from experiments.common.experiment import Problem
from experiments.universality.searches import one_search
from jaxticket import criteria, masks
from jaxticket.analysis.flow import fit_flow, flow_distances, magnitude_shares, untrained_masks
from jaxticket.imp.variants import whole
from jaxticket.population import over, populate
from jaxticket.recipes import make_prunable
from jaxticket.result import Result


def flows(problem: Problem, result: Result, results: xarray.Dataset) -> dict[str, Any]:
    """Fits the flows of all sources over all levels, and of magnitudes that nothing trains.

    Args:
      problem: what is run.
      result: the networks.
      results: their densities.

    Returns:
      Variables of `measuring.measured`.
    """
    names, (levels, replicates) = result.variants, (result.levels, result.replicates)

    def share(variant: str, level: int, replicate: int) -> np.ndarray:
        network = result.network("ticket", level, replicate, variant)
        return magnitude_shares(network.params, network.mask).values

    each = range(levels), range(replicates)
    shares = np.array([[[share(v, n, r) for r in each[1]] for n in each[0]] for v in names])
    densities = results["density"].values
    pairs = zip(np.swapaxes(shares, 1, 2), densities, strict=True)
    fits = [fit_flow(one, density) for one, density in pairs]
    exponents = np.stack([fit.exponents for fit in fits])
    distances = [[flow_distances(one, other) for other in exponents] for one in exponents]
    null = fit_flow(_untrained_shares(problem, result), densities[0]).exponents
    return {
        "share": (("variant", "level", "replicate", "layer"), shares),
        "exponent": (("variant", "replicate", "layer"), exponents),
        "r_squared": (("variant", "replicate", "layer"), np.stack([f.r_squared for f in fits])),
        "null_exponent": (("replicate", "layer"), null),
        "flow_distance": (("source", "target", "replicate", "other"), np.array(distances)),
    }


def _untrained_shares(problem: Problem, result: Result) -> np.ndarray:
    """Gives the shares of θ_0 pruned by magnitude, `float[replicates, levels, layers]`.

    All variants have the same initial weights, so the first one's do.
    """
    initial = jax.tree.map(lambda leaf: leaf[: result.replicates], result.origin.initial)
    dense = masks.ones(problem.shapes, make_prunable(problem.config))
    choices = criteria.magnitude(), whole(one_search(problem).allocation), result.counts
    key = jax.random.key(problem.config.seed)

    def one(params: Any) -> Any:
        return untrained_masks(key, params, dense, *choices)

    size = problem.plan.padded(result.replicates)
    kept = over(populate(one, problem.plan, compile_fast=True), size)(initial)
    rows = [
        [_shares_of(initial, kept, replicate, level) for level in range(result.levels)]
        for replicate in range(result.replicates)
    ]
    return np.array(rows)


def _shares_of(initial: Any, kept: Any, replicate: int, level: int) -> np.ndarray:
    params = jax.tree.map(lambda leaf: leaf[replicate], initial)
    mask = jax.tree.map(lambda leaf: leaf[replicate, level], kept)
    return magnitude_shares(params, mask).values
