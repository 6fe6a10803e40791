"""Results as one labelled dataset: every curve of every network."""

import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxticket import masks
from jaxticket.allocate.base import Counts
from jaxticket.records import Dropped, Record
from jaxticket.result import Result

if TYPE_CHECKING:
    import xarray

UNITS = {"loss": "nats", "accuracy": "fraction correct"}
"""Units of the metrics that supervised learners report."""


def to_dataset(result: Result, test_labels: np.ndarray | None = None) -> "xarray.Dataset":
    """Puts the curves of a result into one dataset.

    At level 0 all arms show the one dense network. Evaluations that did not happen (before
    the rewind step, and of the test split where the protocol wants no curves of it) are NaN.

    Args:
      result: from `find_tickets`.
      test_labels: `int[examples]`, classes of the test split, by which networks are tested against
        chance; `None` to leave that out.

    Returns:
      Curves `<split>_<metric>` (arm, level, replicate, step); `early_stop_step`,
      `diverged_step` (−1: never) and `valid` (arm, level, replicate); `kept` (arm, level,
      replicate, layer) and `size` (layer), weights; `scheduled` (level) and `scheduled_in_layer`
      (level, layer), what was to be kept, −1 where layers compete or costs are counted;
      `nonzero_pruned` (arm, level, replicate), pruned weights that are not 0.0 after training, and
      `regrown` (level, replicate), weights of the ticket's mask that the level before had pruned:
      both 0 by contract; `empty_layers` and, given labels, `untrained` (arm, level, replicate), as
      `analysis.usefulness` says; coordinates also hold `density` (level). A sweep adds a first
      dimension, `variant`, to all but `size`, so that `dataset.sel(variant=...)` is the dataset of
      one search.

    Example:
      See `jaxticket.runs.load`.
    """
    import xarray

    from jaxticket.analysis import early_stop_step
    from jaxticket.analysis.usefulness import add_usefulness

    dims = ("variant", "arm", "level", "replicate")
    names = sorted(result.records[0].curves)
    steps = np.unique(np.concatenate([record.steps for record in result.records]))
    sizes = masks.sizes(result.network("ticket", 0, 0, result.variants[0]).mask)
    dataset = xarray.Dataset(
        {name: ((*dims, "step"), _curves(result, name, steps)) for name in names},
        coords={
            "variant": list(result.variants),
            "arm": list(result.arms),
            "level": np.arange(result.levels),
            "replicate": np.arange(result.replicates),
            "step": steps,
            "density": (("variant", "level"), np.stack([*map(result.densities, result.variants)])),
            "layer": list(sizes),
        },
    )
    for name in names:
        dataset[name].attrs["units"] = UNITS.get(name.split("_", 1)[1], "")
    dataset["size"] = ("layer", list(sizes.values()))
    dataset["scheduled"] = (("variant", "level"), _scheduled(result, ["*"], sizes).sum(axis=-1))
    in_layer = _scheduled(result, list(sizes), sizes)
    dataset["scheduled_in_layer"] = (("variant", "level", "layer"), in_layer)
    dataset["kept"] = ((*dims, "layer"), _per_network(result, _kept))
    dataset["nonzero_pruned"] = (dims, _per_network(result, _nonzero_pruned))
    dataset["regrown"] = (("variant", "level", "replicate"), _regrown(result))
    diverged = _per_network(result, lambda record: record.diverged_steps())
    dataset["diverged_step"] = (dims, diverged)
    dataset["valid"] = (dims, _valid(result, diverged))
    if "validation_loss" in dataset:
        dataset["early_stop_step"] = early_stop_step(dataset["validation_loss"])
    dataset = add_usefulness(dataset, test_labels)
    return dataset if result.variants != ("",) else dataset.isel(variant=0, drop=True)


def _curves(result: Result, name: str, steps: np.ndarray) -> np.ndarray:
    values = np.full((*_shape(result), len(steps)), np.nan, np.float32)
    for record, place, where in _places(result):
        columns = np.searchsorted(steps, record.steps)
        values[(*where, slice(None))][..., columns] = record.curves[name][place]
    return values


def _per_network(result: Result, function: Any) -> np.ndarray:
    """Fills an array (variant, arm, level, replicate, ...) by a function of records."""
    first = function(result.records[0])
    values = np.zeros((*_shape(result), *first.shape[1:]), first.dtype)
    cache = {id(record): function(record) for record in result.records}
    for record, place, where in _places(result):
        values[where] = cache[id(record)][place]
    return values


def _places(result: Result) -> list[tuple[Record, int, Any]]:
    """Lists each network with its place in the arrays; the dense one belongs to all arms."""
    places = []
    for record in result.records:
        for i, (arm, level, replicate, variant) in enumerate(record.coordinates):
            index = slice(None) if level == 0 else result.arms.index(arm)
            where = (result.variants.index(variant), index, level, replicate)
            places.append((record, i, where))
    return places


def _shape(result: Result) -> tuple[int, int, int, int]:
    return len(result.variants), len(result.arms), result.levels, result.replicates


def _kept(record: Record) -> np.ndarray:
    layers = [
        np.count_nonzero(leaf.reshape(leaf.shape[0], -1), axis=1) for leaf in _leaves(record.masks)
    ]
    return np.stack(layers, axis=1)


def _nonzero_pruned(record: Record) -> np.ndarray:
    if isinstance(record.params, Dropped):
        # As of all that was read back: pruned weights are not kept, and read as zeros.
        return np.zeros(len(record.arms), np.int64)
    pairs = zip(_leaves(record.masks), _prunable_leaves(record), strict=True)
    wrong = [((leaf != 0) & ~kept).reshape(len(kept), -1).sum(axis=1) for kept, leaf in pairs]
    return np.sum(wrong, axis=0)


def _prunable_leaves(record: Record) -> list[np.ndarray]:
    import jax

    paired = jax.tree.map(lambda p, m: None if m is None else p, record.params, record.masks)
    return jax.tree.leaves(paired)


def _scheduled(result: Result, layers: list[str], known: Collection[str]) -> np.ndarray:
    """Gives what the schedules keep in each layer, or in `*`, all the known ones together."""

    def kept(counts: Counts, layer: str) -> int:
        # Budgets of costs and of units are not numbers of weights.
        of_weights = all(term == "*" or term in known for term in counts)
        together = sum(counts.values()) if of_weights else -1
        return together if layer == "*" else counts.get(layer, -1)

    rows = [[[kept(c, layer) for layer in layers] for c in s] for s in result.schedules.values()]
    return np.array(rows, np.int64)


def _regrown(result: Result) -> np.ndarray:
    tickets = [record for record in result.records if record.arms[0] == "ticket"]
    tickets.sort(key=lambda record: (record.replicates[0], record.levels[0]))
    counts = np.zeros((len(result.variants), result.levels, result.replicates), np.int64)
    for before, after in itertools.pairwise(tickets):
        if before.replicates != after.replicates:  # of two groups
            continue
        regrown = np.zeros(len(after.arms), np.int64)
        for old, new in zip(_leaves(before.masks), _leaves(after.masks), strict=True):
            regrown += (new & ~old).reshape(len(new), -1).sum(axis=1)
        for name, number in zip(after.coordinates, regrown, strict=True):
            counts[result.variants.index(name.variant), name.level, name.replicate] = number
    return counts


def _leaves(tree: Any) -> list[np.ndarray]:
    import jax

    return jax.tree.leaves(tree)


def _valid(result: Result, diverged: np.ndarray) -> np.ndarray:
    """Marks networks that stayed finite and whose mask came from networks that did.

    The mask of level n comes from the ticket's levels before n, or, for one-shot and dense arms,
    from level 0 alone.
    """
    from jaxticket.arms import ARMS

    finite = diverged < 0
    valid = finite.copy()
    for index, arm in enumerate(result.arms):
        for level in range(1, result.levels):
            ancestors = 1 if ARMS[arm].mask in ("oneshot", "dense") else level
            valid[:, index, level] &= finite[:, 0, :ancestors].all(axis=1)
    return valid
