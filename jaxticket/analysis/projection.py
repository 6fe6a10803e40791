"""What pruning does to the loss before anything is retrained: the jump of projection."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket import masks
from jaxticket.analysis.losses import Loss
from jaxticket.types import Mask, Params


class Projection(NamedTuple):
    """How the loss changes where weights are set to zero, and what derivatives say of it.

    Attributes:
      loss: L(θ), `float[]`.
      jump: L(m' ⊙ θ) − L(θ), `float[]`.
      linear: ∇L(θ) · δ, with δ = m' ⊙ θ − θ, `float[]`.
      quadratic: ½ δᵀ H(θ) δ, `float[]`.
      distance: ‖δ‖, `float[]`.
    """

    loss: Float[Array, ""]
    jump: Float[Array, ""]
    linear: Float[Array, ""]
    quadratic: Float[Array, ""]
    distance: Float[Array, ""]

    @property
    def predicted(self) -> Float[Array, ""]:
        """The jump to second order: ∇L · δ + ½ δᵀ H δ."""
        return self.linear + self.quadratic


def projection(loss: Loss, params: Params, mask: Mask) -> Projection:
    """Measures the jump of the loss by projection, and its prediction from the derivatives at θ.

    L(θ + δ) = L(θ) + ∇L · δ + ½ δᵀ H δ + O(‖δ‖³) with δ = m' ⊙ θ − θ. Pure and of one network, so
    that it runs over a population as anything else does. The jump is a difference of two losses
    in float32: below about 1e-7 of the loss it is rounding. It is not finite where a loss is not.

    Args:
      loss: `loss(params) -> float[]`, such as from `losses.loss_over`.
      params: θ, `float` leaves; what an earlier mask has pruned is zero already.
      mask: m', `bool` leaves of the same shapes, `None` where nothing is pruned.

    Returns:
      The jump, both terms of its prediction and the distance.

    Example:
      >>> loss = lambda params: jnp.sum(jnp.array([1.0, 4.0]) * params["w"] ** 2)
      >>> theta, mask = {"w": jnp.array([2.0, 3.0])}, {"w": jnp.array([True, False])}
      >>> found = projection(loss, theta, mask)
      >>> float(found.jump), float(found.linear), float(found.quadratic), float(found.distance)
      (-36.0, -72.0, 36.0, 3.0)

    Source: Taylor's theorem; that it explains which weights can be pruned is the question of
    2403.15022 (of which only the abstract was read) and, with the gradient left out, the
    assumption of LeCun, Denker and Solla 1989 (unverified).
    """
    pruned = masks.apply(params, mask)
    change = jax.tree.map(jnp.subtract, pruned, params)
    gradient, curved = jax.jvp(jax.grad(loss), (params,), (change,))
    before = loss(params)
    return Projection(
        loss=before,
        jump=loss(pruned) - before,
        linear=dot(gradient, change),
        quadratic=dot(curved, change) / 2,
        distance=jnp.sqrt(dot(change, change)),
    )


def dot(first: Params, second: Params) -> Float[Array, ""]:
    """Gives the inner product of two trees: Σ_i a_i b_i over all leaves, in float32 or finer.

    Args:
      first: float leaves.
      second: of the same structure and shapes.

    Returns:
      `float[]`.

    Example:
      >>> float(dot({"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([3.0, 4.0])}))
      11.0
    """
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    return sum((jnp.vdot(_fine(a), _fine(b)) for a, b in pairs), start=jnp.float32(0))


def _fine(leaf: Array) -> Array:
    leaf = jnp.asarray(leaf)
    return leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))
