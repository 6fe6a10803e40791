"""A term of the loss that repels a network from earlier solutions, or attracts it to them.

J_r(θ) = (λ_r / |Θ|) Σ_{θ_r ∈ Θ} cos²(θ ⊙ m, θ_r ⊙ m)

Θ are all earlier solutions of the same lineage; the last one alone is not enough, since two
successive ones then alternate. λ_r > 0 repels, λ_r < 0 attracts; the paper takes 2 and −1. The
cosine is one of whole networks, over all prunable weights, and the same for θ_r and −θ_r. m is the
mask of the network that trains: where masks are nested it is also what both keep, m ⊙ m_r. That
weights which are not prunable, such as biases, have no part in it is this project's choice.

Source: 2106.06955 (Maene, Li & Moens).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxticket.types import Mask, Params


class Repulsion(NamedTuple):
    """What the term of one network is made from; arrays, so that λ_r may be a population's axis.

    Attributes:
      directions: m ⊙ θ_r / ‖m ⊙ θ_r‖, `float32[K, ...]` leaves, zero in rows without a solution;
        `None` where a leaf is not prunable.
      factor: λ_r / |Θ|, `float32[]`, 0 without a solution.
    """

    directions: Params
    factor: Float[Array, ""]


def make_repulsion(
    optima: Params,
    mask: Mask,
    number: Int[Array, ""] | int,
    strength: Float[Array, ""] | float,
) -> Repulsion:
    """Makes the term from the solutions, of which later rows may be missing.

    The directions are kept and not the solutions, so that a step reads each of them once. At
    strength 0 all of them are zero: the term's gradient is then exactly zero, whatever the
    solutions are. A solution that is zero under the mask has no direction and adds nothing.

    Args:
      optima: θ_r, `float[K, ...]` leaves.
      mask: m, of the network that will train.
      number: |Θ|, `int32[]`, may be traced: rows from there on are not read.
      strength: λ_r, `float32[]`, may be traced.

    Returns:
      The term.

    Example:
      >>> optima = {"w": jnp.array([[0.0, 4.0, 9.0], [7.0, 7.0, 7.0]])}
      >>> mask = {"w": jnp.array([True, True, False])}
      >>> made = make_repulsion(optima, mask, 1, 2.0)
      >>> made.directions["w"].tolist(), made.factor.item()
      ([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], 2.0)

    Source: 2106.06955.
    """
    kept = jax.tree.map(
        lambda rows, m: None if m is None else jnp.where(m, rows, 0.0).astype(jnp.float32),
        optima,
        mask,
    )
    # Divided by the largest first, so that no square is too large or too small for a float32.
    largest = _by_row(jnp.maximum, lambda row: jnp.max(jnp.abs(row)), kept)
    scaled = jax.tree.map(lambda rows: _divided(rows, largest), kept)
    lengths = jnp.sqrt(_by_row(jnp.add, lambda row: jnp.sum(row**2), scaled))
    used = (jnp.arange(len(lengths)) < number) & (jnp.asarray(strength) != 0)

    def unit(rows: Array) -> Array:
        return jnp.where(_against(rows, used), _divided(rows, lengths), 0.0)

    factor = jnp.asarray(strength, jnp.float32) / jnp.maximum(jnp.float32(number), 1.0)
    return Repulsion(jax.tree.map(unit, scaled), jnp.where(number > 0, factor, 0.0))


def repellent_loss(repulsion: Repulsion, params: Params) -> Float[Array, ""]:
    """Computes J_r = (λ_r / |Θ|) Σ_r (θ · d_r)² / ‖θ‖², with the directions d_r.

    Args:
      repulsion: from `make_repulsion`.
      params: θ of one network, zero where pruned.

    Returns:
      J_r, `float32[]`, from 0 to λ_r; 0 for a network that is zero.

    Example:
      >>> mask = {"w": jnp.array([True, True])}
      >>> term = make_repulsion({"w": jnp.array([[1.0, 1.0]])}, mask, 1, 2.0)
      >>> round(repellent_loss(term, {"w": jnp.array([0.0, 5.0])}).item(), 4)
      1.0

    Source: 2106.06955.
    """

    def dot(leaf: Array, rows: Array | None) -> Array | None:
        # As exact as float32 is, also where an accelerator would round products to less.
        return None if rows is None else jnp.tensordot(rows, leaf, leaf.ndim, precision="highest")

    def square(leaf: Array, rows: Array | None) -> Array | None:
        return None if rows is None else jnp.sum(leaf**2)

    total = lambda part: jax.tree.reduce(  # noqa: E731
        jnp.add, jax.tree.map(part, params, repulsion.directions)
    )
    length = total(square)
    # A network that is zero has no direction; divided by 1 its gradient is zero and not NaN.
    return repulsion.factor * jnp.sum(total(dot) ** 2) / jnp.where(length == 0, 1.0, length)


def _by_row(combine: Any, of_row: Any, tree: Params) -> Float[Array, " K"]:
    return jax.tree.reduce(combine, jax.tree.map(jax.vmap(of_row), tree))


def _divided(rows: Array, by: Array) -> Array:
    """Divides each row by a number of its own; a zero row stays zero, a NaN stays a NaN."""
    return rows / _against(rows, jnp.where(by == 0, 1.0, by))


def _against(rows: Array, each: Array) -> Array:
    return each.reshape(-1, *(1,) * (rows.ndim - 1))
