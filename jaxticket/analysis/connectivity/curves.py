"""Curves between two networks: quadratic Bézier curves whose middle point is trained."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Key, PRNGKeyArray

from jaxticket.analysis.comparable import check_alike, ends
from jaxticket.analysis.connectivity.lines import Pair, at_a_time, errors_of, evaluating
from jaxticket.analysis.interpolation import (
    Recompute,
    Statistics,
    alphas,
    error_barrier,
    evaluate_along,
    interpolate,
)
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.optimizers import masked
from jaxticket.population import Plan, over, populate, share, to_host
from jaxticket.types import Batch, Mask, Metrics, Objective, Params


class Fitting(NamedTuple):
    """How the middle point of a curve is trained.

    Attributes:
      optimizer: any optax transformation.
      steps: how many.
      batch_size: examples a step, drawn with replacement.
    """

    optimizer: optax.GradientTransformation
    steps: int
    batch_size: int


def bezier(first: Any, middle: Any, second: Any, alpha: Any) -> Any:
    """Gives the point α of a quadratic Bézier curve: α² W₁ + 2α(1 − α) θ + (1 − α)² W₂.

    With θ half-way between both ends it is the straight line of `interpolate`. Both ends are met to
    the bit, and what is zero in all three stays so.

    Args:
      first: W₁, params.
      middle: θ, of the same structure, shapes and dtypes.
      second: W₂, likewise.
      alpha: α, `float[]`, may be traced; 1 gives the first.

    Returns:
      The point.

    Raises:
      TicketError: as `interpolate`.

    Example:
      >>> ends = {"w": jnp.array([0.0])}, {"w": jnp.array([2.0])}
      >>> bezier(ends[0], {"w": jnp.array([4.0])}, ends[1], 0.5)["w"].tolist()
      [2.5]

    Source: 1802.10026, section 3.3 (unverified).
    """
    check_alike(first, middle, "curve, first and middle")
    check_alike(middle, second, "curve, middle and second")

    # Not two steps of `interpolate`, which hands no gradient to the middle where it meets an end.
    def at(one: Any, between: Any, other: Any) -> Array:
        weight = jnp.asarray(alpha, one.dtype)
        rest = 1 - weight
        return weight**2 * one + 2 * weight * rest * between + rest**2 * other

    return jax.tree.map(at, first, middle, second)


def train_middle(
    objective: Objective,
    first: Any,
    second: Any,
    mask: Mask,
    examples: Batch,
    key: PRNGKeyArray,
    fitting: Fitting,
) -> tuple[Params, Array]:
    """Trains the middle point of the curve between two networks: min_θ E_{α ~ U(0, 1)} L(curve(α)).

    It begins half-way between them. Networks on the curve normalise by each batch, as in training,
    and the model state of the first is used for nothing else.

    Args:
      objective: of the learner.
      first: W₁, with `params` and `model_state`, of one network.
      second: W₂, likewise.
      mask: where the middle may have weights, such as the union of both masks.
      examples: what it is trained on.
      key: of α, the batches and dropout.
      fitting: how it is trained.

    Returns:
      θ, and the loss of every step, `float32[steps]`.

    Example: see `curve_barriers`.

    Source: 1802.10026, section 3.2 and 3.3 (unverified).
    """
    number = jax.tree.leaves(examples)[0].shape[0]
    optimizer = masked(fitting.optimizer)
    examples = jax.tree.map(jnp.asarray, examples)

    def step(carry: Any, index: Array) -> tuple[Any, Array]:
        middle, moments = carry
        here = derive(key, "step", index)
        alpha = jax.random.uniform(derive(here, "alpha"))
        drawn = jax.random.randint(derive(here, "batch"), (fitting.batch_size,), 0, number)
        batch = jax.tree.map(lambda leaf: leaf[drawn], examples)

        def loss(middle: Params) -> Array:
            params = bezier(first.params, middle, second.params, alpha)
            inputs, drop = objective.prepare(batch), derive(here, "dropout")
            found, _ = objective.apply(params, first.model_state, inputs, train=True, key=drop)
            return jnp.mean(objective.loss(found, batch))

        value, gradient = jax.value_and_grad(loss)(middle)
        updates, moments = optimizer.update(gradient, moments, middle, mask=mask)
        return (optax.apply_updates(middle, updates), moments), value

    middle = interpolate(first.params, second.params, 0.5)
    start = middle, fitting.optimizer.init(middle)
    (middle, _), losses = jax.lax.scan(step, start, jnp.arange(fitting.steps))
    return middle, losses


class _Start(NamedTuple):
    pair: Pair
    mask: Mask
    key: Any


def curve_barriers(
    learner: Learner,
    state: LearnerState,
    firsts: Any,
    seconds: Any,
    masks: Mask,
    train: Batch,
    examples: Batch,
    keys: Key[Array, " pairs"],
    plan: Plan,
    fitting: Fitting,
    points: int = 30,
    metric: str = "accuracy",
    *,
    statistics: Statistics = "interpolated",
    recompute: Recompute | None = None,
) -> dict[str, Any]:
    """Trains the curve of every pair and measures the barrier on it, all pairs as one population.

    Args:
      learner: one that says its `objective`; as in `barriers`, and so are all that are not here.
      state: any one state of the learner.
      firsts: W₁ of all pairs along axis 0.
      seconds: W₂, likewise.
      masks: where each pair's middle may have weights, along axis 0; `None` where not prunable.
      train: what the middles are trained on.
      examples: the split on which E is measured.
      keys: of each pair, `[pairs]`.
      plan: how the pairs run.
      fitting: how the middles are trained.
      points: how many α.
      metric: `accuracy` or `loss`.
      statistics: as in `linear_path`; a network with batch statistics needs `recomputed`, since
        those between the two ends are not those of a curve.
      recompute: for those that are recomputed.

    Returns:
      What `barriers` gives, of the curves; `middles`, the trained params along axis 0; and
      `losses`, `float32[pairs, steps]`, of their training.

    Raises:
      TicketError: as `barriers`, and for a learner without an objective.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> objective = Objective(
      ...     prepare=lambda x: x,
      ...     apply=lambda params, state, x, *, train, key=None: (params["w"], state),
      ...     loss=lambda w, x: (jnp.sum(w * w) - 1) ** 2 + x)  # zero on the circle
      >>> def evaluate(state, mask, x):
      ...     return {"loss": jnp.mean(objective.loss(state.params["w"], x))}
      >>> learner = Learner(None, None, evaluate, None, None, objective)
      >>> ends = [TrainState({"w": np.float32([w])}, {}, ()) for w in ([-1, 0.1], [1, 0.1])]
      >>> x = np.zeros(4, np.float32)
      >>> state, keys = TrainState({"w": np.zeros(2, np.float32)}, {}, ()), jax.random.key(0)[None]
      >>> found = curve_barriers(
      ...     learner, state, *ends, {"w": None}, x, x, keys, Plan("map"),
      ...     Fitting(optax.adam(0.1), 200, 2), metric="loss")
      >>> bool(found["barriers"][0] < 0.2)  # 0.98 on the straight line
      True

    Source: 1802.10026, section 3 (unverified).
    """
    if learner.objective is None:
        raise TicketError("learner: got one without an objective, expected one that says it")
    pairs = to_host(Pair(ends(firsts), ends(seconds)))
    check_alike(pairs.first, pairs.second, "curve barriers, firsts and seconds")
    given = share((state, train, examples), plan)
    run = _curves(learner, plan, fitting, points, statistics, recompute)
    on_pairs = lambda own, number: run(own, *given, number=number)  # noqa: E731
    started = _Start(pairs, to_host(masks), keys)
    measured, middles, losses = over(on_pairs, at_a_time(plan))(started)
    curves = errors_of(measured, metric)
    return {
        "alphas": alphas(points),
        "curves": curves,
        "barriers": error_barrier(curves.astype(np.float64)),
        "middles": middles,
        "losses": losses,
    }


@functools.lru_cache(maxsize=8)
def _curves(
    learner: Learner,
    plan: Plan,
    fitting: Fitting,
    points: int,
    statistics: Statistics,
    recompute: Recompute | None,
) -> Callable[..., Any]:
    objective = learner.objective
    assert objective is not None, "checked by curve_barriers"

    def curve(
        own: _Start, state: LearnerState, train: Batch, examples: Batch
    ) -> tuple[Metrics, Params, Array]:
        (first, second), mask, key = own
        middle, losses = train_middle(objective, first, second, mask, train, key, fitting)
        at = lambda alpha: bezier(first.params, middle, second.params, alpha)  # noqa: E731
        evaluate = evaluating(learner, state, examples)
        measured = evaluate_along(evaluate, at, first, second, points, statistics, recompute)
        return measured, middle, losses

    return populate(curve, plan)
