"""Eigenvalues and spectral densities from tridiagonal matrices, on the host in float64."""

import math
from typing import Any, NamedTuple

import numpy as np

from jaxticket.analysis.curvature.lanczos import Tridiagonal
from jaxticket.errors import TicketError
from jaxticket.types import Numbers


class Ritz(NamedTuple):
    """Approximate eigenvalues; leading axes are networks and starting directions.

    Attributes:
      values: `float64[..., steps]` in increasing order, NaN beyond what was reached; all of them
        NaN where a product was not finite.
      weights: `float64[..., steps]`, the square of each eigenvector's share of the starting
        direction: a quadrature, which sums to 1; 0 beyond what was reached.
      errors: `float64[..., steps]`: within so much of each value lies an eigenvalue.
      vectors: `float64[..., steps, steps]`, eigenvectors of T in columns.
    """

    values: np.ndarray
    weights: np.ndarray
    errors: np.ndarray
    vectors: np.ndarray


def ritz(tridiagonal: Tridiagonal) -> Ritz:
    """Diagonalises what Lanczos found: T = S Λ Sᵀ.

    The error is that of the residual, |β_k s_ki|, which bounds how far the nearest eigenvalue of
    the matrix is; that of float32 products, about 1e-6 of the largest, comes on top.

    Args:
      tridiagonal: from `lanczos.lanczos`; leading axes are kept.

    Returns:
      Eigenvalues with their weights and errors.

    Example:
      >>> t = Tridiagonal(np.array([2.0, 2.0]), np.array([1.0, 0.0]), np.array(2), None)
      >>> found = ritz(t)
      >>> found.values.round(6).tolist(), found.weights.round(6).tolist()
      ([1.0, 3.0], [0.5, 0.5])

    Source: Golub and Welsch 1969 (unverified).
    """
    diagonal = np.asarray(tridiagonal.diagonal, np.float64)
    off = np.asarray(tridiagonal.off_diagonal, np.float64)
    steps = diagonal.shape[-1]
    beyond = np.arange(steps) >= np.asarray(tridiagonal.reached)[..., None]
    # What was not reached is put above all that was, where it cannot mix with it.
    above = 1 + 2 * np.abs(diagonal).max(-1, keepdims=True) + 4 * off.max(-1, keepdims=True)
    places = np.arange(steps)
    matrices = np.zeros((*diagonal.shape, steps))
    matrices[..., places, places] = np.where(beyond, above, diagonal)
    matrices[..., places[:-1], places[1:]] = off[..., :-1]
    lost = np.asarray(~np.isfinite(matrices).all((-1, -2), keepdims=True))
    # The lower triangle is what eigh reads; of what is not finite it would raise.
    values, vectors = np.linalg.eigh(np.where(lost, 0, np.swapaxes(matrices, -1, -2)))
    values, vectors = np.where(lost[..., 0], np.nan, values), np.where(lost, np.nan, vectors)
    residual = np.where(beyond.any(-1), 0, off[..., -1])[..., None]
    return Ritz(
        values=np.where(beyond, np.nan, values),
        weights=np.where(beyond, 0, vectors[..., 0, :] ** 2),
        errors=np.abs(residual * vectors[..., -1, :]),
        vectors=vectors,
    )


def top_eigenvalues(found: Ritz, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Gives the largest eigenvalues, from the largest on, with their errors.

    Args:
      found: from `ritz`.
      number: how many, at most as many as there were steps.

    Returns:
      `float64[..., number]` twice; NaN where the subspace has fewer dimensions.

    Raises:
      TicketError: for more than there were steps, or fewer than one.

    Example:
      >>> t = Tridiagonal(np.array([2.0, 2.0]), np.array([1.0, 0.0]), np.array(2), None)
      >>> top_eigenvalues(ritz(t), 1)[0].round(6).tolist()
      [3.0]
    """
    steps = found.values.shape[-1]
    if not 1 <= number <= steps:
        raise TicketError(
            f"top_eigenvalues: got {number} of {steps} steps of Lanczos, expected 1 to {steps}; "
            "take more steps, at least twice as many as eigenvalues"
        )
    # NaN sorts last, so what was not reached goes to the end of the order.
    order = np.argsort(-found.values, axis=-1)[..., :number]
    values, errors = (np.take_along_axis(of, order, -1) for of in (found.values, found.errors))
    return values, errors


def eigenvectors(found: Ritz, basis: Any, number: int) -> np.ndarray:
    """Gives the eigenvectors of the largest eigenvalues, in their order.

    Args:
      found: of one network and one starting direction.
      basis: `float[steps, P]`, from `lanczos` with `keep_basis`.
      number: how many.

    Returns:
      `float64[number, P]` over the flattened params, of length 1.

    Example:
      >>> t = Tridiagonal(np.array([2.0, 2.0]), np.array([1.0, 0.0]), np.array(2), np.eye(2))
      >>> abs(eigenvectors(ritz(t), t.basis, 1)).round(4).tolist()
      [[0.7071, 0.7071]]
    """
    order = np.argsort(-found.values)[:number]
    return found.vectors[:, order].T @ np.asarray(basis, np.float64)


def spectral_density(found: Ritz, grid: np.ndarray, width: float) -> np.ndarray:
    """Gives the density of eigenvalues as Gaussians: mean over directions of Σ_i w_i N(λ_i, σ²).

    Stochastic Lanczos quadrature: its moments up to 2 · steps − 1 are those of the starting
    directions exactly, of the matrix in their mean. The density integrates to 1 over all numbers;
    over a grid that ends more than 5 σ beyond all values, as `density_grid` does, to 1 but for
    1e-6 where the grid is finer than σ.

    Args:
      found: of several starting directions, the last axis but one, `[..., directions, steps]`.
      grid: `float64[points]`.
      width: σ, in the unit of the eigenvalues.

    Returns:
      `float64[..., points]`.

    Raises:
      TicketError: for a width that is not positive.

    Example:
      >>> t = Tridiagonal(np.array([[2.0]]), np.array([[0.0]]), np.array([1]), None)
      >>> spectral_density(ritz(t), np.array([2.0]), 1.0).round(4).tolist()  # 1 / √(2π)
      [0.3989]

    Source: 1901.10159, section 2 (unverified).
    """
    if not width > 0:
        raise TicketError(f"spectral_density: got width {width}, expected more than 0")
    values, weights = np.nan_to_num(found.values), found.weights
    total = np.zeros((*values.shape[:-2], len(grid)))
    for place, at in enumerate(grid):
        bumps = np.exp(-0.5 * ((at - values) / width) ** 2)
        total[..., place] = (weights * bumps).sum(-1).mean(-1)
    return total / (width * math.sqrt(2 * math.pi))


def density_grid(found: Ritz, width: float, points: int) -> np.ndarray:
    """Gives evenly spaced places that a density of this width fits on.

    Args:
      found: of any number of networks, which then share the grid.
      width: σ.
      points: how many.

    Returns:
      `float64[points]`, from 6 σ below the least value to 6 σ above the greatest.

    Example:
      >>> t = Tridiagonal(np.array([2.0]), np.array([0.0]), np.array(1), None)
      >>> density_grid(ritz(t), 0.5, 3).tolist()
      [-1.0, 2.0, 5.0]
    """
    low, high = np.nanmin(found.values), np.nanmax(found.values)
    return np.linspace(low - 6 * width, high + 6 * width, points)


def share_above(found: Ritz, threshold: Any) -> Numbers:
    """Estimates the share of eigenvalues above a threshold: the mean of Σ_{λ_i > t} w_i.

    Args:
      found: of several starting directions, `[..., directions, steps]`.
      threshold: t, `float[]` or `float[...]`.

    Returns:
      `float64[...]`.

    Example:
      >>> t = Tridiagonal(np.array([[2.0, 2.0]]), np.array([[1.0, 0.0]]), np.array([2]), None)
      >>> share_above(ritz(t), 2.0).round(6).tolist()
      0.5
    """
    above = found.values > np.asarray(threshold)[..., None, None]
    return np.where(above, found.weights, 0).sum(-1).mean(-1)
