"""Edge-popup: scores are trained, the weights under them never are."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, PRNGKeyArray

from jaxticket.allocate.base import Select
from jaxticket.allocate.layerwise import select_by_layer
from jaxticket.keys import derive
from jaxticket.learned_masks.base import (
    Initializer,
    LearnedMask,
    draw_prunable,
    over_prunable,
    straight_through,
)
from jaxticket.learned_masks.budget import Density, check_density, shares, supermask, whole
from jaxticket.learned_masks.frozen import freeze
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.types import Mask, Params, Scores

SCORES: Initializer = initializers.variance_scaling(1 / 3, "fan_in", "uniform")
"""U(−1, 1) / √fan-in, which is PyTorch's kaiming_uniform(a=√5)."""


def edge_popup(
    density: Density,
    *,
    weights: Initializer | None = None,
    scaled: bool = False,
    select: Select = select_by_layer,
    empty_layers: bool = False,
    scores: Initializer = SCORES,
    prunable: Prunable = kernels,
) -> LearnedMask:
    """Learns a mask over weights that are never trained: f(x; m(s) ⊙ w), m = top-k of |s|.

    The derivative passes straight through the selection, as if m were |s|:
    ∂L/∂s = ∂L/∂(m ⊙ w) ⊙ w ⊙ sign(s). All params but the scores are frozen where they begin.

    Args:
      density: the share that is kept, of each layer under the default selection; see `counts_at`.
      weights: draws the frozen weights, such as `KAIMING` or `signed_constant`; those that the
        network itself draws if `None`. Axes are (..., inputs, outputs).
      scaled: whether frozen weights are multiplied by 1 / √density of their layer, so that what
        is kept has the variance that was drawn.
      select: which scores are kept, from an `allocate.Allocation`.
      empty_layers: whether a layer may be left without a weight; see `supermask`.
      scores: draws the scores.
      prunable: which leaves have scores.

    Returns:
      The learned mask. Its params are the scores; it carries `{"weights": ...}`.

    Raises:
      TicketError: for a density outside (0, 1]; later, where it leaves a layer empty.

    Example:
      >>> from jaxticket.learned_masks import mask_of, network_of, reparametrise, signed_constant
      >>> from jaxticket.types import Model
      >>> model = Model(
      ...     init=lambda key: ({"kernel": jax.random.normal(key, (4, 2))}, {}),
      ...     apply=lambda params, state, x, *, train, key=None: (x @ params["kernel"], state),
      ... )
      >>> learned = edge_popup(0.5, weights=signed_constant)
      >>> params, state = reparametrise(model, learned).init(jax.random.key(0))
      >>> int(mask_of(learned, params, state)["kernel"].sum())
      4
      >>> sorted(set(jnp.abs(network_of(learned, params, state)[0]["kernel"]).ravel().tolist()))
      [0.0, 0.7071067690849304]

    Source: 1911.13299, section 3; that k is of |s|, the scores' initialisation and the frozen
    weights are those of the authors' code; the scaling is unverified.
    """
    check_density(density)

    def init(key: PRNGKeyArray, drawn: Params) -> tuple[Scores, Any]:
        given = draw_prunable(derive(key, "scores"), drawn, prunable, scores)
        fixed = freeze(key, drawn, prunable, weights)
        if scaled:
            kept = shares(density, whole(given))
            fixed = over_prunable(lambda leaf, share: leaf / jnp.sqrt(share), fixed, kept)
        return given, {"weights": fixed}

    def mask(params: Scores, carried: Any) -> Mask:
        del carried
        sizes = jax.tree.map(jnp.abs, params)
        return supermask(sizes, density, select=select, empty_layers=empty_layers)

    def soft(params: Scores, carried: Any) -> Any:
        return jax.tree.map(lambda kept: kept.astype(jnp.float32), mask(params, carried))

    def used(params: Scores, carried: Any, *, train: bool, key: Any = None) -> tuple[Params, Any]:
        del train, key

        def kept(weight: Array, score: Array, chosen: Array) -> Array:
            return weight * straight_through(chosen.astype(weight.dtype), jnp.abs(score))

        return over_prunable(kept, carried["weights"], params, mask(params, carried)), carried

    return LearnedMask(init, used, soft, mask)
