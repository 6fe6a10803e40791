"""The error barriers on the lines between the networks of many pairs."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.analysis.comparable import Networks, check_alike, ends
from jaxticket.analysis.interpolation import (
    Recompute,
    Statistics,
    alphas,
    error_barrier,
    linear_path,
)
from jaxticket.errors import unknown
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.population import Plan, over, populate, share, to_host
from jaxticket.types import Batch, Metrics, ModelState, Params

METRICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "accuracy": lambda accuracy: 1 - accuracy,
    "loss": lambda loss: loss,
}
"""The error E as a function of the metric that is asked for."""

_BATCHED_PAIRS = 8


def barriers(
    learner: Learner,
    state: LearnerState,
    firsts: Any,
    seconds: Any,
    examples: Batch,
    plan: Plan,
    points: int = 30,
    metric: str = "accuracy",
    *,
    statistics: Statistics = "interpolated",
    recompute: Recompute | None = None,
) -> dict[str, np.ndarray]:
    """Measures the barrier between the two networks of every pair, all pairs as one population.

    `plan.chunk` pairs run at a time; where it is `None`, one on each device under `map` and eight
    on each under `vmap`. One compilation serves any number of pairs, and also later calls with
    the same learner, plan, points, `recompute` and shapes.

    A network whose loss is NaN has no error either, whatever the accuracy of its outputs: the curve
    is NaN there, at its α, and so is the barrier of its pair. A loss that is infinite between ends
    where it is finite is an infinite barrier.

    Args:
      learner: how a network is evaluated.
      state: any one state of the learner, such as `learner.init(key)`; what is evaluated is this
        state with the params and the model state of a point on the line.
      firsts: W₁ of all pairs along axis 0, anything with `params` and `model_state`, such as a
        `records.Record`. Params are zero where pruned, so that no masks are needed: the line
        stays in the union of both. Where pruned weights are held at other values (the arms
        `frozen...`), these must have been added to the params.
      seconds: W₂ of all pairs, likewise.
      examples: the split on which E is measured; the paper's is the test split.
      plan: how the pairs run.
      points: how many α, as `alphas` gives them.
      metric: `accuracy`, for which E is 1 − accuracy, or `loss`, which is E itself.
      statistics: which batch statistics a network on the line has, as in `linear_path`.
      recompute: as in `linear_path`; the same function in every call, or each one compiles.

    Returns:
      `alphas`, `float32[points]`; `curves`, `float32[pairs, points]`, E_α, the second network at
      α = 0; and `barriers`, `float64[pairs]`, in the unit of E, so 0.02 for 2 %.

    Raises:
      TicketError: for networks between which there is no line, and for an unknown choice.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxticket.learners import TrainState
      >>> evaluate = lambda state, mask, x: {"loss": jnp.mean(x - state.params["w"] ** 2)}
      >>> learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
      >>> ends = [TrainState({"w": np.array([w, 0.5], np.float32)}, {}, ()) for w in (-1.0, 1.0)]
      >>> state, x = TrainState({"w": np.float32(0)}, {}, ()), np.ones(3, np.float32)
      >>> barriers(learner, state, *ends, x, Plan("map"), 31, "loss")["barriers"].tolist()
      [1.0, 0.0]

    Source: 1912.05671, section 2; what is unverified is said at `linear_path`.
    """
    first, second = to_host(ends(firsts)), to_host(ends(seconds))
    check_alike(first, second, "barriers, firsts and seconds")
    number = jax.tree.leaves(first)[0].shape[0]
    rows = np.stack([np.arange(number)] * 2, axis=1)
    return along_lines(
        line_paths(learner, plan, points, statistics, recompute),
        (first, second),
        rows,
        share((state, examples), plan),
        plan,
        metric,
    ) | {"alphas": alphas(points)}


def along_lines(
    paths: Callable[..., Any],
    networks: tuple[Networks, Networks],
    rows: np.ndarray,
    given: Any,
    plan: Plan,
    metric: str,
) -> dict[str, np.ndarray]:
    """Evaluates the paths of pairs that are chosen among networks, a piece of them at a time.

    Args:
      paths: a populated function of pairs.
      networks: what the first and the second of each pair is taken from, on the host.
      rows: `int[pairs, 2]`, which ones.
      given: what all pairs share, on the devices.
      plan: how the pairs run.
      metric: as in `barriers`.

    Returns:
      `curves` and `barriers`, as `barriers` gives them.

    Raises:
      TicketError: for an unknown metric.
    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)

    # Pairs are gathered piece by piece, since all of them together hold each network many times.
    def on_rows(rows: np.ndarray, number: int) -> Metrics:
        first, second = map(_take, networks, rows.T)
        return paths(Pair(first, second), *given, number=number)

    measured = over(on_rows, at_a_time(plan))(rows)
    curves = errors_of(measured, metric)
    return {"curves": curves, "barriers": error_barrier(curves.astype(np.float64))}


def _take(networks: Networks, rows: np.ndarray) -> Networks:
    return jax.tree.map(lambda leaf: leaf[rows], networks)


def errors_of(measured: Metrics, metric: str) -> np.ndarray:
    """Gives the error E, NaN where the loss is NaN.

    Args:
      measured: metrics along paths, on the host.
      metric: as in `barriers`.

    Returns:
      `float32[...]` of the metric's shape.

    Raises:
      TicketError: if the learner does not measure it.
    """
    if metric not in measured:
        raise unknown("metric", metric, measured)
    # The accuracy of outputs that are no numbers is that of class 0, which looks like a result.
    undefined = np.isnan(measured["loss"]) if "loss" in measured else False
    return np.where(undefined, np.float32(np.nan), METRICS[metric](measured[metric]))


class Pair(NamedTuple):
    """Two networks, or many pairs along axis 0.

    Attributes:
      first: W₁.
      second: W₂.
    """

    first: Networks
    second: Networks


def at_a_time(plan: Plan) -> int:
    """Chooses how many pairs run at a time, whatever their number, which would compile anew.

    Args:
      plan: how they run.

    Returns:
      A multiple of its devices.
    """
    alone = plan.inside == "map"
    return plan.padded(plan.chunk or plan.devices * (1 if alone else _BATCHED_PAIRS))


# Remembered, so that one call a level of a run compiles once; few, since programs take memory.
@functools.lru_cache(maxsize=8)
def line_paths(
    learner: Learner,
    plan: Plan,
    points: int,
    statistics: Statistics,
    recompute: Recompute | None,
) -> Callable[..., Any]:
    """Makes the compiled function that evaluates networks along the lines of many pairs.

    Args:
      learner: as in `barriers`, and so are the others.
      plan: how the pairs run.
      points: how many α.
      statistics: which batch statistics.
      recompute: for those that are recomputed.

    Returns:
      `paths(pairs, state, examples, number=...) -> metrics`, `float[pairs, points]` each.
    """

    def path(pair: Pair, state: LearnerState, examples: Batch) -> Metrics:
        evaluate = evaluating(learner, state, examples)
        return linear_path(
            evaluate, pair.first, pair.second, points, statistics=statistics, recompute=recompute
        )

    return populate(path, plan)


def evaluating(
    learner: Learner, state: LearnerState, examples: Batch
) -> Callable[[Params, ModelState], Metrics]:
    """Makes the evaluation of params and a model state alone.

    Args:
      learner: how a network is evaluated.
      state: what else a state holds.
      examples: on which.

    Returns:
      `evaluate(params, model_state) -> metrics`.
    """

    def evaluate(params: Params, model_state: ModelState) -> Metrics:
        nothing_pruned = jax.tree.map(lambda leaf: None, params)
        here = state._replace(params=params, model_state=model_state)
        return learner.evaluate(here, nothing_pruned, examples)

    return evaluate
