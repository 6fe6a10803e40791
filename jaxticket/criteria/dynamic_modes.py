"""Dynamic mode decomposition: the linear dynamics that a few snapshots of a large state follow."""

import functools
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Int

from jaxticket.decompositions import matrix_by_matrix
from jaxticket.errors import TicketError
from jaxticket.precision import at_least_single
from jaxticket.types import PyTree

Snapshots: TypeAlias = PyTree
"""States along axis 0, the oldest first: `float[T, ...]` leaves."""


class Modes(NamedTuple):
    """Modes φ_k of a trajectory: x_t ≈ Σ_k a_k λ_k^(t − T + 1) φ_k, scaled so that all a_k = 1.

    Sorted by nothing; those that the snapshots do not determine have eigenvalue 0 and
    coefficients 0.

    Attributes:
      eigenvalues: λ_k, `complex[T - 1]`.
      coefficients: φ_k = Σ_j c_kj b_j as a combination of the first snapshot and the differences
        between neighbours, b = (x_0, x_1 − x_0, ...), `complex[T - 1, T]`.
    """

    eigenvalues: Complex[Array, " modes"]
    coefficients: Complex[Array, "modes snapshots"]


def dynamic_modes(
    snapshots: Snapshots,
    taken: Int[Array, ""] | int | None = None,
    *,
    rank: int | None = None,
    tolerance: float | None = None,
) -> Modes:
    """Decomposes a trajectory into modes: eigenvectors of the A with x_{t+1} ≈ A x_t.

    A = Y X⁺ maps the columns of X to those of Y; its modes with nonzero eigenvalues are
    φ = λ⁻¹ Y V S⁻¹ w with X = U S Vᵀ and the eigenvectors w of Uᵀ A U = Uᵀ Y V S⁻¹. All that is
    needed of the states are their inner products, a T × T matrix.

    The pairs are not (x_t, x_{t+1}) but (x_0, x_1) and (x_{t+1} − x_t, x_{t+2} − x_{t+1}), each
    divided by the length of its first part: the same A where X has full column rank, since both
    are multiplied from the right by one matrix. Weights move by a thousandth of their length
    between snapshots, and float32 could not tell the singular values of such an X apart from the
    rounding of the largest one.

    Args:
      snapshots: T ≥ 2 states; those of lower precision than float32 are raised to it.
      taken: how many of them there are, if not all; the others are not read. May be traced.
      rank: how many singular values are kept at most.
      tolerance: singular values below it are dropped, relative to the largest; √(T ε) if `None`,
        below which a Gram matrix in a precision of ε knows nothing.

    Returns:
      The modes, each scaled by its amplitude in the last snapshot: Σ_k φ_k is that snapshot,
      projected on the range of X.

    Raises:
      TicketError: for fewer than two snapshots or a rank below 1.

    Example:
      >>> x = jnp.array([[1 + 0.5**t, 3 - 2 * 0.5**t] for t in range(3)])
      >>> jnp.round(jnp.sort(jnp.abs(dynamic_modes({"w": x}).eigenvalues)), 3).tolist()
      [0.5, 1.0]

    Source: exact dynamic mode decomposition, Tu et al. 2014, algorithm 2 (unverified), as
    2110.14856 uses it; the pairs of differences are this project's own.
    """
    length = jax.tree.leaves(snapshots)[0].shape[0]
    _check(length, rank)
    return _modes(snapshots, jnp.asarray(length if taken is None else taken), rank, tolerance)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _modes(snapshots: Snapshots, taken: Array, rank: int | None, tolerance: float | None) -> Modes:
    length = jax.tree.leaves(snapshots)[0].shape[0]
    gram = _gram(_basis(snapshots, taken))
    scale = _scale(gram, jnp.arange(length - 1) < taken - 1)
    images = _images(gram.shape[0], gram.dtype) * scale[None]
    # XᵀX, XᵀY and Xᵀ x_T, X being the first T − 1 of the basis and x_T its sum, all scaled.
    squares = scale[:, None] * gram[:-1, :-1] * scale[None]
    crossed = scale[:, None] * _dot(gram[:-1], images)
    last = scale * jnp.sum(gram[:-1], axis=1)
    values, vectors = _eigh(squares)
    inverse = _inverse_roots(values, rank, tolerance, length)
    whitened = vectors * inverse[None]
    eigenvalues, eigenvectors = _eig(_dot(whitened.T, _dot(crossed, whitened)))
    there = jnp.abs(eigenvalues) > 10 * jnp.finfo(gram.dtype).eps
    # Not solved for: eigenvectors may coincide, and what is left then is still a least square.
    amplitudes = _dot(
        _pseudoinverse(eigenvectors), _dot(whitened.T, last).astype(eigenvectors.dtype)
    )
    weights = jnp.where(there, amplitudes / jnp.where(there, eigenvalues, 1), 0)
    combined = _dot(_dot(images, whitened).astype(eigenvectors.dtype), eigenvectors)
    return Modes(jnp.where(there, eigenvalues, 0), (combined * weights[None]).T)


@jax.jit
def combine(snapshots: Snapshots, coefficients: Complex[Array, " snapshots"]) -> PyTree:
    """Gives a mode, or a sum of modes, as a state: Σ_j c_j b_j.

    Args:
      snapshots: as given to `dynamic_modes`, finite also where they were not taken.
      coefficients: a row of `Modes.coefficients`, or a combination of rows.

    Returns:
      `complex[...]` leaves, `complex64` where snapshots have a lower precision than float32 too.

    Example:
      >>> snapshots = {"w": jnp.array([[1.0], [3.0]])}
      >>> combine(snapshots, jnp.array([1.0, 0.5], jnp.complex64))["w"].tolist()
      [(2+0j)]
    """
    parts = jnp.real(coefficients), jnp.imag(coefficients)

    def combined(leaf: Array) -> Array:
        leaf = at_least_single(leaf)
        basis = jnp.concatenate([leaf[:1], jnp.diff(leaf, axis=0)])
        flat = basis.reshape(leaf.shape[0], -1)
        real, imaginary = (_dot(part.astype(leaf.dtype), flat) for part in parts)
        return jax.lax.complex(real, imaginary).reshape(leaf.shape[1:])

    return jax.tree.map(combined, snapshots)


# GPUs would round the factors of inner products to ten bits otherwise.
_dot = functools.partial(jnp.matmul, precision="highest")


_eigh = matrix_by_matrix(jnp.linalg.eigh)
_eig = matrix_by_matrix(jnp.linalg.eig)
_pseudoinverse = matrix_by_matrix(jnp.linalg.pinv)


def _check(length: int, rank: int | None) -> None:
    if length < 2:
        raise TicketError(f"dynamic_modes: got {length} snapshots, expected at least 2")
    if rank is not None and rank < 1:
        raise TicketError(f"dynamic_modes: got rank {rank}, expected at least 1")


def _basis(snapshots: Snapshots, taken: Any) -> list[Array]:
    """Gives x_0 and the differences that were taken as rows, `float[T, n]` a leaf."""

    def rows(leaf: Array) -> Array:
        leaf = at_least_single(leaf).reshape(leaf.shape[0], -1)
        number = jnp.arange(leaf.shape[0])[1:, None]
        steps = jnp.where(number < taken, jnp.diff(leaf, axis=0), 0)
        return jnp.concatenate([leaf[:1], steps])

    return [rows(leaf) for leaf in jax.tree.leaves(snapshots)]


def _gram(basis: list[Array]) -> Float[Array, "snapshots snapshots"]:
    products = [_dot(rows, rows.T) for rows in basis]
    return sum(products[1:], start=products[0])


def _scale(gram: Array, valid: Array) -> Array:
    """Gives one over the length of the first part of every pair, 0 for pairs without one."""
    squares = jnp.diagonal(gram)[:-1]
    valid = valid & (squares > 0)
    return jnp.where(valid, jax.lax.rsqrt(jnp.where(valid, squares, 1)), 0)


def _images(length: int, dtype: Any) -> Array:
    """Gives the second parts of the pairs as combinations of the basis, in columns."""
    following = jnp.eye(length, length - 1, -1, dtype)
    return following.at[0, 0].set(1)


def _inverse_roots(values: Array, rank: int | None, tolerance: float | None, length: int) -> Array:
    """Gives one over the singular values that are kept, 0 for the others; ascending as given."""
    square = length * jnp.finfo(values.dtype).eps if tolerance is None else tolerance**2
    kept = values > jnp.maximum(square * values[-1], 0)
    if rank is not None:
        kept &= jnp.arange(values.size) >= values.size - rank
    return jnp.where(kept, jax.lax.rsqrt(jnp.where(kept, values, 1)), 0)
