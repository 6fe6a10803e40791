"""Where networks lie to each other: their principal components, from the Gram matrix."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxticket.errors import TicketError
from jaxticket.types import Params


class Trajectory(NamedTuple):
    """Points of a space of many weights in a few coordinates.

    Attributes:
      coordinates: `float64[..., points, components]`, the components in falling order; each with
        the sign that makes its greatest coordinate positive.
      explained: `float64[..., components]`, the share of the variance that each explains.
    """

    coordinates: Float[np.ndarray, "*population points components"]
    explained: Float[np.ndarray, "*population components"]


def principal_components(points: Params, number: int = 2, *, axes: int = 0) -> Trajectory:
    """Projects networks onto the directions in which they differ most.

    With X the T networks less their mean, a row each, X = U S Vᵀ: the coordinates are U S. They
    are found from the T x T matrix X Xᵀ = U S² Uᵀ, so that no direction of all weights is stored.
    The mean is subtracted, and products are summed, in float64: weights move by a small part of
    their length. T − 1 coordinates give back every distance, so that three networks, such as a
    trained one, what pruning leaves of it and the one trained again, are seen as they are by two.

    Args:
      points: `float[*population, T, ...]` leaves, T networks one after the other; pruned weights
        are the zeros that they are.
      number: of components, at most T − 1.
      axes: how many leading axes are the population's; each member has its own components.

    Returns:
      The coordinates and the share of the variance that they explain; NaN where a weight is not
      finite, and as shares where all points are the same.

    Raises:
      TicketError: for more components than T − 1.

    Example:
      >>> walk = {"w": np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]], np.float32)}
      >>> found = principal_components(walk, 1)
      >>> np.round(np.abs(found.coordinates[:, 0]), 6).tolist(), found.explained.round(6).tolist()
      ([5.0, 0.0, 5.0], [1.0])
    """
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(jax.device_get(points))]
    times = leaves[0].shape[axes]
    if not 1 <= number < times:
        raise TicketError(
            f"components: got {number} of {times} points, expected 1 to {times - 1}; points that "
            "differ in T - 1 directions have no more"
        )
    gram = sum(_products(leaf, axes) for leaf in leaves)
    finite = np.isfinite(gram).all(axis=(-2, -1), keepdims=True)
    gram = np.where(finite, gram, 0)
    variances, directions = np.linalg.eigh(gram)
    variances = np.maximum(variances[..., ::-1], 0)
    chosen = directions[..., ::-1][..., :number]
    greatest = np.take_along_axis(chosen, np.abs(chosen).argmax(axis=-2)[..., None, :], axis=-2)
    coordinates = chosen * np.sign(greatest) * np.sqrt(variances[..., None, :number])
    with np.errstate(invalid="ignore"):
        explained = variances[..., :number] / variances.sum(axis=-1, keepdims=True)
    missing = np.where(finite, 0, np.nan)
    return Trajectory(coordinates + missing, explained + missing[..., 0])


def _products(leaf: np.ndarray, axes: int) -> np.ndarray:
    """The inner products of a leaf's points about their mean, `float64[*population, T, T]`."""
    rows = leaf.reshape(*leaf.shape[: axes + 1], -1).astype(np.float64)
    with np.errstate(invalid="ignore"):
        rows = rows - rows.mean(axis=axes, keepdims=True)
        return rows @ np.swapaxes(rows, -1, -2)
