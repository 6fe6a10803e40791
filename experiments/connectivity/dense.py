"""Pairs of dense networks: identical, of one start, of two, aligned, and along a curve."""

from typing import Any

import jax
import numpy as np

from experiments.connectivity.copies import any_state
from jaxticket.analysis import (
    Fitting,
    Networks,
    align,
    barriers,
    curve_barriers,
    network_outputs,
    recomputing,
    together,
)
from jaxticket.keys import derive
from jaxticket.recipes import make_optimizer
from jaxticket.records import Result
from jaxticket.structure import trace
from jaxticket.types import Model

KINDS = ("identical", "same start", "independent", "aligned", "curve")
"""A network with itself; two orders of the data from W_k of the last k; two initialisations, as
they are, after the units of the second were permuted, and on a curve whose middle is trained."""

STATISTICS = ("interpolated", "recomputed")


def measured(problem: Any, result: Result, last: str) -> dict[str, Any]:
    """Measures the dense networks of a run, each replicate with the next.

    Args:
      problem: gives the learner, the data and the plan.
      result: the networks.
      last: the search of the last step k.

    Returns:
      `dense_curve` (kind, statistics, replicate, point) and `dense_barrier` (kind, statistics,
      replicate), NaN where the run has no such pair, and for a curve between whose ends batch
      statistics were interpolated; `alignment_error` (replicate), how far outputs change where
      units are permuted, relative to the largest; `alpha` (point). Nothing of one replicate.
    """
    if result.replicates < 2:
        return {}
    learner = problem.family({})
    state = any_state(learner)
    name, number = result.variants[0], result.replicates
    first = together(
        {f"replicate {r}": result.network("ticket", 0, r, name) for r in range(number)}
    )
    second = jax.tree.map(lambda leaf: np.roll(leaf, -1, axis=0), first)
    aligned = _aligned(problem, first, second, number)
    pairs = {
        "identical": (first, first),
        "independent": (first, second),
        "aligned": (first, aligned),
    }
    if "dense" in result.arms and result.levels > 2:
        pairs["same start"] = _same_start(result, last)
    recompute = _recompute(problem)
    curves = np.full((len(KINDS), len(STATISTICS), number, problem.config.points), np.nan)
    heights = np.full(curves.shape[:-1], np.nan)
    options = (problem.dataset.test, problem.plan, problem.config.points)
    for row, statistics in enumerate(STATISTICS):
        chosen: Any = {"statistics": statistics}
        chosen |= {"recompute": recompute} if statistics == "recomputed" else {}
        for kind, (one, other) in pairs.items():
            found = barriers(learner, state, one, other, *options, **chosen)
            curves[KINDS.index(kind), row] = found["curves"]
            heights[KINDS.index(kind), row] = found["barriers"]
    found = _curves(problem, first, second, recompute)
    curves[-1, -1], heights[-1, -1] = found["curves"], found["barriers"]
    return {
        "dense_curve": (("kind", "statistics", "replicate", "point"), curves),
        "dense_barrier": (("kind", "statistics", "replicate"), heights),
        "alignment_error": ("replicate", _errors(problem, second, aligned)),
        "alpha": ("point", found["alphas"]),
        "kind": list(KINDS),
        "statistics": list(STATISTICS),
    }


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


def _aligned(problem: Any, first: Networks, second: Networks, number: int) -> Networks:
    """Aligns each second network with its first; assignments are solved on the host, one by one."""
    objective, key = problem.family({}).objective, jax.random.key(problem.config.seed)
    shapes = jax.eval_shape(problem.family({}).init, key)
    few = jax.tree.map(lambda leaf: leaf[:1], problem.dataset.test)
    size = jax.eval_shape(objective.prepare, few).shape[1:]
    model = Model(init=problem.family({}).init, apply=objective.apply)
    graph = trace(model, shapes.params, shapes.model_state, size)
    found = {}
    for r in range(number):
        one, other = (jax.tree.map(lambda leaf, r=r: leaf[r], all_) for all_ in (first, second))
        found[f"aligned {r}"] = align(graph, one, other, derive(key, "align", r))
    return together(found)


def _recompute(problem: Any) -> Any:
    config = problem.config
    few = jax.tree.map(lambda leaf: leaf[: config.statistics_examples], problem.dataset.train)
    key = derive(jax.random.key(config.seed), "statistics")
    return recomputing(problem.family({}), few, config.batch_size, config.statistics_passes, key)


def _curves(problem: Any, first: Networks, second: Networks, recompute: Any) -> dict[str, Any]:
    config, learner = problem.config, problem.family({})
    key = jax.random.key(config.seed)
    number = jax.tree.leaves(first)[0].shape[0]
    everywhere = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), first.params)
    optimizer = make_optimizer("momentum", config.curve_learning_rate)
    return curve_barriers(
        learner,
        any_state(learner),
        first,
        second,
        everywhere,
        problem.dataset.train,
        problem.dataset.test,
        jax.random.split(derive(key, "curve"), number),
        problem.plan,
        Fitting(optimizer, config.curve_steps, config.batch_size),
        config.points,
        statistics="recomputed",
        recompute=recompute,
    )


def _errors(problem: Any, second: Networks, aligned: Networks) -> np.ndarray:
    learner, test = problem.family({}), problem.dataset.test
    before, after = (
        network_outputs(learner, one, test, problem.plan).log_probabilities.astype(np.float64)
        for one in (second, aligned)
    )
    largest = np.abs(before).max(axis=(1, 2))
    return np.abs(after - before).max(axis=(1, 2)) / largest
