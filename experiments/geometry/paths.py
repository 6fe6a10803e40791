"""Barriers on the lines between stages, and the angles between them."""

from types import SimpleNamespace
from typing import Any

import jax
import numpy as np

from experiments.common.angles import angles_of
from experiments.geometry.stages import Point, examples_of, point, stack
from jaxticket.analysis.connectivity import barriers
from jaxticket.result import Result

PAIRS = {
    "ticket": (("ticket", 0), ("ticket", -1)),
    "reinit": (("reinit", 0), ("ticket", -1)),
    "shuffle": (("shuffle", 0), ("ticket", -1)),
    "oneshot": (("oneshot", 0), ("ticket", None)),
    "pruned": (("ticket", 0), ("pruned", 0)),
    "init": (("ticket", 0), ("init", 0)),
    "reinit and ticket": (("reinit", 0), ("ticket", 0)),
}
"""Two networks each, by stage and level: 0 this one, −1 the one before, None the dense one."""


def paths(problem: Any, result: Result) -> dict[str, Any]:
    """Measures the paths of the training loss, their barriers and the angles of all pairs.

    Args:
      problem: gives the learner, the examples and the plan.
      result: the networks.

    Returns:
      `path` (pair, level, replicate, alpha), the first network of a pair at α = 1, `barrier` and
      `angle` (pair, level, replicate), NaN at level 0 and where an arm is missing.
    """
    learner = problem.family({})
    held = [name for name, pair in PAIRS.items() if pair[0][0] in result.arms]
    places = [
        (list(PAIRS).index(name), level, r)
        for name in held
        for level in range(1, result.levels)
        for r in range(result.replicates)
    ]
    pairs = [_pair(result, list(PAIRS.values())[p], level, r) for p, level, r in places]
    ends = [SimpleNamespace(**stack([pair[n] for pair in pairs])._asdict()) for n in (0, 1)]
    state = learner.init(jax.random.key(problem.config.seed))
    examples, points = examples_of(problem), problem.config.points
    found = barriers(learner, state, ends[0], ends[1], examples, problem.plan, points, "loss")
    shape = len(PAIRS), result.levels, result.replicates
    tables = {
        "path": np.full((*shape, problem.config.points), np.nan),
        "barrier": np.full(shape, np.nan),
        "angle": np.full(shape, np.nan),
    }
    angles = angles_of(problem, pairs)
    of = zip(places, found["curves"], found["barriers"], angles, strict=True)
    for place, curve, barrier, angle in of:
        tables["path"][place], tables["barrier"][place] = curve, barrier
        tables["angle"][place] = angle
    dims = ("pair", "level", "replicate")
    return {
        **{
            n: (dims if table.ndim == 3 else (*dims, "alpha"), table) for n, table in tables.items()
        },
        "pair": ("pair", list(PAIRS)),
        "alpha": ("alpha", found["alphas"]),
    }


def _pair(result: Result, pair: Any, level: int, replicate: int) -> tuple[Point, Point]:
    first, second = (
        point(result, stage, 0 if step is None else level + step, replicate) for stage, step in pair
    )
    return first, second
