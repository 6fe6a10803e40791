"""Lanczos with full reorthogonalisation: a large symmetric matrix as a small tridiagonal one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxticket.analysis.subspace import dimension, random_direction
from jaxticket.criteria.curvature import Product
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.types import Mask, Params

BREAKDOWN = 1e-6
"""A residual below this share of the matrix's size so far is rounding, in float32."""


class Tridiagonal(NamedTuple):
    """What Lanczos found of a matrix A: A Q ≈ Q T, with orthonormal columns of Q.

    Attributes:
      diagonal: of T, `float[steps]`; 0 from `reached` on.
      off_diagonal: of T, `float[steps]`; entry j couples the steps j and j + 1, so the last one
        is the residual; 0 where the iteration was started anew.
      reached: how many steps there was a direction left for, min(steps, d), `int32[]`.
      basis: Qᵀ, `float[steps, P]` over the flattened params; `None` if it was not asked for.
    """

    diagonal: Float[Array, " steps"]
    off_diagonal: Float[Array, " steps"]
    reached: Int[Array, ""]
    basis: Any


def lanczos(
    product: Product,
    params: Params,
    mask: Mask,
    key: PRNGKeyArray,
    steps: int,
    *,
    keep_basis: bool = False,
) -> Tridiagonal:
    """Runs Lanczos from a random direction in the masked subspace.

    Every new direction is made orthogonal to all before it, twice, so that no eigenvalue comes
    back as a copy. Where the residual is rounding (the span is invariant: breakdown) the iteration
    starts anew from a random direction orthogonal to the span, with an entry of 0 off the
    diagonal: eigenvalues that are multiple are then found as often as they are, and the
    quadrature of the first direction stays exact, since it does not reach the new block. Once all
    d directions are used up, the rest is zero and `reached` is d.

    Memory holds `steps` vectors of P numbers; time is one product and 4 · steps · P multiplications
    a step.

    Args:
      product: the matrix, symmetric, zero outside the free coordinates; from
        `curvature.hessian_product` and the like.
      params: the structure of its vectors, float32 leaves.
      mask: which coordinates are free, as in `analysis.subspace`.
      key: a typed key.
      steps: how many.
      keep_basis: whether to give the basis back, for eigenvectors.

    Returns:
      The tridiagonal matrix, for `spectrum.ritz`.

    Raises:
      TicketError: for fewer than one step.

    Example:
      >>> product = lambda v: {"w": v["w"] * jnp.array([1.0, 4.0])}
      >>> given = {"w": jnp.ones(2)}, {"w": None}, jax.random.key(0)
      >>> found = lanczos(product, *given, steps=3)
      >>> int(found.reached), round(float(found.diagonal.sum()), 4)  # the trace
      (2, 5.0)

    Source: Lanczos 1950; Golub and Van Loan, "Matrix Computations", section 10.3 (unverified).
    That it starts anew after a breakdown so as to find multiple eigenvalues is our choice.
    """
    if steps < 1:
        raise TicketError(f"lanczos: got {steps} steps, expected at least 1")
    unravel = ravel_pytree(params)[1]
    reached = jnp.minimum(dimension(params, mask), steps)

    def draw(index: Any) -> Array:
        return ravel_pytree(random_direction(derive(key, index), params, mask))[0]

    first = draw(0)
    zeros = jnp.zeros((steps,), first.dtype)

    def step(index: Array, carry: Any) -> Any:
        basis, vector, diagonal, off_diagonal, size = carry
        basis = basis.at[index].set(vector)
        image = ravel_pytree(product(unravel(vector)))[0]
        entry = jnp.vdot(vector, image)
        residual = _orthogonal(image, basis)
        length = jnp.linalg.norm(residual)
        size = jnp.maximum(size, jnp.maximum(jnp.abs(entry), length))
        broken = length <= BREAKDOWN * size
        fresh = lambda: _unit(_orthogonal(draw(index + 1), basis))  # noqa: E731
        following = jax.lax.cond(broken, fresh, lambda: residual / length)
        last = index + 1 >= reached
        off = jnp.where(broken | (last & (reached < steps)), 0, length)
        done = diagonal.at[index].set(entry), off_diagonal.at[index].set(off)
        return basis, jnp.where(last, 0, following), *done, size

    carry = jnp.zeros((steps, first.size), first.dtype), first, zeros, zeros, jnp.float32(0)
    # The bound is traced, so that no work is done once all directions are used up.
    basis, _, diagonal, off_diagonal, _ = jax.lax.fori_loop(0, reached, step, carry)
    return Tridiagonal(diagonal, off_diagonal, reached, basis if keep_basis else None)


def _orthogonal(vector: Array, basis: Array) -> Array:
    """Takes what lies in the span of the basis's rows away; twice, since once leaves rounding."""
    for _ in range(2):
        vector = vector - basis.T @ (basis @ vector)
    return vector


def _unit(vector: Array) -> Array:
    return vector / jnp.linalg.norm(vector)
