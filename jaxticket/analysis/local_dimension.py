"""How many weights can go at once, as the curvature of a basin predicts it."""

from typing import Any

import numpy as np

from jaxticket.errors import TicketError
from jaxticket.types import Numbers


def local_dimension(
    eigenvalues: Any, rise: float, distance: Any, *, dimension: Any, weights: Any = None
) -> Numbers:
    """Gives the local angular dimension of a basin: d_loc(ε, R) = Σ_i r_i² / (r_i² + R²).

    The basin {L < L(θ) + ε} is taken for a parabola's: an ellipsoid with the radii r_i = √(2 ε /
    λ_i). Seen from the distance R it fills about d_loc of the D directions, so a random affine
    subspace of D' dimensions at that distance meets it, in high dimensions, where D' > D − d_loc.
    A coordinate whose eigenvalue is not positive has an infinite radius and counts as 1. At R = 0
    all of them do: d_loc = D.

    Args:
      eigenvalues: λ, `float[..., k]`: all of them, or the largest, in which case the other D − k
        count as 1 and the result is an upper bound; or, with `weights`, the nodes of a quadrature
        (`curvature.Ritz`, several starting directions along the last axis but one). NaN is no
        eigenvalue.
      rise: ε, positive.
      distance: R, `float[]` or `float[...]`, at least 0.
      dimension: D, `int[]` or `int[...]`.
      weights: of a quadrature, `float[..., directions, steps]`, each summing to 1.

    Returns:
      `float64[...]`, between 0 and D.

    Raises:
      TicketError: for a rise that is not positive, or a negative distance.

    Example:
      >>> float(local_dimension([2.0, 0.0], 1.0, 1.0, dimension=2))  # 1 / (1 + 1) + 1
      1.5

    Source: the well of 2210.03044, section 5, after 2107.05802 (from memory, unverified); the
    reading of negative eigenvalues and of quadratures is this project's definition.
    """
    distance = np.asarray(distance, np.float64)
    if not rise > 0 or (distance < 0).any():
        raise TicketError(
            f"local_dimension: got rise {rise} and distance {distance.tolist()}, expected a rise "
            "above 0 and no negative distance"
        )
    values = np.asarray(eigenvalues, np.float64)
    known = ~np.isnan(values)
    curved = np.maximum(np.where(known, values, 0), 0)
    total = np.asarray(dimension, np.float64)
    if weights is None:
        shares = 2 * rise / (2 * rise + curved * distance[..., None] ** 2)
        return np.where(known, shares, 0).sum(-1) + total - known.sum(-1)
    shares = 2 * rise / (2 * rise + curved * distance[..., None, None] ** 2)
    return total * np.where(known, np.asarray(weights) * shares, 0).sum(-1).mean(-1)


def prunable_share(local: Any, dimension: Any) -> Numbers:
    """Gives the largest share of weights that can go at once: d_loc / D.

    Pruning a random share s of D weights restricts the network to a subspace of (1 − s) D
    dimensions, which meets the basin while (1 − s) D > D − d_loc.

    Args:
      local: d_loc, from `local_dimension` at the distance that the pruning moves the network by.
      dimension: D.

    Returns:
      `float64[...]`, between 0 and 1.

    Example:
      >>> float(prunable_share(1.5, 2))
      0.75

    Source: 2210.03044, section 5 (from memory, unverified).
    """
    return np.asarray(local, np.float64) / np.asarray(dimension, np.float64)
