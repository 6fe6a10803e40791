"""Accuracies of learned masks by share and width and of their checks, and counts of mistakes."""

import numpy as np
import xarray

from experiments.common.experiment import Problem
from experiments.supermask import checks, learned, spoiled
from jaxticket.analysis import at_end
from jaxticket.result import Result


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds accuracies by share and width, of checks and of a trained network; counts mistakes.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with `share_accuracy`, `width_accuracy`, `untrained_accuracy`, `check_accuracy`,
      `wrong_counts` and `moved_weights`; with spoiled data also `spoiled_accuracy`.
    """
    config, variants = problem.config, learned.variants(problem)
    sizes = (len(learned.WEIGHTS), len(config.densities))
    ends = at_end(results, "test_accuracy").sel(arm="ticket", level=0)
    by_share = ends.values.reshape(*sizes, config.replicates)
    by_width = _by_width(problem, by_share)
    untrained = learned.untrained(problem)
    checked = checks.accuracy(problem, result, variants)
    checked = checked.reshape(*sizes, len(checks.CONTROLS), config.replicates)
    found = results.assign(
        share_accuracy=(("weights", "share", "replicate"), by_share),
        width_accuracy=(("width", "weights", "replicate"), np.stack(list(by_width.values()))),
        untrained_accuracy=(("criterion", "replicate"), untrained),
        check_accuracy=(("weights", "share", "control", "replicate"), checked),
        wrong_counts=learned.wrong_counts(problem, result, variants),
        moved_weights=learned.moved_weights(result),
    ).assign_coords(
        weights=list(learned.WEIGHTS),
        share=sorted(config.densities),
        width=list(by_width),
        criterion=list(learned.TRAINED),
        control=list(checks.CONTROLS),
    )
    return spoiled.measured(problem, found)


def _by_width(problem: Problem, by_share: np.ndarray) -> dict[float, np.ndarray]:
    """Gives the accuracy at each width, narrow ones first; that of the run's own is known."""
    config, shares = problem.config, sorted(problem.config.densities)
    known = (
        {config.width: by_share[:, shares.index(learned.MIDDLE)]}
        if learned.MIDDLE in shares
        else {}
    )
    widths = sorted((config.width, *config.widths))
    return {w: known[w] if w in known else learned.of_width(problem, w) for w in widths}
