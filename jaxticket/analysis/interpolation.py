"""The straight line between two networks, and how far the error rises along it."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.analysis.comparable import check_alike
from jaxticket.errors import TicketError, unknown
from jaxticket.types import Metrics, ModelState, Params

Statistics = Literal["interpolated", "recomputed", "kept"]
"""Which batch statistics a network on the line has: those between the two ends', its own, or those
of the nearer end (this project's own)."""

Recompute = Callable[[Params, ModelState], ModelState]
"""`recompute(params, model_state) -> model_state`, given the interpolated one."""


def interpolate(first: Any, second: Any, alpha: Any) -> Any:
    """Gives the point α of the line between two trees: α W₁ + (1 − α) W₂.

    What both have in common stays so to the bit, weights that both have pruned among it.

    Args:
      first: W₁, params or a model state.
      second: W₂, of the same structure, shapes and dtypes; only floats may differ.
      alpha: α, `float[]`, may be traced; 1 gives the first.

    Returns:
      The tree between them, dtypes unchanged.

    Raises:
      TicketError: one line with all leaves that do not fit each other, and all integers that
        differ, between which nothing lies; traced integers are not compared.

    Example:
      >>> interpolate({"w": jnp.array([4.0, 0.0])}, {"w": jnp.array([8.0, 0.0])}, 0.25)
      {'w': Array([7., 0.], dtype=float32)}

    Source: 1912.05671, section 2.
    """
    check_alike(first, second, "linear path, first and second")

    def between(one: Any, other: Any) -> jax.Array:
        one, other = jnp.asarray(one), jnp.asarray(other)
        if not jnp.issubdtype(one.dtype, jnp.inexact):
            return one
        weight = jnp.asarray(alpha, one.dtype)
        # α w + (1 − α) w is not always w.
        return jnp.where(one == other, one, weight * one + (1 - weight) * other)

    return jax.tree.map(between, first, second)


def linear_path(
    evaluate: Callable[[Params, ModelState], Metrics],
    first: Any,
    second: Any,
    points: int = 30,
    *,
    statistics: Statistics = "interpolated",
    recompute: Recompute | None = None,
) -> Metrics:
    """Evaluates networks along the line between two, one after the other: E(α W₁ + (1 − α) W₂).

    Args:
      evaluate: `evaluate(params, model_state) -> metrics`.
      first: W₁, anything with `params` and `model_state`, such as a `records.Network`.
      second: W₂, likewise.
      points: how many α, as `alphas` gives them.
      statistics: `interpolated`, where every float of the model state lies on the line too;
        `recomputed`, where `recompute` gives it at every α, at both ends too; `kept`, where it is
        that of the nearer end, the first's in the middle.
      recompute: for `recomputed` only. The data it needs are constants of the compiled program.

    Returns:
      `float[points]` by metric, the second network first, at α = 0.

    Raises:
      TicketError: for fewer than 2 points, or statistics and `recompute` that do not agree.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> ends = [TrainState({"w": jnp.float32(w)}, {}, ()) for w in (-1, 1)]
      >>> loss = lambda params, model_state: {"loss": params["w"] ** 2}
      >>> linear_path(loss, *ends, points=3)["loss"].tolist()
      [1.0, 0.0, 1.0]

    Source: 1912.05671, section 2. That the paper interpolates batch statistics, as the default
    does, is unverified; `kept` is this project's own definition.
    """
    between = lambda alpha: interpolate(first.params, second.params, alpha)  # noqa: E731
    return evaluate_along(evaluate, between, first, second, points, statistics, recompute)


def evaluate_along(
    evaluate: Callable[[Params, ModelState], Metrics],
    params_at: Callable[[jax.Array], Params],
    first: Any,
    second: Any,
    points: int,
    statistics: Statistics,
    recompute: Recompute | None,
) -> Metrics:
    """Evaluates networks along any path between two, as `linear_path` does along the line.

    Args:
      evaluate: as there.
      params_at: `params_at(alpha) -> params`, the second network's at α = 0.
      first: the network at α = 1, of which the model state is read.
      second: that at α = 0.
      points: as in `linear_path`.
      statistics: likewise; what is interpolated is so on the line between the two ends.
      recompute: likewise.

    Returns:
      `float[points]` by metric.

    Raises:
      TicketError: as `linear_path`.

    Example: see `linear_path`.
    """
    _check_statistics(statistics, recompute)

    def at(alpha: jax.Array) -> Metrics:
        params = params_at(alpha)
        model_state = interpolate(first.model_state, second.model_state, alpha)
        if statistics == "kept":
            nearer = lambda one, other: jnp.where(alpha >= 0.5, one, other)  # noqa: E731
            model_state = jax.tree.map(nearer, first.model_state, second.model_state)
        if recompute is not None:
            model_state = recompute(params, model_state)
        return evaluate(params, model_state)

    return jax.lax.map(at, alphas(points))


def alphas(points: int) -> np.ndarray:
    """Gives the places on a line at which networks are evaluated, both ends included.

    Args:
      points: how many, at least 2; the paper's number is 30.

    Returns:
      `float32[points]`, evenly spaced from 0 to 1.

    Raises:
      TicketError: for fewer than 2.

    Example:
      >>> alphas(3).tolist()
      [0.0, 0.5, 1.0]

    Source: 1912.05671, section 2.
    """
    if points < 2:
        raise TicketError(f"points: got {points}, expected at least 2, the two ends of the path")
    return np.linspace(0, 1, points, dtype=np.float32)


def error_barrier(errors: Any) -> Any:
    """Gives how far the error rises above the mean of its ends: sup_α E_α − (E_0 + E_1) / 2.

    It is never negative, since the ends are among the α, nor below |E_0 − E_1| / 2, which it is
    for an error that is convex along the line: ends that differ count as a barrier.

    Args:
      errors: `float[..., points]`, E_α at increasing α from 0 to 1, NumPy, JAX or a list.

    Returns:
      `float[...]`; NaN where an error is NaN, or the ends are infinite.

    Raises:
      TicketError: for fewer than 2 points.

    Example:
      >>> float(error_barrier(np.array([0.25, 0.75, 0.5])))
      0.375

    Source: 1912.05671, section 2.
    """
    if np.ndim(errors) == 0 or np.shape(errors)[-1] < 2:
        raise TicketError(
            f"errors: got shape {list(np.shape(errors))}, expected [..., points] with at least 2 "
            "points, the two ends of the path"
        )
    if isinstance(errors, list | tuple):
        errors = np.asarray(errors)
    with np.errstate(invalid="ignore"):
        return errors.max(axis=-1) - (errors[..., 0] + errors[..., -1]) / 2


def _check_statistics(statistics: str, recompute: Recompute | None) -> None:
    if statistics not in get_args(Statistics):
        raise unknown("statistics", statistics, get_args(Statistics))
    if (statistics == "recomputed") != (recompute is not None):
        given = "no function recompute" if recompute is None else "a function recompute"
        raise TicketError(
            f"statistics: got {statistics!r} and {given}, expected 'recomputed' with "
            "recompute(params, model_state), or 'interpolated' or 'kept' without"
        )
