"""What lies between the solutions of two successive levels: their angle and their barrier."""

import itertools

import jax
import numpy as np
import xarray
from rich.table import Table

from experiments.common import sweeps
from experiments.common.angles import angles_of
from experiments.common.experiment import Problem
from experiments.common.instability import barriers_between
from experiments.common.judging import Values, judged
from experiments.common.undefined import SUFFIX, undefined_tables
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, by_interval, greater
from jaxticket.result import Network, Result

ORTHOGONAL = 0.1
"""An angle this near to 1 counts as a right one, stated beforehand."""

TITLES = {
    "angle": "angle between successive solutions, 2∠/π (100 % is a right angle)",
    "barrier": "test-error barrier between successive solutions",
}


def name(search: str, strength: float) -> str:
    """Names a variant.

    Args:
      search: where its rounds start.
      strength: of the term.

    Returns:
      Its name.

    Example:
      >>> name("ticket", 2.0)
      'ticket, strength 2'
    """
    return f"{search}, strength {strength:g}"


def measured(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Measures what lies between the solutions of each level and the one before.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with `angle` and `barrier` (variant, level, replicate), NaN at level 0;
      `barrier_undefined_at`, α, where the loss of a pair is first not finite; which `search` and
      which `strength` each variant is; and `first_mask_differences`, in how many weights the masks
      of level 1 differ between variants.
    """
    sizes = (len(result.variants), result.levels, result.replicates)
    found = {quantity: np.full(sizes, np.nan) for quantity in (*TITLES, f"barrier{SUFFIX}")}
    places = list(itertools.product(range(sizes[0]), range(1, sizes[1]), range(sizes[2])))
    pairs = [_pair(result, *place) for place in places]
    learner = problem.family({})
    state = learner.init(jax.random.key(problem.config.seed))
    lines = barriers_between(learner, state, pairs, problem, problem.config.points)
    of_pairs = zip(places, angles_of(problem, pairs), *lines, strict=True)
    for place, *values in of_pairs:
        for quantity, value in zip(found, values, strict=True):
            found[quantity][place] = value
    dimensions = ("variant", "level", "replicate")
    names = [variant.split(", strength ") for variant in result.variants]
    return results.assign(
        {quantity: (dimensions, values) for quantity, values in found.items()}
        | {
            "search": ("variant", [search for search, _ in names]),
            "strength": ("variant", [float(strength) for _, strength in names]),
            "first_mask_differences": _first_mask_differences(result),
        }
    )


def _pair(result: Result, variant: int, level: int, replicate: int) -> tuple[Network, Network]:
    before, after = (
        result.network("ticket", n, replicate, result.variants[variant]) for n in (level - 1, level)
    )
    return before, after


def _first_mask_differences(result: Result) -> int:
    wrong = 0
    for replicate in range(result.replicates):
        masks = [result.network("ticket", 1, replicate, v).mask for v in result.variants]
        for mask in masks[1:]:
            differ = jax.tree.map(lambda a, b: int(np.sum(a != b)), masks[0], mask)
            wrong += sum(jax.tree.leaves(differ))
    return wrong


def first_masks_alike() -> Claim:
    """Claims that all variants prune the same dense networks to the same first masks."""

    def test(results: xarray.Dataset) -> Evidence:
        wrong = int(results["first_mask_differences"])
        return Evidence(float(wrong), None, wrong == 0)

    return Claim(
        "first-masks-alike",
        "the term and the start of a round change nothing before the first pruning",
        "definition: the dense network has no earlier solution",
        "0 weights in which first masks differ between searches",
        exact=True,
        test=test,
    )


Which = tuple[str, float]


def below(quantity: str, first: Which, second: Which, source: str) -> Claim:
    """Claims that a quantity is lower in one search than in another, in the mean of all levels.

    Args:
      quantity: `angle` or `barrier`.
      first: search and strength.
      second: likewise.
      source: of the claim.

    Returns:
      The claim.
    """
    one, other = name(*first), name(*second)
    slug = f"{quantity} of {one} below {other}".replace(",", "").replace(" ", "-")
    return Claim(
        slug,
        f"the {quantity} of successive solutions is lower for {one} than for {other}",
        source,
        "95 % interval of the difference above 0, in the mean of all levels",
        exact=False,
        test=judged(
            lambda lower, higher: greater(higher - lower),
            _mean(quantity, one),
            _mean(quantity, other),
        ),
    )


def nearly_orthogonal(which: Which, source: str) -> Claim:
    """Claims that successive solutions of a search are nearly at right angles.

    Args:
      which: search and strength.
      source: of the claim.

    Returns:
      The claim.
    """

    def judge(values: np.ndarray) -> Evidence:
        return by_interval(values, lambda interval: abs(interval.mean - 1) <= ORTHOGONAL)

    return Claim(
        f"orthogonal-{name(*which).replace(',', '').replace(' ', '-')}",
        f"successive solutions of {name(*which)} are nearly at right angles",
        source,
        f"mean angle 2∠/π within {ORTHOGONAL:g} of 1",
        exact=False,
        test=judged(judge, _mean("angle", name(*which))),
    )


def _mean(quantity: str, variant: str) -> Values:
    """Reads a quantity's mean over levels; NaN with any level's."""

    def values(results: xarray.Dataset) -> np.ndarray | str:
        if variant not in results["variant"]:
            return f"the variant {variant}"
        found = results[quantity].sel(variant=variant).isel(level=slice(1, None))
        return found.mean("level", skipna=False).values

    return values


def tables(results: xarray.Dataset) -> list[Table]:
    """Makes a table of each quantity, a row a variant, a column a density; and of what has none.

    Args:
      results: with what `measured` gives.

    Returns:
      Rich tables.
    """
    columns = sweeps.density_headings(results)[1:]
    levels = range(1, results.sizes["level"])
    made = [
        sweeps.make_table(
            title,
            results,
            columns,
            {
                str(v): [results[quantity].sel(variant=v).isel(level=n).values for n in levels]
                for v in results["variant"].values
            },
        )
        for quantity, title in TITLES.items()
    ]
    return made + undefined_tables(results)
