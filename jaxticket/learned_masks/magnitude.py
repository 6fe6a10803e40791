"""Straight-through magnitude: the smallest weights are left out, and may come back."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxticket.allocate.base import Select
from jaxticket.allocate.layerwise import select_by_layer
from jaxticket.learned_masks.base import LearnedMask, over_prunable, straight_through
from jaxticket.learned_masks.budget import Density, check_density, supermask
from jaxticket.masks.basic import ones
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.types import Mask, Params


def straight_through_magnitude(
    density: Density,
    *,
    select: Select = select_by_layer,
    empty_layers: bool = False,
    prunable: Prunable = kernels,
) -> LearnedMask:
    """Trains all weights and computes with the largest: f(x; m ⊙ w), m = top-k of |w|.

    The derivative passes straight through the mask, ∂L/∂w = ∂L/∂(m ⊙ w), so that a weight that is
    left out goes on learning and may return.

    Args:
      density: the share that is kept, of each layer under the default selection; see `counts_at`.
      select: which weights are kept, from an `allocate.Allocation`.
      empty_layers: whether a layer may be left without a weight; see `supermask`.
      prunable: which leaves are masked.

    Returns:
      The learned mask. Its params are the network's, dense; it carries `{}`.

    Raises:
      TicketError: for a density outside (0, 1]; later, where it leaves a layer empty.

    Example:
      >>> learned = straight_through_magnitude(0.5)
      >>> weights, carried = learned.init(jax.random.key(0), {"kernel": jnp.array([[1.0, -2.0]])})
      >>> loss = lambda w: learned.weights(w, carried, train=True)[0]["kernel"].sum()
      >>> float(loss(weights)), jax.grad(loss)(weights)["kernel"].tolist()
      (-2.0, [[1.0, 1.0]])

    Source: 1710.01878 compares with it; the dense derivative is that of "dynamic network
    surgery", 1608.04493, equation 3, and of DPF, 2006.07253, equation 2 (all unverified).
    """
    check_density(density)

    def init(key: PRNGKeyArray, drawn: Params) -> tuple[Params, Any]:
        del key
        return drawn, {}

    def mask(params: Params, carried: Any) -> Mask:
        del carried
        magnitudes = jax.tree.map(
            lambda leaf, kept: None if kept is None else jnp.abs(leaf),
            params,
            ones(params, prunable),
        )
        return supermask(magnitudes, density, select=select, empty_layers=empty_layers)

    def soft(params: Params, carried: Any) -> Any:
        return jax.tree.map(lambda kept: kept.astype(jnp.float32), mask(params, carried))

    def used(params: Params, carried: Any, *, train: bool, key: Any = None) -> tuple[Params, Any]:
        del train, key

        def kept(weight: Array, chosen: Array) -> Array:
            return straight_through(jnp.where(chosen, weight, 0.0), weight)

        return over_prunable(kept, params, mask(params, carried)), carried

    return LearnedMask(init, used, soft, mask)
