"""Products of a loss's curvature with a vector, in the subspace that a mask leaves."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxticket import masks
from jaxticket.analysis.losses import Loss
from jaxticket.criteria.curvature import Product
from jaxticket.errors import TicketError
from jaxticket.types import Batch, Mask, ModelState, Objective, Params


def hessian_product(loss: Loss, params: Params, mask: Mask) -> Product:
    """Makes the product with the Hessian in the masked subspace: v ↦ m ⊙ H(θ) (m ⊙ v).

    One product costs about as much as four evaluations of the loss; what memory holds at a time
    is what the loss computes at a time (`losses.loss_over`).

    Args:
      loss: `loss(params) -> float[]`, twice differentiable where it is differentiated.
      params: θ.
      mask: which coordinates are free, as in `analysis.subspace`.

    Returns:
      `product(vector) -> vector`, both of the params' structure.

    Example:
      >>> loss = lambda params: params["w"][0] ** 2 * params["w"][1]
      >>> theta, free = {"w": jnp.array([2.0, 3.0])}, {"w": jnp.array([True, False])}
      >>> hessian_product(loss, theta, free)({"w": jnp.ones(2)})["w"].tolist()
      [6.0, 0.0]

    Source: Pearlmutter 1994 (unverified).
    """
    gradient = jax.grad(loss)

    def product(vector: Params) -> Params:
        return masks.apply(jax.jvp(gradient, (params,), (masks.apply(vector, mask),))[1], mask)

    return product


def fisher_product(
    objective: Objective,
    params: Params,
    model_state: ModelState,
    examples: Batch,
    mask: Mask,
    *,
    empirical: bool = False,
    at_a_time: int = 1_000,
) -> Product:
    """Makes the product with the Fisher information: v ↦ m ⊙ mean_i J_iᵀ B_i J_i (m ⊙ v).

    J_i is the derivative of example i's outputs. Of the true Fisher, B_i is the second derivative
    of the loss by the outputs (the Gauss-Newton matrix): where the loss is the negative log
    likelihood of a family whose natural parameters the outputs are, such as the cross-entropy of
    logits, it is the covariance of the score under the network's own predictions. Of the
    empirical Fisher, B_i = r_i r_iᵀ with r_i the loss's first derivative under the labels that
    are given. Neither has a negative eigenvalue where the loss is convex in the outputs. The
    network is that of evaluation: no dropout, running batch statistics, as single examples have
    no batch.

    Args:
      objective: of a learner.
      params: θ of one network.
      model_state: that belongs to them.
      examples: arrays along axis 0.
      mask: which coordinates are free.
      empirical: whether labels are those given.
      at_a_time: examples that are in memory together; it must divide their number.

    Returns:
      `product(vector) -> vector`, both of the params' structure.

    Raises:
      TicketError: for chunks that do not divide the examples.

    Example:
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> given = squares, {"w": jnp.float32(3.0)}, {}, jnp.ones(2), {"w": None}
      >>> one = {"w": jnp.float32(1.0)}
      >>> float(fisher_product(*given)(one)["w"])  # d²(y²)/dy²
      2.0
      >>> float(fisher_product(*given, empirical=True)(one)["w"])  # (2 · 3)²
      36.0

    Source: 1412.1193, sections 8 and 9 (unverified).
    """
    number = len(jax.tree.leaves(examples)[0])
    size = min(at_a_time, number)
    if size < 1 or number % size:
        raise TicketError(
            f"fisher_product: got {number} examples, {at_a_time} at a time, expected a divisor; "
            "give fewer examples, or another number at a time"
        )
    cut = lambda leaf: jnp.asarray(leaf).reshape(number // size, size, *leaf.shape[1:])  # noqa: E731
    chunks = jax.tree.map(cut, examples)

    def of_chunk(vector: Params, chunk: Batch) -> Params:
        inputs = objective.prepare(chunk)

        def outputs_of(params: Params) -> Array:
            return objective.apply(params, model_state, inputs, train=False)[0]

        def loss(outputs: Array) -> Array:
            return jnp.sum(objective.loss(outputs, chunk))

        outputs, moved = jax.jvp(outputs_of, (params,), (vector,))
        slope, curved = jax.jvp(jax.grad(loss), (outputs,), (moved,))
        if empirical:
            axes = tuple(range(1, slope.ndim))
            curved = slope * jnp.sum(slope * moved, axes, keepdims=True)
        return jax.vjp(outputs_of, params)[1](curved)[0]

    def product(vector: Params) -> Params:
        vector = masks.apply(vector, mask)
        add = lambda total, chunk: (jax.tree.map(jnp.add, total, of_chunk(vector, chunk)), None)  # noqa: E731
        total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, params), chunks)
        return masks.apply(jax.tree.map(lambda leaf: leaf / number, total), mask)

    return product
