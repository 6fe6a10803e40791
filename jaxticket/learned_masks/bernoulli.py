"""Bernoulli supermasks: a mask that is drawn anew at every step, from probabilities that train."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxticket.allocate.base import Select
from jaxticket.allocate.layerwise import select_by_layer
from jaxticket.errors import TicketError, unknown
from jaxticket.keys import derive
from jaxticket.learned_masks.base import (
    Initializer,
    LearnedMask,
    draw_prunable,
    over_prunable,
    straight_through,
)
from jaxticket.learned_masks.budget import Density, check_density, hardened
from jaxticket.learned_masks.frozen import freeze
from jaxticket.masks.prunable import Prunable, kernels, path_string
from jaxticket.types import Mask, Params, Scores

EVALUATIONS = ("expected", "hard")
"""What is evaluated: σ(s) ⊙ w, or the mask of what is kept in the end."""


def bernoulli(
    logits: Initializer,
    *,
    evaluation: str = "hard",
    rescale: bool = False,
    weights: Initializer | None = None,
    density: Density | None = None,
    select: Select = select_by_layer,
    empty_layers: bool = False,
    prunable: Prunable = kernels,
) -> LearnedMask:
    """Learns the probability that a weight is kept: f(x; m ⊙ w), m ~ Bernoulli(σ(s)).

    A new mask is drawn at every training step; the derivative passes straight through the draw, as
    if m were σ(s): ∂L/∂s = ∂L/∂(m ⊙ w) ⊙ w ⊙ σ(s)(1 − σ(s)). Weights are never trained. Kept in the
    end is what is kept more likely than not, s > 0, or as much as a density says.

    Args:
      logits: draws s, such as `jax.nn.initializers.zeros` for masks that begin with a half.
      evaluation: one of `EVALUATIONS`, the mask outside training; its size is whatever is learned.
      rescale: whether weights are multiplied in each layer by all its weights over those kept
        ("dynamic weight rescaling").
      weights: draws the frozen weights; those that the network itself draws if `None`.
      density: the share that the mask keeps, of each layer under the default selection, by its
        scores as any criterion's; see `counts_at`. `None` keeps what is above zero.
      select: which scores are kept at a density, from an `allocate.Allocation`.
      empty_layers: whether a density may leave a layer without a weight; see `supermask`.
      prunable: which leaves have logits.

    Returns:
      The learned mask. Its params are the logits; it carries `{"weights": ...}`.

    Raises:
      TicketError: for an unknown evaluation or a density outside (0, 1]; from training, if it is
        given no key; later, where a density leaves a layer empty.

    Example:
      >>> learned = bernoulli(jax.nn.initializers.zeros)
      >>> logits, carried = learned.init(jax.random.key(0), {"kernel": jnp.ones((1000, 10))})
      >>> used, _ = learned.weights(logits, carried, train=True, key=jax.random.key(1))
      >>> abs(float(used["kernel"].mean()) - 0.5) < 0.02
      True

    Source: 1905.01067, section 5.2 (unverified); the paper averages over drawn masks in
    evaluation, which neither of these does.
    """
    if evaluation not in EVALUATIONS:
        raise unknown("evaluation", evaluation, EVALUATIONS)
    check_density(density)

    def init(key: PRNGKeyArray, drawn: Params) -> tuple[Scores, Any]:
        given = draw_prunable(derive(key, "scores"), drawn, prunable, logits)
        return given, {"weights": freeze(key, drawn, prunable, weights)}

    def soft(params: Scores, carried: Any) -> Any:
        del carried
        return jax.tree.map(jax.nn.sigmoid, params)

    def mask(params: Scores, carried: Any) -> Mask:
        del carried
        return hardened(params, density, select=select, empty_layers=empty_layers)

    def drawn(key: PRNGKeyArray | None, chances: Any) -> Any:
        if key is None:
            raise TicketError("bernoulli: got no key, expected one in training: masks are drawn")
        return jax.tree_util.tree_map_with_path(
            lambda path, chance: jax.random.bernoulli(derive(key, path_string(path)), chance),
            chances,
        )

    def used(params: Scores, carried: Any, *, train: bool, key: Any = None) -> tuple[Params, Any]:
        chances = soft(params, carried)
        if train:
            chosen = drawn(key, chances)
        else:
            chosen = chances if evaluation == "expected" else mask(params, carried)

        def kept(weight: Array, chance: Array, one: Array) -> Array:
            hard = one.astype(weight.dtype)
            # At least one, so that a layer that was drawn empty gives zeros and not NaN.
            factor = hard.size / jnp.maximum(jnp.sum(hard), 1.0) if rescale else 1.0
            return weight * straight_through(hard, chance) * jax.lax.stop_gradient(factor)

        return over_prunable(kept, carried["weights"], chances, chosen), carried

    return LearnedMask(init, used, soft, mask)
