"""Did the data matter? Masks that were searched on spoiled data, and train on the true ones."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray
from rich.table import Table

from experiments.common import besides, spoiling, sweeps
from experiments.common.experiment import Problem
from experiments.common.spoiling import WORDS
from experiments.verdict.sources import masks_by_level
from jaxticket import masks
from jaxticket.analysis import at_early_stop, transfer_results
from jaxticket.imp import Variant
from jaxticket.result import Result
from jaxticket.transfer import Renewed, Tickets, Transfer, transfer


def search(problem: Problem, base: Variant, names: Sequence[str], levels: int) -> Result:
    """Searches as a problem does, on spoiled data; all of them are one population.

    Args:
      problem: how networks train and are pruned.
      base: what the search does in its own way.
      names: of what is spoiled.
      levels: how many.

    Returns:
      What was found, a variant for each name.
    """
    config = dataclasses.replace(problem.config, levels=levels, arms=("ticket",))
    here = problem._replace(config=config)
    return spoiling.search(here, {name: (name, base) for name in names})


def accuracy(
    problem: Problem,
    found: Result,
    target: Result,
    rate: str,
    hyperparameters: Mapping[str, Any],
    levels: Sequence[int],
    rewind_step: int,
) -> xarray.DataArray:
    """Trains masks of spoiled data on the true ones, from the true weights at the rewind step.

    Args:
      problem: how the target's networks train.
      found: what was found on spoiled data.
      target: dense networks of the true data.
      rate: the variant of the target whose weights and hyperparameters are taken.
      hyperparameters: of that variant.
      levels: of the masks.
      rewind_step: k.

    Returns:
      Test accuracy at early stop (spoiled, level, replicate).
    """
    names, own = found.variants, target.only(rate).origin.rewound
    tile = lambda leaf: np.concatenate([np.asarray(leaf)] * len(names))  # noqa: E731
    start = jax.tree.map(tile, (own.params, own.model_state))
    tickets = Tickets(names, found.replicates, masks_by_level(found), *start)
    networks = [
        Transfer(name, rate, "ticket", level, replicate)
        for name in names
        for level in levels
        for replicate in range(found.replicates)
    ]
    given = problem.family, problem.splits, jax.random.key(problem.config.seed), problem.protocol
    moved = transfer(
        *given,
        tickets,
        target,
        networks,
        hyperparameters={rate: hyperparameters},
        renewed=Renewed(masks.matching()),
        **besides.transfer_options(problem, len(networks), rewind_step),
    )
    curves = transfer_results(moved).isel(target=0, arm=0, drop=True)
    return at_early_stop(curves, "test_accuracy").rename(source="spoiled")


def table(results: xarray.Dataset) -> Table:
    """Makes the table of what masks of spoiled data are worth.

    Args:
      results: with `spoiled_accuracy` and `ticket_accuracy` (level, replicate), NaN at levels that
        are not judged.

    Returns:
      A rich table.
    """
    found = results["spoiled_accuracy"]
    here = [n for n in range(found.sizes["level"]) if bool(np.isfinite(found.isel(level=n)).any())]
    density = results["density"].isel(variant=0).values
    rows = {"the true examples": [results["ticket_accuracy"].isel(level=n).values for n in here]}
    for name in found["spoiled"].values:
        rows[WORDS[str(name)]] = [found.sel(spoiled=name).isel(level=n).values for n in here]
    title = "test accuracy by what the mask was searched on, at dense's best rate"
    return sweeps.make_table(title, results, [f"{density[n]:.1%}" for n in here], rows)
