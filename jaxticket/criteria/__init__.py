"""What a weight is worth: one file a family of criteria, higher score = keep."""

from collections.abc import Callable

from jaxticket.criteria.base import (
    Criterion,
    Evidence,
    Rounds,
    check_reads,
    elementwise,
    stateless,
)
from jaxticket.criteria.change import (
    accumulated_movement,
    large_final_diff_sign,
    magnitude_increase,
    magnitude_increase_diff_sign,
    magnitude_increase_same_sign,
    movement,
)
from jaxticket.criteria.combined import inverse, iterative
from jaxticket.criteria.curvature import fisher_diagonal, hessian_diagonal
from jaxticket.criteria.dynamic_modes import Modes, combine, dynamic_modes
from jaxticket.criteria.gradient_flow import grasp
from jaxticket.criteria.koopman import koopman_gradient, koopman_magnitude
from jaxticket.criteria.layer_inputs import optimal_brain_surgeon, wanda
from jaxticket.criteria.magnitude import (
    large_final_same_sign,
    large_initial_large_final,
    magnitude,
    magnitude_at_initialization,
    small_initial_small_final,
)
from jaxticket.criteria.random import random
from jaxticket.criteria.reconstruction import reconstruct
from jaxticket.criteria.saliency import gradient_magnitude, signed_snip, snip, taylor
from jaxticket.criteria.synflow import synflow
from jaxticket.errors import unknown

CRITERIA: dict[str, Callable[..., Criterion]] = {
    "magnitude": magnitude,
    "magnitude_at_initialization": magnitude_at_initialization,
    "large_initial_large_final": large_initial_large_final,
    "small_initial_small_final": small_initial_small_final,
    "large_final_same_sign": large_final_same_sign,
    "large_final_diff_sign": large_final_diff_sign,
    "magnitude_increase": magnitude_increase,
    "magnitude_increase_same_sign": magnitude_increase_same_sign,
    "magnitude_increase_diff_sign": magnitude_increase_diff_sign,
    "movement": movement,
    "random": random,
    "snip": snip,
    "signed_snip": signed_snip,
    "taylor": taylor,
    "grasp": grasp,
    "synflow": synflow,
    "fisher_diagonal": fisher_diagonal,
    "hessian_diagonal": hessian_diagonal,
    "accumulated_movement": accumulated_movement,
    "koopman_magnitude": koopman_magnitude,
    "koopman_gradient": koopman_gradient,
    "gradient_magnitude": gradient_magnitude,
    "wanda": wanda,
    "optimal_brain_surgeon": optimal_brain_surgeon,
}
"""Factories by name; `inverse_<name>` is understood by `by_name` too."""


def by_name(name: str) -> Criterion:
    """Makes the criterion of that name.

    Args:
      name: a key of `CRITERIA`, or one behind `inverse_`.

    Returns:
      The criterion.

    Raises:
      TicketError: if there is none, with the nearest names.

    Example:
      >>> by_name("inverse_magnitude").score.__name__
      'inverted'
    """
    plain = name.removeprefix("inverse_")
    if plain not in CRITERIA:
        raise unknown("criterion", name, CRITERIA)
    criterion = CRITERIA[plain]()
    return criterion if plain == name else inverse(criterion)


__all__ = [
    "CRITERIA",
    "Criterion",
    "Evidence",
    "Modes",
    "Rounds",
    "accumulated_movement",
    "by_name",
    "check_reads",
    "combine",
    "dynamic_modes",
    "elementwise",
    "fisher_diagonal",
    "gradient_magnitude",
    "grasp",
    "hessian_diagonal",
    "inverse",
    "iterative",
    "koopman_gradient",
    "koopman_magnitude",
    "large_final_diff_sign",
    "large_final_same_sign",
    "large_initial_large_final",
    "magnitude",
    "magnitude_at_initialization",
    "magnitude_increase",
    "magnitude_increase_diff_sign",
    "magnitude_increase_same_sign",
    "movement",
    "optimal_brain_surgeon",
    "random",
    "reconstruct",
    "signed_snip",
    "small_initial_small_final",
    "snip",
    "stateless",
    "synflow",
    "taylor",
    "wanda",
]
