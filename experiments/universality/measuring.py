"""What is measured: transfers from every source to every target, and the flows of all sources."""

import itertools
from typing import Any

import jax
import numpy as np
import xarray

from experiments.common import besides
from experiments.common.experiment import Problem
from experiments.universality.flows import flows
from experiments.universality.reading import Searches, Targets, searches_of
from experiments.universality.searches import one_search
from jaxticket import masks
from jaxticket.analysis import at_early_stop, transfer_results
from jaxticket.imp.variants import whole
from jaxticket.records import Record
from jaxticket.result import Result
from jaxticket.transfer import (
    Renewed,
    Tickets,
    Transfer,
    Transferred,
    beside,
    tickets_of,
    transfer,
)


def measured(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds transfers and flows to the curves of a search.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with `transfer_accuracy` (source, target, control, replicate) and
      `native_accuracy` (target, replicate), fractions at early stop; `transfer_wrong`, layers in
      which a transfer keeps another number of weights than its source and pruned weights that are
      not zero; `identity_differences`, weights by which tickets that are carried to their own task
      whole differ from native ones; `overlap` (source, target, layer, replicate), the sources'
      masks; `share` (variant, level, replicate, layer); `exponent` and `r_squared` (variant,
      replicate, layer); `null_exponent` (replicate, layer), of weights that nothing trains; and
      `flow_distance` (source, target, replicate, other).
    """
    level, arms = problem.config.transfer_level, problem.config.transfer_arms
    searches = searches_of(problem, result, results)
    tickets, results = searches.tickets, searches.results
    names = tickets.variants
    cells, replicates = itertools.product(names, names, arms), range(tickets.replicates)
    every = [Transfer(s, t, arm, level, r) for s, t, arm in cells for r in replicates]
    moved = transferred(searches, every)
    curves = transfer_results(moved).rename(arm="control").isel(level=0, drop=True)
    native = at_early_stop(results, "test_accuracy").sel(arm="ticket", level=level, drop=True)
    return results.assign(
        transfer_accuracy=at_early_stop(curves, "test_accuracy"),
        native_accuracy=native.rename(variant="target"),
        transfer_wrong=wrong(moved, tickets),
        identity_differences=identity(searches, level),
        overlap=overlaps(tickets, level),
        **flows(searches.targets[0].problem, tickets, results),
    )


def transferred(searches: Searches, names: list[Transfer], **choices: Any) -> Transferred:
    """Trains transfers between searches.

    Args:
      searches: the sources and the targets.
      names: what is trained.
      **choices: of `transfer`, in the place of the configuration's.

    Returns:
      What was trained, target by target.
    """
    tickets = tickets_of(searches.tickets)
    each = [
        (target, [name for name in names if name.target in target.result.variants])
        for target in searches.targets
    ]
    return beside([_to(target, tickets, own, choices) for target, own in each if own])


def _to(target: Targets, tickets: Tickets, names: list[Transfer], choices: Any) -> Transferred:
    """Trains transfers to searches whose networks train by one family."""
    problem, first = target.problem, one_search(target.problem)
    own = {name: one.hyperparameters for name, one in (problem.variants or {}).items()}
    swept = first.hyperparameters is not None
    options: dict[str, Any] = {
        "hyperparameters": own if swept else None,
        "renewed": Renewed(mask=problem.config.renewed_mask),
        **besides.transfer_options(problem, len(names), whole(first.rewind_step)),
    }
    learner = problem.family if swept else problem.family({})
    data, key = problem.splits, jax.random.key(problem.config.seed)
    given = learner, data, key, problem.protocol, tickets, target.result, names
    return transfer(*given, **(options | choices))


def wrong(moved: Transferred, result: Result) -> int:
    """Counts where transfers do not keep what their source keeps, or not at zero.

    Args:
      moved: transfers.
      result: the sources.

    Returns:
      Layers and weights; of layers that are renewed with a dense mask none.
    """
    found = int(moved.nonzero_pruned.sum())
    for place, name in enumerate(moved.names):
        mask = result.network("ticket", name.level, name.replicate, name.source).mask
        sizes = masks.sizes(mask)
        for path, kept in masks.counts(mask).items():
            found += int(moved.kept[path][place]) not in (kept, sizes[path])
    return found


def identity(searches: Searches, level: int) -> int:
    """Trains the first replicate of every ticket at home, with nothing renewed.

    Args:
      searches: the native tickets.
      level: of which.

    Returns:
      How many weights differ from the native ones by a bit.
    """
    tickets = searches.tickets

    def differing(name: Transfer, params: Any) -> int:
        native = tickets.network("ticket", level, 0, name.target).params
        pairs = zip(jax.tree.leaves(params), jax.tree.leaves(native), strict=True)
        return sum(int((ours != theirs).sum()) for ours, theirs in pairs)

    def compare(names: tuple[Transfer, ...], record: Record) -> dict[str, np.ndarray]:
        each = [jax.tree.map(lambda leaf, p=p: leaf[p], record.params) for p in range(len(names))]
        return {"differences": np.array(list(map(differing, names, each)), np.int64)}

    names = [Transfer(name, name, "ticket", level, 0) for name in tickets.variants]
    moved = transferred(searches, names, renewed=Renewed(masks.matching()), on_record=compare)
    return int((moved.measured or {})["differences"].sum())


def overlaps(result: Result, level: int) -> xarray.DataArray:
    """Compares the masks of all pairs of tickets, layer by layer.

    Args:
      result: the tickets.
      level: of which.

    Returns:
      |a ∧ b| / |a ∨ b| (source, target, layer, replicate); 1 where both keep nothing.
    """
    names, replicates = result.variants, range(result.replicates)
    kept = [
        [jax.tree.leaves(result.network("ticket", level, r, name).mask) for r in replicates]
        for name in names
    ]
    layers = list(masks.sizes(result.network("ticket", level, 0, names[0]).mask))
    values = np.ones((len(names), len(names), len(layers), len(replicates)))
    for place in np.ndindex(values.shape):
        source, target, layer, replicate = place
        one, other = kept[source][replicate][layer], kept[target][replicate][layer]
        union = int((one | other).sum())
        values[place] = int((one & other).sum()) / union if union else 1.0
    coordinates = {"source": list(names), "target": list(names), "layer": layers}
    dims = ("source", "target", "layer", "replicate")
    return xarray.DataArray(values, coordinates | {"replicate": list(replicates)}, dims)
