"""What is measured: transfers from every source to every target, and the flows of all sources."""

import itertools
from typing import Any

import jax
import numpy as np
import xarray

from experiments.common.experiment import Problem
from experiments.universality.flows import flows
from jaxticket import masks
from jaxticket.analysis import at_early_stop, transfer_results
from jaxticket.records import Record, Result
from jaxticket.transfer import Renewed, Transfer, Transferred, tickets_of, transfer


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
    level = problem.config.transfer_level
    names, replicates = result.variants, range(result.replicates)
    arms = problem.config.transfer_arms
    cells = itertools.product(names, names, arms)
    every = [Transfer(s, t, arm, level, r) for s, t, arm in cells for r in replicates]
    moved = transferred(problem, result, every)
    curves = transfer_results(moved).rename(arm="control").isel(level=0, drop=True)
    native = at_early_stop(results, "test_accuracy").sel(arm="ticket", level=level, drop=True)
    return results.assign(
        transfer_accuracy=at_early_stop(curves, "test_accuracy"),
        native_accuracy=native.rename(variant="target"),
        transfer_wrong=wrong(moved, result),
        identity_differences=identity(problem, result),
        overlap=overlaps(result, level),
        **flows(problem, result, results),
    )


def transferred(
    problem: Problem, result: Result, names: list[Transfer], **choices: Any
) -> Transferred:
    """Trains transfers between the variants of a run.

    Args:
      problem: what is run.
      result: its networks.
      names: what is trained.
      **choices: of `transfer`, in the place of the configuration's.

    Returns:
      What was trained.
    """
    config, variants = problem.config, problem.variants or {}
    options: dict[str, Any] = {
        "hyperparameters": {name: one.hyperparameters for name, one in variants.items()},
        "renewed": Renewed(mask=config.renewed_mask),
        "rewind_step": config.rewind_step.at(problem.steps_an_epoch),
        "plan": problem.plan,
        "streaming": config.streaming,
    }
    key, tickets = jax.random.key(config.seed), tickets_of(result)
    given = problem.family, problem.splits, key, problem.protocol, tickets, result, names
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


def identity(problem: Problem, result: Result) -> int:
    """Trains the first replicate of every ticket at home, with nothing renewed.

    Args:
      problem: what is run.
      result: the native tickets.

    Returns:
      How many weights differ from the native ones by a bit.
    """
    level, differences = problem.config.transfer_level, 0

    def compare(names: tuple[Transfer, ...], record: Record) -> None:
        nonlocal differences
        for place, name in enumerate(names):
            native = result.network("ticket", level, 0, name.target).params
            pairs = zip(jax.tree.leaves(record.params), jax.tree.leaves(native), strict=True)
            differences += sum(int((ours[place] != theirs).sum()) for ours, theirs in pairs)

    names = [Transfer(name, name, "ticket", level, 0) for name in result.variants]
    transferred(problem, result, names, renewed=Renewed(masks.matching()), on_record=compare)
    return differences


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
