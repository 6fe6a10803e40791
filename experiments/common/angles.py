"""Angles between the networks of a run."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxticket.analysis import angular_distance
from jaxticket.population import over, populate


def angles_of(problem: Any, pairs: Sequence[tuple[Any, Any]]) -> np.ndarray:
    """Measures the angle 2∠/π of every pair of networks, as `analysis.angular_distance` does.

    Args:
      problem: gives the plan.
      pairs: two networks each, at least one pair, of anything that has `params` and a `mask`.

    Returns:
      `float[pairs]`; 1 for a right angle.
    """
    plan = problem.plan
    size = plan.padded(plan.chunk or plan.devices)
    measure = over(populate(_angle, plan), size)
    # Piece by piece, since all pairs of many levels at once are more than the host may hold.
    pieces = (pairs[first : first + size] for first in range(0, len(pairs), size))
    return np.concatenate([measure(_stacked(piece)) for piece in pieces])


def _angle(pair: Any) -> jax.Array:
    (first, first_mask), (second, second_mask) = pair
    return angular_distance(first, second, first_mask, second_mask)


def _stacked(pairs: Sequence[tuple[Any, Any]]) -> Any:
    each = [tuple((one.params, one.mask) for one in pair) for pair in pairs]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *each)
