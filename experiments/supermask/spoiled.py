"""Did the data matter? Masks learned on spoiled data, and evaluated on the true test examples."""

import numpy as np
import xarray
from rich.table import Table

from experiments.common import spoiling, sweeps
from experiments.common.experiment import Problem
from experiments.common.judging import Values, judged
from experiments.common.spoiling import HALF_COSTS, OWN, WORDS
from experiments.supermask import learned, supermasks
from jaxticket.analysis import Claim, at_end
from jaxticket.analysis.claims import at_least, greater
from jaxticket.result import Result
from jaxticket.runs import to_dataset


def named(weights: str, name: str) -> str:
    """Names the variant of a kind of weights and of spoiled data."""
    return f"{weights}, {WORDS[name]}"


def search(problem: Problem) -> Result:
    """Learns masks of half the weights on spoiled data; all of them are one population.

    Args:
      problem: what is run, with what is `spoiled`.

    Returns:
      What was learned, a variant for each kind of frozen weights and each name, by `named`.
    """
    chosen = {
        named(kind, name): (name, learned.make_variant(kind, learned.MIDDLE))
        for kind in learned.WEIGHTS
        for name in problem.config.spoiled
    }
    return spoiling.search(problem, chosen)


def accuracy(problem: Problem) -> np.ndarray:
    """Learns masks on spoiled data and reads their accuracy, untrained, on the true examples.

    Args:
      problem: what is run.

    Returns:
      Test accuracy, `float[weights, spoiled, replicates]`.
    """
    ends = at_end(to_dataset(search(problem)), "test_accuracy").sel(arm="ticket", level=0)
    return ends.values.reshape(len(learned.WEIGHTS), len(problem.config.spoiled), -1)


def measured(problem: Problem, results: xarray.Dataset) -> xarray.Dataset:
    """Adds what masks of spoiled data are worth, if any are asked for and the share is there.

    Args:
      problem: what is run.
      results: with the coordinates `weights` and `share`.

    Returns:
      The results, with `spoiled_accuracy` (weights, spoiled, replicate) if so.
    """
    names = list(problem.config.spoiled)
    if not names or learned.MIDDLE not in problem.config.densities:
        return results
    axes = "weights", "spoiled", "replicate"
    return results.assign(spoiled_accuracy=(axes, accuracy(problem))).assign_coords(spoiled=names)


def claims(weights: str, share: float, names: tuple[str, ...]) -> list[Claim]:
    """Claims that a learned mask is of its data, and that half of them are enough for it.

    Args:
      weights: the kind of frozen weights.
      share: what the masks keep.
      names: of what is spoiled.

    Returns:
      The claims.
    """
    return [
        _as_good(weights, share, name) if name == "half" else _more(weights, share, name)
        for name in names
    ]


def _more(weights: str, share: float, name: str) -> Claim:
    return Claim(
        f"{_slug(weights)}-mask-more-than-{name}-{100 * share:g}",
        f"{weights}: keeping {share:.0%}, the learned mask is more accurate than one learned on "
        f"{WORDS[name]}",
        OWN,
        "95 % interval of the difference above 0",
        exact=False,
        test=judged(
            lambda one, other: greater(one - other),
            supermasks.learned(weights, share),
            _values(weights, name),
        ),
    )


def _as_good(weights: str, share: float, name: str) -> Claim:
    return Claim(
        f"{_slug(weights)}-{name}-as-good-as-mask-{100 * share:g}",
        f"{weights}: keeping {share:.0%}, a mask learned on {WORDS[name]} is at least as accurate",
        OWN,
        f"mean difference ≥ -{HALF_COSTS:.1%}",
        exact=False,
        test=judged(
            lambda one, other: at_least(other - one, HALF_COSTS),
            supermasks.learned(weights, share),
            _values(weights, name),
        ),
    )


def _values(weights: str, name: str) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        if "spoiled_accuracy" not in results:
            return "masks of spoiled data"
        return results["spoiled_accuracy"].sel(weights=weights, spoiled=name).values

    return values


def _slug(weights: str) -> str:
    return weights.replace(" ", "-")


def tables(results: xarray.Dataset) -> list[Table]:
    """Makes the table of masks by what they were learned on.

    Args:
      results: with `share_accuracy`, and `spoiled_accuracy` if masks were learned on spoiled data.

    Returns:
      A rich table, or none.
    """
    if "spoiled_accuracy" not in results:
        return []
    found = results["spoiled_accuracy"].transpose("spoiled", "weights", "replicate")
    true = results["share_accuracy"].sel(share=learned.MIDDLE).transpose("weights", "replicate")
    rows = {"the true examples": list(true.values)}
    rows |= {
        WORDS[str(name)]: list(found.sel(spoiled=name).values) for name in found["spoiled"].values
    }
    columns = [str(kind) for kind in found["weights"].values]
    title = f"test accuracy by what the mask was learned on, keeping {learned.MIDDLE:.0%}"
    return [sweeps.make_table(title, results, columns, rows)]
