"""Sharpness: the highest loss near a network."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxticket import masks
from jaxticket.analysis.losses import Loss
from jaxticket.analysis.subspace import along, norm, random_direction, scaled
from jaxticket.errors import TicketError
from jaxticket.types import Mask, Params


class Sharpness(NamedTuple):
    """The highest loss that was found in a ball.

    Attributes:
      rise: max L(θ + δ) − L(θ) over all steps, `float[]`: a lower bound of the true maximum.
      direction: δ / ρ at the maximum, a tree as the params, of length at most 1.
    """

    rise: Float[Array, ""]
    direction: Params


def sharpness(
    loss: Loss,
    params: Params,
    mask: Mask,
    key: PRNGKeyArray,
    *,
    radius: float,
    steps: int = 20,
    step_size: float = 0.5,
) -> Sharpness:
    """Climbs to the highest loss in a ball of the masked subspace: max_{‖δ‖ ≤ ρ} L(θ + δ) − L(θ).

    Projected gradient ascent: δ ← P(δ + η ρ ∇L / ‖∇L‖), where P shortens what is longer than ρ,
    from a random point of the sphere, `steps` times, one gradient each. The best of all points,
    δ = 0 among them, is taken, so more steps never give less. At the minimum of a parabola it
    tends to ½ ρ² λ_max.

    Args:
      loss: `loss(params) -> float[]`.
      params: θ.
      mask: which coordinates are free, as in `analysis.subspace`.
      key: a typed key, for the point from which it climbs.
      radius: ρ, in the unit of the weights.
      steps: how many gradients.
      step_size: η, in the unit of ρ.

    Returns:
      The rise, never negative, and where it was found; NaN where a loss on the way is NaN.

    Raises:
      TicketError: for a radius or a number of steps that is not positive.

    Example:
      >>> bowl = lambda params: jnp.sum(jnp.array([1.0, 4.0]) * params["w"] ** 2)
      >>> theta, free = {"w": jnp.zeros(2)}, {"w": None}
      >>> found = sharpness(bowl, theta, free, jax.random.key(0), radius=0.5, steps=30)
      >>> round(float(found.rise), 4)
      1.0

    Source: the measure is that of 1609.04836, whose box is here a ball, section 2 (unverified);
    the ascent is this project's.
    """
    if not radius > 0 or steps < 1:
        raise TicketError(
            f"sharpness: got radius {radius} and {steps} steps, expected more than 0 of both"
        )
    slope = jax.value_and_grad(lambda change: loss(along(params, change, 1.0)))
    start = scaled(random_direction(key, params, mask), radius)

    def climb(_: Any, carry: tuple[Params, Array, Params]) -> tuple[Params, Array, Params]:
        change, highest, best = carry
        height, gradient = slope(change)
        best, highest = _better(change, height, best, highest)
        gradient = masks.apply(gradient, mask)
        length = norm(gradient)
        # Where it is flat there is no direction to go.
        stride = jnp.where(length > 0, step_size * radius / length, 0)
        return _into_ball(along(change, gradient, stride), radius), highest, best

    nowhere = jax.tree.map(jnp.zeros_like, params)
    before = loss(params)
    change, highest, best = jax.lax.fori_loop(0, steps, climb, (start, before, nowhere))
    best, highest = _better(change, loss(along(params, change, 1.0)), best, highest)
    return Sharpness(highest - before, scaled(best, 1 / radius))


def _better(change: Params, height: Array, best: Params, highest: Array) -> tuple[Params, Array]:
    # Nothing is greater than NaN, so that it stays.
    higher = (height > highest) | jnp.isnan(height)
    pick = lambda new, old: jnp.where(higher, new, old)  # noqa: E731
    return jax.tree.map(pick, change, best), pick(height, highest)


def _into_ball(change: Params, radius: float) -> Params:
    length = norm(change)
    return scaled(change, jnp.where(length > radius, radius / length, 1))
