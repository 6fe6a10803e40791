"""Linear mode connectivity: the error barriers between the networks of many pairs.

The instability of training at step k is the barrier between two copies that were trained from the
same W_k with different SGD noise. In a search whose rewind step is k they are, at one level and
replicate, the networks of the arms `ticket` and `copy`, which differ in their data order,
augmentation and dropout. For the dense network they are those of the arm `dense` at two levels
above 0, which differ in the same and in nothing else. Without `rewind_moments` the copies start at
step k with moments of zero, so W_k is then the weights alone. Training is called stable at k if
the barrier of the test error is below 2 %, here 0.02, in the mean of all pairs. A barrier says
nothing of curves between the two that are not straight.

Source: 1912.05671, section 2.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.analysis.interpolation import (
    Recompute,
    Statistics,
    alphas,
    check_alike,
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

    Args:
      learner: how a network is evaluated.
      state: any one state of the learner, such as `learner.init(key)`; what is evaluated is this
        state with the params and the model state of a point on the line.
      firsts: W₁ of all pairs along axis 0, anything with `params` and `model_state`, such as a
        `records.Record`. Params are zero where pruned, so that no masks are needed: the line
        stays in the union of both. Where pruned weights are held at other values (arms `frozen`
        and `frozen_unless_shrunk`), these must have been added to the params.
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
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    pairs = to_host(_Pair(_ends(firsts), _ends(seconds)))
    check_alike(pairs.first, pairs.second)
    given = share((state, examples), plan)
    paths = _paths(learner, plan, points, statistics, recompute)
    on_pairs = lambda pairs, number: paths(pairs, *given, number=number)  # noqa: E731
    measured = over(on_pairs, _at_a_time(plan))(pairs)
    if metric not in measured:
        raise unknown("metric", metric, measured)
    curves = METRICS[metric](measured[metric])
    heights = error_barrier(curves.astype(np.float64))
    return {"alphas": alphas(points), "curves": curves, "barriers": heights}


class _Ends(NamedTuple):
    params: Params
    model_state: ModelState


class _Pair(NamedTuple):
    first: _Ends
    second: _Ends


def _ends(networks: Any) -> _Ends:
    return _Ends(networks.params, networks.model_state)


def _at_a_time(plan: Plan) -> int:
    """Chooses a size that does not depend on how many pairs there are, which would compile anew."""
    alone = plan.inside == "map"
    return plan.padded(plan.chunk or plan.devices * (1 if alone else _BATCHED_PAIRS))


# Remembered, so that one call a level of a run compiles once; few, since programs take memory.
@functools.lru_cache(maxsize=8)
def _paths(
    learner: Learner,
    plan: Plan,
    points: int,
    statistics: Statistics,
    recompute: Recompute | None,
) -> Callable[..., Any]:
    def path(pair: _Pair, state: LearnerState, examples: Batch) -> Metrics:
        def evaluate(params: Params, model_state: ModelState) -> Metrics:
            nothing_pruned = jax.tree.map(lambda leaf: None, params)
            here = state._replace(params=params, model_state=model_state)
            return learner.evaluate(here, nothing_pruned, examples)

        return linear_path(
            evaluate, pair.first, pair.second, points, statistics=statistics, recompute=recompute
        )

    return populate(path, plan)
