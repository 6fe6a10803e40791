"""Signal propagation: the singular values of a network's input-output Jacobian."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket.decompositions import matrix_by_matrix
from jaxticket.errors import TicketError
from jaxticket.types import ModelState, Params


class Isometry(NamedTuple):
    """How near a network is to dynamical isometry, where all singular values are 1.

    Attributes:
      mean: of all singular values of all examples, the mean JSV, `float[]`.
      condition_number: s_max / s_min, the median over examples, `float[]`; infinite if most
        Jacobians lack rank.
      spectrum: the mean over examples of each singular value, from the largest, `float[k]`.
    """

    mean: Float[Array, ""]
    condition_number: Float[Array, ""]
    spectrum: Float[Array, " k"]


def jacobian_singular_values(
    apply: Callable[..., Any],
    params: Params,
    model_state: ModelState,
    inputs: Any,
    *,
    at_a_time: int = 64,
) -> Float[Array, "n k"]:
    """Gives the singular values of ∂f(x; θ) / ∂x at every example.

    The network is that of evaluation: no dropout, running batch statistics. There an example's
    outputs depend on no other example, so one pass back for each output serves all of a batch. In
    training mode this would not be so.

    Args:
      apply: of a `Model` or an `Objective`.
      params: θ of one network, zero where pruned.
      model_state: that belongs to them.
      inputs: `float[n, ...]`, what the network is given: `objective.prepare(examples)`.
      at_a_time: examples whose Jacobians, C x D numbers each, are in memory together.

    Returns:
      `float[n, min(C, D)]` for C outputs and D inputs, each row from the largest.

    Raises:
      TicketError: for inputs that are no floats, or fewer than one at a time.

    Example:
      >>> linear = lambda params, state, x, *, train: (x @ params["w"], state)
      >>> w = {"w": jnp.array([[3.0, 0.0], [0.0, 0.5], [0.0, 0.0]])}
      >>> jacobian_singular_values(linear, w, {}, jnp.ones((2, 3))).tolist()
      [[3.0, 0.5], [3.0, 0.5]]

    Source: "Jacobian singular values" of 2105.05916, section 3 and its code (unverified); from
    1711.04735.
    """
    inputs = jnp.asarray(inputs)
    if not jnp.issubdtype(inputs.dtype, jnp.floating):
        raise TicketError(
            f"inputs: got {inputs.dtype}, expected floats, by which a network can be "
            "differentiated; give objective.prepare(examples)"
        )
    if at_a_time < 1:
        raise TicketError(f"at_a_time: got {at_a_time}, expected at least 1 example")
    size = min(at_a_time, len(inputs))
    chunks = math.ceil(len(inputs) / size)
    # The last chunk is filled up with examples that are dropped again.
    places = jnp.arange(chunks * size, dtype=jnp.int32) % len(inputs)
    grouped = inputs[places].reshape(chunks, size, *inputs.shape[1:])
    values = jax.lax.map(lambda x: _of_batch(apply, params, model_state, x), grouped)
    return values.reshape(chunks * size, -1)[: len(inputs)]


def jacobian_summary(singular_values: Float[Array, "n k"]) -> Isometry:
    """Sums up the singular values of many examples.

    Args:
      singular_values: from `jacobian_singular_values`.

    Returns:
      Mean, condition number and spectrum.

    Example:
      >>> found = jacobian_summary(jnp.array([[3.0, 0.5], [5.0, 1.5]]))
      >>> float(found.mean), round(float(found.condition_number), 3), found.spectrum.tolist()
      (2.5, 4.667, [4.0, 1.0])

    Source: the mean is that of 2105.05916; the median of condition numbers, which single examples
    without rank do not make infinite, is our choice.
    """
    largest, smallest = singular_values[:, 0], singular_values[:, -1]
    # Of a Jacobian that is zero both are: it lacks rank, whatever 0 / 0 is.
    conditions = jnp.where(smallest > 0, largest / smallest, jnp.inf)
    return Isometry(
        mean=jnp.mean(singular_values),
        condition_number=jnp.median(conditions),
        spectrum=jnp.mean(singular_values, axis=0),
    )


def _of_batch(
    apply: Callable[..., Any], params: Params, model_state: ModelState, inputs: Array
) -> Float[Array, "n k"]:
    def outputs_of(inputs: Array) -> Array:
        outputs, _ = apply(params, model_state, inputs, train=False)
        return outputs.reshape(len(inputs), -1)

    outputs, back = jax.vjp(outputs_of, inputs)
    classes = jnp.eye(outputs.shape[1], dtype=outputs.dtype)
    pull = lambda one: back(jnp.broadcast_to(one[None], outputs.shape))[0]  # noqa: E731
    rows = jax.vmap(pull, out_axes=1)(classes)
    jacobians = rows.reshape(*rows.shape[:2], -1).astype(jnp.float32)
    return jax.vmap(_singular_values)(jacobians)


_singular_values = matrix_by_matrix(lambda matrix: jnp.linalg.svd(matrix, compute_uv=False))
