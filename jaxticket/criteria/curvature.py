"""Criteria on the second-order change of the loss, from a diagonal of its curvature."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import PRNGKeyArray

from jaxticket.criteria.base import Criterion, Evidence, check_reads, stateless
from jaxticket.criteria.saliency import NEEDED, Statistics, mean_loss
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.types import Params, Scores

Product = Callable[[Params], Params]
"""A matrix as its product with a vector, both of the params' structure."""


def fisher_diagonal() -> Criterion:
    """Scores by the empirical Fisher information: ½ θ² F, with F = mean_i (∂L_i/∂θ)².

    The loss's second-order change without a weight where its gradient vanishes, the Hessian being
    approximated by the squared gradients of single examples under their own labels. One example
    is differentiated at a time, so memory holds one gradient more than the scores. Batch
    normalisation uses its running statistics and dropout is off, since one example has no batch.

    Returns:
      The criterion; it reads `examples` and `objective`.

    Example:
      >>> from jaxticket.types import Objective
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> x, params = jnp.array([1.0, 2.0]), {"w": jnp.float32(3.0)}
      >>> evidence = Evidence({}, params, jax.random.key(0), None, {}, x, squares)
      >>> float(fisher_diagonal().score((), evidence)["w"])  # ½ 3² · ((2·3)² + (2·4·3)²) / 2
      1377.0

    Source: 1801.05787, section 2.1 (section unverified).
    """

    def score(evidence: Evidence) -> Scores:
        fisher = mean_square_gradient("fisher_diagonal", evidence)
        return jax.tree.map(lambda p, f: 0.5 * p * p * f, evidence.final, fisher)

    return stateless(score, reads=NEEDED, name="fisher_diagonal")


def hessian_diagonal(
    probes: int | None = None, chunk: int = 32, statistics: Statistics = "running"
) -> Criterion:
    """Scores by optimal brain damage: ½ θ² diag(H), with H = ∂²L/∂θ².

    The loss's second-order change without a weight where its gradient vanishes; negative where
    the loss curves down. Exact, it takes one product with H for each weight of the network, which
    is for small networks. With `probes` the diagonal is estimated as the mean of z ⊙ H z over
    random signs z: unbiased, with the variance Σ_{j≠k} H_kj² / probes at weight k.

    Args:
      probes: how many random vectors; `None` for the exact diagonal.
      chunk: how many products with H are computed at a time for the exact diagonal.
      statistics: by which batch normalisation normalises.

    Returns:
      The criterion; it reads `examples` and `objective`, and draws from the key with `probes`.

    Raises:
      TicketError: for fewer than one probe or a chunk of none.

    Example:
      >>> from jaxticket.types import Objective
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> evidence = Evidence(
      ...     {}, {"w": jnp.float32(3.0)}, jax.random.key(0), None, {}, jnp.ones(2), squares
      ... )
      >>> float(hessian_diagonal().score((), evidence)["w"])  # ½ 3² · d²(w²)/dw²
      9.0

    Source: LeCun, Denker and Solla 1989, section 2 (unverified); Bekas et al. 2007 for the
    estimate (unverified).
    """
    for name, number in (("probes", probes), ("chunk", chunk)):
        if number is not None and number < 1:
            raise TicketError(f"hessian_diagonal: got {name} {number}, expected at least 1")

    def score(evidence: Evidence) -> Scores:
        gradient = jax.grad(mean_loss("hessian_diagonal", evidence, statistics))

        def product(vector: Params) -> Params:
            return jax.jvp(gradient, (evidence.final,), (vector,))[1]

        if probes is None:
            diagonal = exact_diagonal(product, evidence.final, chunk)
        else:
            key = derive(evidence.key, "probes")
            diagonal = estimated_diagonal(product, evidence.final, key, probes)
        return jax.tree.map(lambda p, h: 0.5 * p * p * h, evidence.final, diagonal)

    return stateless(score, reads=NEEDED, name="hessian_diagonal")


def exact_diagonal(product: Product, params: Params, chunk: int) -> Params:
    """Gives the diagonal of a matrix by its products with the unit vectors.

    Args:
      product: the matrix, P × P.
      params: the structure of its vectors, P numbers.
      chunk: how many products are computed at a time.

    Returns:
      The diagonal, of the params' structure.

    Example:
      >>> exact_diagonal(lambda v: {"w": v["w"] * jnp.arange(3.0)}, {"w": jnp.ones(3)}, 2)
      {'w': Array([0., 1., 2.], dtype=float32)}
    """
    flat, unravel = ravel_pytree(params)
    places = jnp.arange(flat.size, dtype=jnp.int32)

    def entry(place: jax.Array) -> jax.Array:
        unit = (places == place).astype(flat.dtype)
        return ravel_pytree(product(unravel(unit)))[0][place]

    return unravel(jax.lax.map(entry, places, batch_size=chunk))


def estimated_diagonal(product: Product, params: Params, key: PRNGKeyArray, probes: int) -> Params:
    """Estimates the diagonal of a matrix: mean of z ⊙ A z over vectors z of random signs.

    Args:
      product: the matrix A, P × P.
      params: the structure of its vectors, P numbers.
      key: a typed key.
      probes: how many vectors.

    Returns:
      The estimate, of the params' structure; exact where A is diagonal.

    Example:
      >>> product = lambda v: {"w": v["w"] * jnp.arange(3.0)}
      >>> estimated_diagonal(product, {"w": jnp.ones(3)}, jax.random.key(0), 2)
      {'w': Array([0., 1., 2.], dtype=float32)}
    """
    flat, unravel = ravel_pytree(params)

    def add(total: Params, index: jax.Array) -> tuple[Params, None]:
        signs = unravel(jax.random.rademacher(derive(key, index), flat.shape, flat.dtype))
        seen = jax.tree.map(jnp.multiply, signs, product(signs))
        return jax.tree.map(jnp.add, total, seen), None

    zeros = jax.tree.map(jnp.zeros_like, params)
    total, _ = jax.lax.scan(add, zeros, jnp.arange(probes, dtype=jnp.int32))
    return jax.tree.map(lambda leaf: leaf / probes, total)


def mean_square_gradient(who: str, evidence: Evidence) -> Params:
    """Gives the mean over examples of the squared gradient of each one's loss.

    Args:
      who: whose it is, for messages.
      evidence: with `examples` and `objective`.

    Returns:
      mean_i (∂L_i/∂θ)², of the params' structure.

    Raises:
      TicketError: naming what the evidence lacks.
    """
    check_reads(who, NEEDED, evidence)
    objective, examples = evidence.objective, jax.tree.map(jnp.asarray, evidence.examples)
    assert objective is not None, "checked above"
    inputs = objective.prepare(examples)

    def loss(params: Params, one: Any) -> jax.Array:
        inputs, batch = jax.tree.map(lambda leaf: leaf[None], one)
        outputs, _ = objective.apply(params, evidence.model_state, inputs, train=False)
        return jnp.sum(objective.loss(outputs, batch))

    def add(total: Params, one: Any) -> tuple[Params, None]:
        gradient = jax.grad(loss)(evidence.final, one)
        return jax.tree.map(lambda t, g: t + g * g, total, gradient), None

    number = jax.tree.leaves(examples)[0].shape[0]
    total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, evidence.final), (inputs, examples))
    return jax.tree.map(lambda leaf: leaf / number, total)
