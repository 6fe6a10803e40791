"""Continuous sparsification: a soft mask that hardens while mask and weights train together."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PRNGKeyArray

from jaxticket.allocate.base import Select
from jaxticket.allocate.layerwise import select_by_layer
from jaxticket.errors import unknown
from jaxticket.keys import derive
from jaxticket.learned_masks.base import Initializer, LearnedMask, draw_prunable, over_prunable
from jaxticket.learned_masks.budget import Density, check_density, hardened
from jaxticket.masks.prunable import Prunable, kernels
from jaxticket.types import Mask, Params

EVALUATIONS = ("soft", "hard")
"""What is evaluated: σ(βs) ⊙ w as in training, or under the mask that is kept in the end."""


def continuous_sparsification(
    temperature: optax.Schedule,
    scores: Initializer,
    *,
    evaluation: str = "hard",
    density: Density | None = None,
    select: Select = select_by_layer,
    empty_layers: bool = False,
    prunable: Prunable = kernels,
) -> LearnedMask:
    """Learns mask and weights together: f(x; σ(β_t s) ⊙ w), β_t rising.

    As β grows σ(βs) goes to [s > 0], which is the mask that is kept. How many weights that are is
    decided by where s begins and by the penalty λ ‖σ(βs)‖₁, which training is told of, unless a
    density is given:
    `supervised(reparametrise(model, learned), optimizer, penalty=size_penalty(learned, λ))`.

    Args:
      temperature: β by the number of steps made. From 1 to 200 exponentially, in `steps` steps:
        `optax.exponential_decay(1.0, steps, 200.0, end_value=200.0)`.
      scores: draws s, such as `jax.nn.initializers.constant(0.05)`.
      evaluation: one of `EVALUATIONS`, the mask outside training.
      density: the share that the mask keeps, of each layer under the default selection, by its
        scores as any criterion's; see `counts_at`. `None` keeps what is above zero.
      select: which scores are kept at a density, from an `allocate.Allocation`.
      empty_layers: whether a density may leave a layer without a weight; see `supermask`.
      prunable: which leaves have scores.

    Returns:
      The learned mask. Its params are `{"scores": ..., "weights": ...}`; it carries
      `{"step": int32[]}`, the training steps made.

    Raises:
      TicketError: for an unknown evaluation or a density outside (0, 1]; later, where a density
        leaves a layer empty.

    Example:
      >>> from jaxticket.learned_masks import size_penalty
      >>> learned = continuous_sparsification(
      ...     optax.exponential_decay(1.0, 10, 200.0, end_value=200.0), jax.nn.initializers.zeros
      ... )
      >>> params, carried = learned.init(jax.random.key(0), {"kernel": jnp.ones((4, 2))})
      >>> learned.weights(params, carried, train=True)[0]["kernel"][0].tolist()
      [0.5, 0.5]
      >>> float(size_penalty(learned, 0.1)(params, {"mask": carried}))
      0.4000000059604645

    Source: 1912.04427, section 3 (unverified), where β ends at 200 and scores between rounds go
    back to min(β s, s_0), which this does not do: it is one round.
    """
    if evaluation not in EVALUATIONS:
        raise unknown("evaluation", evaluation, EVALUATIONS)
    check_density(density)

    def init(key: PRNGKeyArray, drawn: Params) -> tuple[Params, Any]:
        given = draw_prunable(derive(key, "scores"), drawn, prunable, scores)
        return {"scores": given, "weights": drawn}, {"step": jnp.zeros((), jnp.int32)}

    def soft(params: Params, carried: Any) -> Any:
        # optax multiplies floats by integer counts, which strict promotion would refuse.
        with jax.numpy_dtype_promotion("standard"):
            beta = jnp.asarray(temperature(carried["step"]), jnp.float32)
        return jax.tree.map(lambda score: jax.nn.sigmoid(beta * score), params["scores"])

    def mask(params: Params, carried: Any) -> Mask:
        del carried
        scores = params["scores"]
        return hardened(scores, density, select=select, empty_layers=empty_layers)

    def used(params: Params, carried: Any, *, train: bool, key: Any = None) -> tuple[Params, Any]:
        del key
        hard = not train and evaluation == "hard"
        chosen = mask(params, carried) if hard else soft(params, carried)

        def kept(weight: Array, one: Array) -> Array:
            return weight * one.astype(weight.dtype)

        step = carried["step"] + (1 if train else 0)
        return over_prunable(kept, params["weights"], chosen), {"step": step}

    return LearnedMask(init, used, soft, mask)
