"""Pairs of dense networks: identical, of one start, of two, aligned, and along a curve."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.common.undefined import SUFFIX, undefined_at
from experiments.connectivity.statistics import STATISTICS, Measuring
from jaxticket.analysis import (
    Fitting,
    Networks,
    align_pairs,
    barriers,
    curve_barriers,
    network_outputs,
    together,
)
from jaxticket.analysis.interpolation import Statistics
from jaxticket.keys import derive
from jaxticket.recipes import make_optimizer
from jaxticket.result import Result
from jaxticket.structure import trace
from jaxticket.types import Model

KINDS = ("identical", "same start", "independent", "aligned", "curve")
"""A network with itself; two orders of the data from W_k of the last k; two initialisations, as
they are, after the units of the second were permuted, and on a curve whose middle is trained."""

ON_A_CURVE: Statistics = "recomputed"
"""The batch statistics on a curve: its middle has none that lie between those of its ends."""

Lines = dict[tuple[str, Statistics], dict[str, Any]]
"""What was measured, by kind of pair and batch statistics."""


def measured(
    problem: Any, result: Result, last: str, measuring: Mapping[str, Measuring]
) -> dict[str, Any]:
    """Measures the dense networks of a run, each replicate with the next.

    Args:
      problem: gives the data, the plan and what was chosen.
      result: the networks.
      last: the search of the last step k.
      measuring: by search, from `statistics.measuring`.

    Returns:
      `dense_curve` (kind, statistics, replicate, point), `dense_barrier` and
      `dense_barrier_undefined_at` (kind, statistics, replicate), the last α, where the loss of a
      pair is first not finite; NaN where the run has no such pair, and for a curve but with
      `ON_A_CURVE`; `alignment_error` (replicate), how far outputs change where units are permuted,
      relative to the largest; `alpha` (point). Nothing of one replicate.
    """
    if result.replicates < 2:
        return {}
    name, number = result.variants[0], result.replicates
    first = together(
        {f"replicate {r}": result.network("ticket", 0, r, name) for r in range(number)}
    )
    second = jax.tree.map(lambda leaf: np.roll(leaf, -1, axis=0), first)
    mine = measuring[name]
    aligned = _aligned(problem, mine, first, second)
    pairs: dict[str, tuple[Measuring, Networks, Networks]] = {
        "identical": (mine, first, first),
        "independent": (mine, first, second),
        "aligned": (mine, first, aligned),
    }
    if "dense" in result.arms and result.levels > 2:
        pairs["same start"] = (measuring[last], *_same_start(result, last))
    lines: Lines = {
        (kind, way): _lines(problem, *pairs[kind], way) for kind in pairs for way in STATISTICS
    }
    lines["curve", ON_A_CURVE] = _curves(problem, mine, first, second)
    return {
        **_filled(lines, number, problem.config.points),
        "alignment_error": ("replicate", _errors(problem, mine, second, aligned)),
        "alpha": ("point", lines["curve", ON_A_CURVE]["alphas"]),
        "kind": list(KINDS),
        "statistics": list(STATISTICS),
    }


def _filled(lines: Lines, number: int, points: int) -> dict[str, Any]:
    """Puts what was measured into arrays, NaN elsewhere."""
    each_pair = ("kind", "statistics", "replicate")
    curves = np.full((len(KINDS), len(STATISTICS), number, points), np.nan)
    heights, undefined = (np.full(curves.shape[:-1], np.nan) for _ in range(2))
    for (kind, way), found in lines.items():
        place = KINDS.index(kind), STATISTICS.index(way)
        curves[place], heights[place] = found["curves"], found["barriers"]
        undefined[place] = undefined_at(found["curves"], found["alphas"])
    return {
        "dense_curve": ((*each_pair, "point"), curves),
        "dense_barrier": (each_pair, heights),
        f"dense_barrier{SUFFIX}": (each_pair, undefined),
    }


def _lines(
    problem: Any, mine: Measuring, first: Networks, second: Networks, statistics: Statistics
) -> dict[str, Any]:
    options = (problem.dataset.test, problem.plan, problem.config.points)
    return barriers(mine.learner, mine.state, first, second, *options, **mine.by(statistics))


def _same_start(result: Result, name: str) -> tuple[Networks, Networks]:
    one, other = (
        together(
            {
                f"dense {n} replicate {r}": result.network("dense", n, r, name)
                for r in range(result.replicates)
            }
        )
        for n in (1, 2)
    )
    return one, other


def _aligned(problem: Any, mine: Measuring, first: Networks, second: Networks) -> Networks:
    """Aligns each second network with its first."""
    objective: Any = mine.learner.objective
    key = jax.random.key(problem.config.seed)
    shapes = jax.eval_shape(mine.learner.init, key)
    few = jax.tree.map(lambda leaf: leaf[:1], problem.dataset.test)
    size = jax.eval_shape(objective.prepare, few).shape[1:]
    model = Model(init=mine.learner.init, apply=objective.apply)
    graph = trace(model, shapes.params, shapes.model_state, size)
    number = jax.tree.leaves(first)[0].shape[0]
    keys = jnp.stack([derive(key, "align", r) for r in range(number)])
    found = align_pairs(graph, first, second, keys)
    return Networks(found.params, found.model_state)


def _curves(problem: Any, mine: Measuring, first: Networks, second: Networks) -> dict[str, Any]:
    config = problem.config
    key = jax.random.key(config.seed)
    number = jax.tree.leaves(first)[0].shape[0]
    everywhere = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), first.params)
    optimizer = make_optimizer("momentum", config.curve_learning_rate)
    return curve_barriers(
        mine.learner,
        mine.state,
        first,
        second,
        everywhere,
        problem.dataset.train,
        problem.dataset.test,
        jax.random.split(derive(key, "curve"), number),
        problem.plan,
        Fitting(optimizer, config.curve_steps, config.batch_size),
        config.points,
        **mine.by(ON_A_CURVE),
    )


def _errors(problem: Any, mine: Measuring, second: Networks, aligned: Networks) -> np.ndarray:
    test, plan = problem.dataset.test, problem.plan
    before, after = (
        network_outputs(mine.learner, one, test, plan).log_probabilities.astype(np.float64)
        for one in (second, aligned)
    )
    largest = np.abs(before).max(axis=(1, 2))
    return np.abs(after - before).max(axis=(1, 2)) / largest
