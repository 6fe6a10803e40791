"""The barriers between networks trained on other orders of the data, at every step k."""

import itertools

import jax
import xarray

from experiments.common import instability
from experiments.common.experiment import Problem
from experiments.common.undefined import SUFFIX
from jaxticket.result import Network, Result


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds the instability of dense networks (level 0) and of tickets.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with `instability` (variant, level, replicate), errors as fractions, and
      `instability_undefined_at`, α, where the loss of a pair is first not finite.
    """
    learner = problem.family({})
    state = learner.init(jax.random.key(problem.config.seed))
    sizes = (len(result.variants), result.levels, result.replicates)
    places = itertools.product(result.variants, range(result.levels), range(result.replicates))
    pairs = [_pair(result, *place) for place in places]
    found = instability.barriers_between(learner, state, pairs, problem, problem.config.points)
    dimensions = ("variant", "level", "replicate")
    return results.assign(
        {
            f"instability{suffix}": (dimensions, values.reshape(sizes))
            for suffix, values in zip(("", SUFFIX), found, strict=True)
        }
    )


def _pair(result: Result, name: str, level: int, replicate: int) -> tuple[Network, Network]:
    """Gives two networks that differ in the order of their data alone; dense ones at level 0."""
    if level == 0:
        networks = (result.network("dense", n, replicate, name) for n in (1, 2))
    else:
        networks = (result.network(arm, level, replicate, name) for arm in ("ticket", "copy"))
    first, second = networks
    return first, second
