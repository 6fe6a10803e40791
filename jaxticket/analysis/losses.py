"""The mean loss over a set of examples as a function of params alone, in chunks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxticket.criteria.base import Evidence
from jaxticket.criteria.saliency import Statistics, mean_loss
from jaxticket.errors import TicketError
from jaxticket.types import Batch, ModelState, Objective, Params

Loss = Callable[[Params], Float[Array, ""]]
"""`loss(params) -> float[]`, what instruments of geometry differentiate, climb or bound."""


def loss_over(
    objective: Objective | None,
    model_state: ModelState,
    examples: Batch,
    *,
    key: PRNGKeyArray,
    at_a_time: int = 1_000,
    statistics: Statistics = "running",
) -> Loss:
    """Gives the mean loss over examples as a function of params: L(θ) = mean_i L_i(θ).

    It is the sum over chunks, each recomputed where a derivative goes back through it, so that
    memory holds what the network computes for one chunk, in second derivatives too. A last chunk
    that is shorter counts by its size.

    Args:
      objective: of a learner.
      model_state: of one network.
      examples: arrays along axis 0.
      key: a typed key, for dropout, which is on only with the statistics `batch`.
      at_a_time: examples in a chunk.
      statistics: by which batch normalisation normalises: `running` as in evaluation; `batch` as
        in training, each chunk by itself.

    Returns:
      `loss(params) -> float[]`, pure.

    Raises:
      TicketError: for a learner without an objective, or no example (at a time).

    Example:
      >>> squares = Objective(lambda x: x, lambda p, s, x, **_: (x * p["w"], s), lambda y, x: y**2)
      >>> loss = loss_over(squares, {}, jnp.arange(5.0), key=jax.random.key(0), at_a_time=2)
      >>> float(loss({"w": jnp.float32(3.0)}))  # 9 · (0 + 1 + 4 + 9 + 16) / 5
      54.0

    Source: arithmetic.
    """
    if objective is None:
        raise TicketError(
            "loss_over: got a learner without an objective, expected one that says what it "
            "minimises; give its Learner an objective, as learners.supervised does"
        )
    number = len(jax.tree.leaves(examples)[0])
    if at_a_time < 1 or number < 1:
        raise TicketError(
            f"loss_over: got {number} examples, {at_a_time} at a time, expected at least 1 of each"
        )

    def of_chunk(params: Params, chunk: Batch) -> Float[Array, ""]:
        evidence = Evidence({}, params, key, None, model_state, chunk, objective)
        return mean_loss("loss_over", evidence, statistics)(params)

    return _over_chunks(of_chunk, jax.tree.map(jnp.asarray, examples), number, at_a_time)


def _over_chunks(
    of_chunk: Callable[[Params, Batch], Array], examples: Batch, number: int, at_a_time: int
) -> Loss:
    if number <= at_a_time:
        return lambda params: of_chunk(params, examples)
    whole = number // at_a_time
    cut = lambda leaf: leaf[: whole * at_a_time].reshape(whole, at_a_time, *leaf.shape[1:])  # noqa: E731
    chunks, rest = jax.tree.map(cut, examples), whole * at_a_time
    last, left = jax.tree.map(lambda leaf: leaf[rest:], examples), number - rest
    recomputed: Any = jax.checkpoint(of_chunk)

    def loss(params: Params) -> Float[Array, ""]:
        def add(total: Array, chunk: Batch) -> tuple[Array, None]:
            return total + recomputed(params, chunk), None

        total, _ = jax.lax.scan(add, jnp.float32(0), chunks)
        total = total * at_a_time
        return (total if rest == number else total + recomputed(params, last) * left) / number

    return loss
