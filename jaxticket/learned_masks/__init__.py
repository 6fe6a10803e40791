"""Masks that are learned: re-parametrisations of a network's weights, one file a way.

`reparametrise(model, learned)` is a network like any other, whose params are scores, weights or
both; a learner trains it as it is. `mask_of` then gives the mask that was learned.
"""

from jaxticket.learned_masks.base import (
    LearnedMask,
    mask_of,
    network_of,
    reparametrise,
    size_penalty,
    straight_through,
)
from jaxticket.learned_masks.bernoulli import bernoulli
from jaxticket.learned_masks.budget import counts_at, supermask
from jaxticket.learned_masks.continuous import continuous_sparsification
from jaxticket.learned_masks.edge_popup import SCORES, edge_popup
from jaxticket.learned_masks.frozen import KAIMING, signed_constant
from jaxticket.learned_masks.magnitude import straight_through_magnitude

__all__ = [
    "KAIMING",
    "SCORES",
    "LearnedMask",
    "bernoulli",
    "continuous_sparsification",
    "counts_at",
    "edge_popup",
    "mask_of",
    "network_of",
    "reparametrise",
    "signed_constant",
    "size_penalty",
    "straight_through",
    "straight_through_magnitude",
    "supermask",
]
