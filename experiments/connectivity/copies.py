"""Pairs of sparse networks: two orders of the data, and a network with what it was pruned from."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray

from experiments.common.undefined import SUFFIX, undefined_at
from experiments.connectivity.statistics import Measuring
from jaxticket.analysis import (
    at_early_stop,
    barrier_matrix,
    barriers,
    disagreement,
    ensemble_gain,
    loss_distance,
    network_outputs,
    together,
)
from jaxticket.result import Network, Result
from jaxticket.types import Numbers

CONTROLS = {
    "ticket": ("ticket", "copy"),
    "reinit": ("reinit", "reinit_copy"),
    "shuffle": ("shuffle", "shuffle_copy"),
}
"""The two arms of each control that differ in the order of their data and in nothing else."""

ARMS = (*(arm for arms in CONTROLS.values() for arm in arms), "dense")

RELATIONS = ("copies", "pruned")
"""Two orders of the data; a network and the trained one that its mask was pruned from."""

MEASURES = ("barrier", "disagreement", "ensemble_gain", "loss_distance")
UNDEFINED = f"barrier{SUFFIX}"


class Place(NamedTuple):
    """A network of a search, in the words of `Result.network`."""

    arm: str
    level: int
    replicate: int

    def __str__(self) -> str:
        """Names it for messages."""
        return f"{self.arm} level {self.level} replicate {self.replicate}"


def measured(
    problem: Any, result: Result, results: xarray.Dataset, measuring: Mapping[str, Measuring]
) -> dict[str, Any]:
    """Measures all pairs of sparse networks that the run has, search by search.

    Args:
      problem: gives the test split, the plan and the batch statistics that were chosen.
      result: the networks.
      results: their curves.
      measuring: by search, from `statistics.measuring`.

    Returns:
      `MEASURES` (search, relation, control, level, replicate), NaN where the run has no such pair,
      those of level 0 the dense network's; `barrier_undefined_at`, likewise, α, where the loss of a
      pair is first not finite; `gap` (search, control, level, replicate), the accuracy that is lost
      against dense; `begin` (search), the step k; `chosen_statistics`, by which barriers are
      measured; and `matrix` (network, other), the barriers between tickets of the last k, with
      `matrix_undefined_at`.
    """
    shape = (len(result.variants), len(RELATIONS), len(CONTROLS), result.levels, result.replicates)
    values = {name: np.full(shape, np.nan) for name in (*MEASURES, UNDEFINED)}
    for number, name in enumerate(result.variants):
        chosen = pairs_of(result)
        if not chosen:
            continue
        found = compare(problem, result, name, list(chosen.values()), measuring[name])
        for measure, numbers in found.items():
            for place, value in zip(chosen, np.asarray(numbers), strict=True):
                values[measure][(number, *place)] = value
        for measure in MEASURES:
            # One dense pair, whatever the control.
            values[measure][number, :, :, 0] = values[measure][number, :, :1, 0]
    begins = np.array([_begin(one) for one in _searches(results)])
    dims = ("search", "relation", "control", "level", "replicate")
    return {
        **{name: (dims, array) for name, array in values.items()},
        "gap": (("search", "control", "level", "replicate"), _gaps(results)),
        "begin": ("search", begins),
        "chosen_statistics": ((), problem.config.statistics),
        "search_density": (
            ("search", "level"),
            np.stack([*map(result.densities, result.variants)]),
        ),
        "search": ("search", [name or "the run" for name in result.variants]),
        "relation": ("relation", list(RELATIONS)),
        "control": ("control", list(CONTROLS)),
        **_matrix(problem, result, result.variants[int(begins.argmax())], measuring),
    }


def pairs_of(result: Result) -> dict[tuple[int, int, int, int], tuple[Place, Place]]:
    """Lists the pairs that a run has, by their place in the arrays of a search.

    Args:
      result: the networks.

    Returns:
      Two networks by (relation, control, level, replicate).
    """
    found = {}
    for (row, arms), level, r in itertools.product(
        enumerate(CONTROLS.values()), range(1, result.levels), range(result.replicates)
    ):
        first, second = (Place(arm, level, r) for arm in arms)
        found[0, row, level, r] = first, second
        found[1, row, level, r] = first, Place("ticket", level - 1, r)
    if result.levels > 2:
        for r in range(result.replicates):
            found[0, 0, 0, r] = Place("dense", 1, r), Place("dense", 2, r)
    there = lambda pair: all(one.arm in result.arms for one in pair)  # noqa: E731
    return {place: pair for place, pair in found.items() if there(pair)}


def compare(
    problem: Any,
    result: Result,
    name: str,
    pairs: Sequence[tuple[Place, Place]],
    measuring: Measuring,
) -> dict[str, Numbers]:
    """Measures pairs of one search, as one population.

    Args:
      problem: gives the test split, the plan and the batch statistics that were chosen.
      result: the networks.
      name: of the search.
      pairs: which ones.
      measuring: of the search.

    Returns:
      `float64[pairs]` by the names in `MEASURES`, and where barriers are undefined.
    """
    config, test, plan = problem.config, problem.dataset.test, problem.plan
    networks = {str(one): result.network(*one, name) for pair in pairs for one in pair}
    stacked, rows = together(networks), rows_of(networks, pairs)
    first, second = (jax.tree.map(lambda leaf, at=at: leaf[at], stacked) for at in rows.T)
    learner, options = measuring.learner, measuring.by(config.statistics)
    found = barriers(learner, measuring.state, first, second, test, plan, config.points, **options)
    outputs = network_outputs(learner, stacked, test, plan)
    one, other = (outputs.log_probabilities[at] for at in rows.T)
    return {
        "barrier": found["barriers"],
        "disagreement": disagreement(one, other),
        "ensemble_gain": ensemble_gain(one, other, measuring.labels),
        "loss_distance": loss_distance(*(outputs.losses[at] for at in rows.T)),
        UNDEFINED: undefined_at(found["curves"], found["alphas"]),
    }


def rows_of(networks: Mapping[str, Network], pairs: Sequence[tuple[Place, Place]]) -> np.ndarray:
    """Finds the places of pairs among networks, `int[pairs, 2]`."""
    place = {name: number for number, name in enumerate(networks)}
    return np.array([[place[str(one)] for one in pair] for pair in pairs])


def _matrix(
    problem: Any, result: Result, name: str, measuring: Mapping[str, Measuring]
) -> dict[str, Any]:
    """Measures the barriers between the tickets of all levels and some replicates."""
    config, mine = problem.config, measuring[name]
    few = min(config.matrix_replicates, result.replicates)
    places = [Place("ticket", n, r) for n, r in itertools.product(range(result.levels), range(few))]
    if len(places) < 2:
        return {}
    found = barrier_matrix(
        mine.learner,
        mine.state,
        together({str(one): result.network(*one, name) for one in places}),
        problem.dataset.test,
        problem.plan,
        config.points,
        **mine.by(config.statistics),
    )
    undefined = np.full(found["barriers"].shape, np.nan)
    undefined[tuple(found["pairs"].T)] = undefined_at(found["curves"], found["alphas"])
    names, both = [f"level {n}, replicate {r}" for _, n, r in places], ("network", "other")
    matrices = {"matrix": (both, found["barriers"]), f"matrix{SUFFIX}": (both, undefined)}
    return {**matrices, "network": names, "other": names}


def _gaps(results: xarray.Dataset) -> np.ndarray:
    """Gives what accuracy each control loses against dense, at each network's early-stop step."""
    gaps = []
    for here in _searches(results):
        accuracy = at_early_stop(here, "test_accuracy")
        lost = accuracy.isel(level=0) - accuracy
        gaps.append(lost.reindex(arm=list(CONTROLS)).transpose("arm", "level", "replicate").values)
    return np.stack(gaps)


def _searches(results: xarray.Dataset) -> list[xarray.Dataset]:
    if "variant" not in results.dims:
        return [results]
    return [results.sel(variant=name) for name in results["variant"].values]


def _begin(results: xarray.Dataset) -> int:
    """Finds the step at which pruned networks begin: there is no evaluation before it."""
    if results.sizes["level"] < 2:
        return 0
    losses = results["test_loss"].isel(level=slice(1, None)).transpose(..., "step").values
    there = np.isfinite(losses).reshape(-1, losses.shape[-1]).any(axis=0)
    return int(results["step"].values[int(there.argmax())])
