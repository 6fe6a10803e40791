"""What must coincide under a constant rate, which a small search in every run checks to the bit."""

import dataclasses

import jax
import numpy as np
import xarray

from experiments.common import besides
from experiments.common.experiment import Problem
from experiments.retraining.ways import WAYS
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence
from jaxticket.imp import Variant
from jaxticket.population import Plan
from jaxticket.recipes import Step
from jaxticket.result import Result


def claim() -> Claim:
    """Claims that ways which must coincide do, to the bit."""
    return Claim(
        "identities-under-a-constant-rate",
        "under a constant rate, rate rewinding is fine-tuning, and weight rewinding to step 0 is "
        "iterative magnitude pruning",
        "definitions of 2003.02389, section 2; arithmetic",
        "0 trained weights that differ by a bit",
        exact=True,
        test=_none_differ,
    )


def _none_differ(results: xarray.Dataset) -> Evidence:
    wrong = int(results["identity_differences"])
    return Evidence(float(wrong), None, wrong == 0)


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds what a small search under a constant rate finds: how many weights differ.

    Args:
      problem: what is run.
      result: unused.
      results: of the run.

    Returns:
      The results with `identity_differences`.
    """
    del result
    small = _small(problem)
    # Identities of bits, which the programs of other plans need not give.
    swept, wrong = besides.search(small._replace(plan=Plan("map"))), 0
    for replicate in range(swept.replicates):
        of = {way: swept.network("ticket", 1, replicate, way).params for way in WAYS.values()}
        wrong += _differences(of["learning_rate"], of["fine_tuning"])
        rewound = swept.network("rewound", 1, replicate, "weights").params
        wrong += _differences(of["weights"], rewound)
    return results.assign(identity_differences=wrong)


def _small(problem: Problem) -> Problem:
    """Gives the search by all ways under a constant rate, of two levels and two replicates."""
    start = Step.iterations(0)
    config = dataclasses.replace(
        problem.config,
        levels=2,
        replicates=2,
        arms=("ticket", "rewound"),
        schedule="constant",
        drops=(),
        steps=Step.iterations(40),
        warmup=start,
        rewind_step=start,
        rewind_moments=False,
        criterion="magnitude",
        pruning="iterative",
    )
    ways = {way: Variant(retraining=way) for way in WAYS.values()}
    return besides.with_config(problem, config)._replace(variants=ways)


def _differences(first: object, second: object) -> int:
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return sum(int(np.sum(one != other)) for one, other in pairs)
