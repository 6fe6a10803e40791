"""The masks that training ended with, held fixed and trained from the beginning, with controls."""

import dataclasses

import jax
import numpy as np
import xarray
from rich.table import Table

from experiments.common import besides, sweeps
from experiments.common.experiment import Problem
from experiments.common.judging import Values, judged
from jaxticket import masks, recipes
from jaxticket.analysis import Claim, at_end, transfer_results
from jaxticket.analysis.claims import Evidence, at_least, greater
from jaxticket.imp import Variant
from jaxticket.result import Result
from jaxticket.transfer import Renewed, Tickets, Transfer, transfer

ARMS = ("ticket", "shuffle", "reinit")
"""The last mask over the first weights; the same permuted in each layer; over other weights."""

STILL = "static"
"""The rule whose masks were random from the beginning, so that there is nothing to check."""

OWN = "this project's own claim; the checks are those of Frankle et al. 2021, arXiv 2009.08576"


def trained(problem: Problem, result: Result) -> xarray.DataArray:
    """Trains the last mask of every network whose mask changed, and its controls, from θ_0.

    Args:
      problem: what was run.
      result: the networks, a variant for each rule at each density, those of a rule together.

    Returns:
      Test accuracy after training (rule, level, control, replicate), a level a density. Masks
      change no more; all else is as in the run.
    """
    config, replicates = problem.config, range(result.replicates)
    rules = [rule for rule in config.rules if rule != STILL]
    first = {rule: config.rules.index(rule) * len(config.densities) for rule in rules}
    names = [
        name
        for rule in rules
        for name in result.variants[first[rule] : first[rule] + len(config.densities)]
    ]
    plain = recipes.make_learner(config, problem.dataset, precision=config.precision)
    given = plain, problem.splits, jax.random.key(config.seed), problem.protocol
    # Of it the first weights are used, and the optimizer's state.
    once = dataclasses.replace(config, criterion="magnitude", pruning="iterative")
    dense = besides.search(
        problem._replace(config=once, family=lambda given: plain, variants={"": Variant()})
    )
    found = [
        result.network("ticket", 0, replicate, name).model_state.mask
        for name in names
        for replicate in replicates
    ]
    last = jax.tree.map(lambda *leaves: np.stack(leaves), *found)
    start = dense.origin.rewound.params, dense.origin.rewound.model_state
    tiled = jax.tree.map(lambda leaf: np.concatenate([leaf] * len(names)), start)
    begin = config.rewind_step.at(problem.steps_an_epoch)
    networks = [Transfer(name, "", arm, 0, r) for name in names for arm in ARMS for r in replicates]
    moved = transfer(
        *given,
        Tickets(tuple(names), result.replicates, (last,), *tiled),
        dense,
        networks,
        renewed=Renewed(masks.matching()),
        **besides.transfer_options(problem, len(networks), begin),
    )
    ends = at_end(transfer_results(moved), "test_accuracy").isel(target=0, level=0)
    shape = len(rules), len(config.densities), len(ARMS), result.replicates
    values = ends.transpose("source", "arm", "replicate").values.reshape(shape)
    return xarray.DataArray(
        values,
        dims=("rule", "level", "control", "replicate"),
        coords={"rule": rules, "control": list(ARMS)},
    )


def claims(rule: str, level: int, percent: float, tolerance: float) -> list[Claim]:
    """Claims that places of the last mask matter to training from the beginning, and weights not.

    Args:
      rule: by which masks changed.
      level: the place of the density.
      percent: the density.
      tolerance: what other weights may cost, stated first.

    Returns:
      The claims.
    """
    ticket, shuffled, other = (_values(rule, level, arm) for arm in ARMS)
    subject = f"at {percent:g} %, the last mask of {rule}, trained from the beginning,"

    def as_good(one: np.ndarray, two: np.ndarray) -> Evidence:
        return at_least(one - two, tolerance)

    return [
        Claim(
            f"{rule}-last-mask-more-than-shuffle-{percent:g}",
            f"{subject} is more accurate than shuffled in each layer",
            OWN,
            "95 % interval of the difference above 0",
            exact=False,
            test=judged(lambda one, two: greater(one - two), ticket, shuffled),
        ),
        Claim(
            f"{rule}-reinit-as-good-as-last-mask-{percent:g}",
            f"{subject} is no more accurate than with other initial weights",
            OWN,
            f"mean difference ≥ -{tolerance:.1%}",
            exact=False,
            test=judged(as_good, other, ticket),
        ),
    ]


def _values(rule: str, level: int, arm: str) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        if "fixed_accuracy" not in results or rule not in results["rule"]:
            return f"the rule {rule}"
        return results["fixed_accuracy"].sel(rule=rule, control=arm).isel(level=level).values

    return values


def table(results: xarray.Dataset) -> Table:
    """Makes the table of last masks that are held fixed, with their controls.

    Args:
      results: with `fixed_accuracy`.

    Returns:
      A rich table.
    """
    found = results["fixed_accuracy"]
    rows = {
        f"{rule} {arm}": list(found.sel(rule=rule, control=arm).transpose("level", ...).values)
        for rule in found["rule"].values
        for arm in ARMS
    }
    title = "test accuracy of last masks, trained from the beginning"
    return sweeps.make_table(title, results, sweeps.density_headings(results), rows)
