"""What a verdict needs besides its search: masks of a finished run at all rates, spoiled data."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray

from experiments.common import besides
from experiments.common.experiment import Problem
from experiments.common.problem import recipe_family
from experiments.verdict import best, spoiled
from experiments.verdict.sources import (
    counts_by_level,
    judged_levels,
    masks_by_level,
    searched,
)
from jaxticket import masks
from jaxticket.analysis import at_early_stop
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.learners import Sparse
from jaxticket.masks.basic import leaves_by_path
from jaxticket.recipes.learning import HYPERPARAMETERS
from jaxticket.records import Dropped, Record
from jaxticket.result import Result
from jaxticket.runs import to_dataset
from jaxticket.transfer import Renewed, Tickets, Transfer, Transferred, transfer
from jaxticket.types import Mask

ARMS = ("ticket", "reinit", "shuffle", "shuffle_reinit")
"""What is trained under the masks of a run that is read."""


def measured(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Trains what the search has not: a run's masks at all rates, and masks of spoiled data.

    Args:
      problem: what is run, or of the run that is read.
      result: the networks.
      results: their curves.

    Returns:
      The curves by rate: of the search or, where a run is read, of its masks and their controls, a
      level each. With spoiled data also `spoiled_accuracy` (spoiled, level, replicate) and
      `ticket_accuracy` (level, replicate), test accuracy at the dense network's best rate.
    """
    config, levels = problem.config, judged_levels(problem)
    target, here, rates = result, problem, problem.variants or {}
    if config.run is not None:
        rates = rates_of(problem, isinstance(result.origin.rewound.model_state, Sparse))
        here = problem._replace(family=recipe_family(config, problem.dataset))
        target, results = _retrained(here, result, results, rates, levels)
    if not (config.spoiled and levels):
        return results
    place = int(best.best_variants(results).sel(level=0).isel(arm=0))
    rate = str(results["variant"].values[place])
    base = rates[rate] if config.run is None else searched(problem)
    found = spoiled.search(problem, base, config.spoiled, _depth(problem, levels))
    own = rates[rate].hyperparameters
    step = _rewind_step(problem, rates[rate])
    accuracy = spoiled.accuracy(here, found, target, rate, own, levels, step)
    if config.run is not None:
        accuracy = accuracy.assign_coords(level=np.arange(1, len(levels) + 1))
    ticket = (
        at_early_stop(results, "test_accuracy").sel(arm="ticket").isel(variant=place, drop=True)
    )
    ticket = ticket.drop_vars(["arm", "density"], errors="ignore")
    return results.assign(spoiled_accuracy=accuracy, ticket_accuracy=ticket)


def rates_of(problem: Problem, changing: bool) -> dict[str, Variant]:
    """Lists the learning rates at which the masks of a run are trained.

    Args:
      problem: of the run.
      changing: whether its hyperparameters may be of masks that change in training.

    Returns:
      A variant each, from the lowest; other hyperparameters are those of the run's search.

    Raises:
      TicketError: for hyperparameters that are not of a recipe.
    """
    base = searched(problem)
    own: Mapping[str, Any] = base.hyperparameters or {}
    strange = [name for name in own if name not in HYPERPARAMETERS]
    if strange and not changing:
        raise TicketError(
            f"--run {problem.config.run}: its search has the hyperparameter {strange[0]}, expected "
            f"those of a recipe: {', '.join(HYPERPARAMETERS)}; name another --variant or run"
        )
    kept = {name: value for name, value in own.items() if name not in strange}
    return {
        f"rate {rate:g}": Variant(
            kept | {"learning_rate": float(rate)}, rewind_step=base.rewind_step
        )
        for rate in sorted(problem.config.learning_rates)
    }


def _retrained(
    problem: Problem,
    result: Result,
    results: xarray.Dataset,
    rates: Mapping[str, Variant],
    levels: Sequence[int],
) -> tuple[Result, xarray.Dataset]:
    """Trains the dense network, and a run's masks with their controls, at all rates."""
    dense, names = _dense(problem, rates), list(rates)
    tile = lambda leaf: np.concatenate([leaf] * len(names))  # noqa: E731
    found = tuple(jax.tree.map(tile, mask) for mask in masks_by_level(result))
    rewound = dense.origin.rewound
    tickets = Tickets(tuple(names), result.replicates, found, rewound.params, rewound.model_state)
    networks = [
        Transfer(rate, rate, arm, level, replicate)
        for arm in ARMS
        for level in levels
        for rate in names
        for replicate in range(result.replicates)
    ]
    begin = _rewind_step(problem, next(iter(rates.values())))
    moved = transfer(
        problem.family,
        problem.splits,
        jax.random.key(problem.config.seed),
        problem.protocol,
        tickets,
        dense,
        networks,
        hyperparameters={rate: one.hyperparameters for rate, one in rates.items()},
        renewed=Renewed(masks.matching()),
        on_record=lambda names, record: dict(leaves_by_path(record.masks)),
        **besides.transfer_options(problem, len(networks), begin),
    )
    counts = counts_by_level(result)
    schedule = tuple(counts[level] for level in (0, *levels))
    whole = dense._replace(
        arms=ARMS,
        levels=len(schedule),
        schedules=dict.fromkeys(names, schedule),
        records=[*dense.records, *_records(moved, found[0], levels)],
    )
    labelled = to_dataset(whole, np.asarray(problem.dataset.test.labels))
    return dense, _completed(labelled, results, moved, levels, problem)


def _dense(problem: Problem, rates: Mapping[str, Variant]) -> Result:
    """Trains the dense network at all rates."""
    config = dataclasses.replace(
        problem.config, levels=1, arms=("ticket",), criterion="magnitude", pruning="iterative"
    )
    dense = problem._replace(config=config, variants=rates)
    return besides.search(dense)


def _records(moved: Transferred, like: Mask, levels: Sequence[int]) -> list[Record]:
    """Puts networks together by arm and level, without their weights, levels counted from 1."""
    measured = moved.measured or {}
    leaves = [measured[path] for path, _ in leaves_by_path(like)]
    everything = moved.curves, jax.tree.unflatten(jax.tree.structure(like), leaves)
    made = []
    for arm in ARMS:
        for place, level in enumerate(levels, start=1):
            rows = [n for n, name in enumerate(moved.names) if name[2:4] == (arm, level)]
            own = jax.tree.map(lambda leaf, rows=rows: leaf[np.array(rows)], everything)
            made.append(
                Record(
                    (arm,) * len(rows),
                    (place,) * len(rows),
                    tuple(moved.names[row].replicate for row in rows),
                    tuple(moved.names[row].target for row in rows),
                    moved.steps,
                    *own,
                    params=Dropped("experiments.verdict"),
                    model_state=(),
                    observed=(),
                )
            )
    return made


def _completed(
    labelled: xarray.Dataset,
    results: xarray.Dataset,
    moved: Transferred,
    levels: Sequence[int],
    problem: Problem,
) -> xarray.Dataset:
    """Says of networks what their records, without weights, do not."""
    wrong = labelled["nonzero_pruned"].copy(deep=True)
    for name, number in zip(moved.names, moved.nonzero_pruned, strict=True):
        place = {"level": levels.index(name.level) + 1, "replicate": name.replicate}
        wrong.loc[{"variant": name.target, "arm": name.arm} | place] = number
    # A mask is worth what the network is worth that it was found in.
    found = results["valid"].sel(arm="ticket", drop=True)
    own = [0, *(min(level, problem.config.levels - 1) for level in levels)]
    found = found.isel(level=own).assign_coords(level=labelled["level"])
    finite = labelled["diverged_step"] < 0
    valid = (finite & (found.drop_vars("density", errors="ignore"))).transpose(*finite.dims)
    of_run = ("level", np.array([0, *levels]))
    return labelled.assign(nonzero_pruned=wrong, valid=valid, level_of_run=of_run)


def _rewind_step(problem: Problem, one: Variant) -> int:
    own = one.rewind_step
    return problem.config.rewind_step.at(problem.steps_an_epoch) if own is None else own


def _depth(problem: Problem, levels: Sequence[int]) -> int:
    """Counts the levels that a search must have to reach those that are judged."""
    return min(problem.config.levels, max(levels) + 1)
