"""Traces of matrices that are known by their products, with their standard errors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxticket import masks
from jaxticket.analysis.projection import dot
from jaxticket.analysis.subspace import random_signs
from jaxticket.criteria.base import Evidence
from jaxticket.criteria.curvature import Product, mean_square_gradient
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.types import Batch, Mask, ModelState, Objective, Params


class Trace(NamedTuple):
    """An estimated trace.

    Attributes:
      mean: the estimate, `float[]`.
      standard_error: of the mean over probes, `float[]`; NaN with one probe.
      samples: zᵀ A z of each probe, `float[probes]`.
    """

    mean: Float[Array, ""]
    standard_error: Float[Array, ""]
    samples: Float[Array, " probes"]


def hutchinson(
    product: Product, params: Params, mask: Mask, key: PRNGKeyArray, probes: int
) -> Trace:
    """Estimates a trace by random signs: E zᵀ A z = tr A, for z of ±1 on the free coordinates.

    Unbiased, with the variance 2 Σ_{i≠j} A_ij² of one probe: a diagonal matrix is exact. The
    standard error is that of the mean of the probes, s / √n with n − 1 in s.

    Args:
      product: the matrix A, symmetric.
      params: the structure of its vectors.
      mask: which coordinates are free.
      key: a typed key.
      probes: how many vectors, one product each.

    Returns:
      The estimate with its standard error.

    Raises:
      TicketError: for fewer than one probe.

    Example:
      >>> product = lambda v: {"w": v["w"] * jnp.arange(3.0)}
      >>> found = hutchinson(product, {"w": jnp.ones(3)}, {"w": None}, jax.random.key(0), 4)
      >>> float(found.mean), float(found.standard_error)
      (3.0, 0.0)

    Source: Hutchinson 1990 (unverified).
    """
    if probes < 1:
        raise TicketError(f"hutchinson: got {probes} probes, expected at least 1")

    def sample(index: Array) -> Float[Array, ""]:
        signs = random_signs(derive(key, index), params, mask)
        return dot(signs, product(signs))

    samples = jax.lax.map(sample, jnp.arange(probes, dtype=jnp.int32))
    mean = jnp.mean(samples)
    spread = jnp.sum(jnp.square(samples - mean))
    # 0 / 0 for one probe: there is no error to be told from it.
    error = jnp.sqrt(spread / jnp.float32(probes - 1) / probes)
    return Trace(mean, error, samples)


def empirical_fisher_trace(
    objective: Objective, params: Params, model_state: ModelState, examples: Batch, mask: Mask
) -> Float[Array, ""]:
    """Gives the trace of the empirical Fisher information: mean_i ‖m ⊙ ∂L_i/∂θ‖², exactly.

    One example is differentiated at a time, with running batch statistics and without dropout.
    The trace of the true Fisher is `hutchinson` of `products.fisher_product`.

    Args:
      objective: of a learner.
      params: θ of one network.
      model_state: that belongs to them.
      examples: arrays along axis 0.
      mask: which coordinates are free.

    Returns:
      `float[]`.

    Example:
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> x, theta = jnp.array([1.0, 2.0]), {"w": jnp.float32(3.0)}
      >>> float(empirical_fisher_trace(squares, theta, {}, x, {"w": None}))  # (6² + 24²) / 2
      306.0

    Source: 1412.1193, section 11 (unverified).
    """
    unused = jax.random.key(0)  # nothing is drawn
    evidence = Evidence({}, params, unused, None, model_state, examples, objective)
    diagonal = masks.apply(mean_square_gradient("empirical_fisher_trace", evidence), mask)
    leaves = jax.tree.leaves(diagonal)
    return sum((jnp.sum(leaf) for leaf in leaves), start=jnp.float32(0))
