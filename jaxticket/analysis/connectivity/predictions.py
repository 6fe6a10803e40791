"""What two networks say of the same examples: disagreement, loss vectors, ensembles."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.analysis.comparable import Networks, ends
from jaxticket.analysis.connectivity.lines import at_a_time
from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner
from jaxticket.population import Plan, over, populate, share, to_host
from jaxticket.types import Batch, Numbers


class Outputs(NamedTuple):
    """What networks give for every example.

    Attributes:
      log_probabilities: `float32[networks, examples, classes]`, log softmax of their outputs.
      losses: `float32[networks, examples]`.
    """

    log_probabilities: np.ndarray
    losses: np.ndarray


def network_outputs(
    learner: Learner, networks: Any, examples: Batch, plan: Plan, batch_size: int = 1_000
) -> Outputs:
    """Computes the outputs of networks, once each, however many pairs are made of them.

    Args:
      learner: one that says its `objective`.
      networks: along axis 0, anything with `params` and `model_state`, zero where pruned.
      examples: such as the test split.
      plan: how the networks run.
      batch_size: examples at a time, which bounds memory.

    Returns:
      Their outputs, on the host.

    Raises:
      TicketError: for a learner without an objective.

    Example:
      >>> import optax
      >>> from jaxticket import Examples, learners, models
      >>> learner = learners.supervised(models.mlp((2, 2, 1), (3,), 4), optax.sgd(0.1))
      >>> networks = jax.vmap(learner.init)(jax.random.split(jax.random.key(0), 5))
      >>> examples = Examples(np.zeros((7, 2, 2, 1), np.uint8), np.zeros(7, np.int32))
      >>> found = network_outputs(learner, networks, examples, Plan("map"))
      >>> found.log_probabilities.shape, found.losses.shape
      ((5, 7, 4), (5, 7))
    """
    if learner.objective is None:
        raise TicketError(
            "learner: got one without an objective, expected Learner(..., objective=...), which "
            "says what a network gives for an example"
        )
    run, own = _outputs(learner, plan), to_host(ends(networks))
    number = jax.tree.leaves(examples)[0].shape[0]
    pieces = []
    for start in range(0, number, batch_size):
        piece = jax.tree.map(lambda leaf, at=start: leaf[at : at + batch_size], examples)
        on_piece = functools.partial(run, given=share(piece, plan))
        pieces.append(over(on_piece, at_a_time(plan))(own))
    return Outputs(*(np.concatenate(parts, axis=1) for parts in zip(*pieces, strict=True)))


@functools.lru_cache(maxsize=8)
def _outputs(learner: Learner, plan: Plan) -> Callable[..., Any]:
    objective = learner.objective
    assert objective is not None, "checked by network_outputs"

    def outputs(network: Networks, examples: Batch) -> tuple[jax.Array, jax.Array]:
        examples = jax.tree.map(jnp.asarray, examples)
        inputs = objective.prepare(examples)
        found, _ = objective.apply(network.params, network.model_state, inputs, train=False)
        return jax.nn.log_softmax(found, axis=-1), objective.loss(found, examples)

    run = populate(outputs, plan)
    return lambda own, number, given: run(own, given, number=number)


def disagreement(first: np.ndarray, second: np.ndarray) -> Numbers:
    """Gives the share of examples that two networks put into different classes.

    d = mean_i [argmax f₁(x_i) ≠ argmax f₂(x_i)]; symmetric, 0 for a network with itself.

    Args:
      first: `float[..., examples, classes]`, outputs or log probabilities of all pairs' first.
      second: likewise of their second.

    Returns:
      `float64[...]`; NaN where an output is NaN.

    Example:
      >>> first = np.array([[0.0, 1.0], [2.0, 0.0]])
      >>> float(disagreement(first, first[::-1])), float(disagreement(first, 2 * first))
      (1.0, 0.0)

    Source: 1912.05671, appendix G; 2010.03533, section 4 (both unverified).
    """
    differ = np.argmax(first, axis=-1) != np.argmax(second, axis=-1)
    unknown = np.isnan(first).any(axis=(-2, -1)) | np.isnan(second).any(axis=(-2, -1))
    return np.where(unknown, np.nan, differ.mean(axis=-1))


def loss_distance(first: np.ndarray, second: np.ndarray) -> Numbers:
    """Gives the distance of the vectors of all examples' losses: ‖ℓ(W₁) − ℓ(W₂)‖₂.

    It grows with the square root of the number of examples.

    Args:
      first: `float[..., examples]`, losses of all pairs' first.
      second: likewise of their second.

    Returns:
      `float64[...]`.

    Example:
      >>> float(loss_distance(np.array([0.0, 3.0]), np.array([4.0, 0.0])))
      5.0

    Source: 1912.05671, appendix G (unverified).
    """
    with np.errstate(invalid="ignore"):
        difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    return np.linalg.norm(difference, axis=-1)


def ensemble_gain(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> Numbers:
    """Gives what averaging two networks' probabilities adds to their mean accuracy.

    g = acc((p₁ + p₂) / 2) − (acc(p₁) + acc(p₂)) / 2; symmetric, 0 for a network with itself. Ties
    go to the first class.

    Args:
      first: `float[..., examples, classes]`, log probabilities of all pairs' first.
      second: likewise of their second.
      labels: `int[examples]`, classes.

    Returns:
      `float64[...]`, in fractions of the examples; NaN where an output is NaN.

    Example:
      >>> first = np.log(np.array([[0.9, 0.1], [0.6, 0.4]]))
      >>> second = np.log(np.array([[0.4, 0.6], [0.1, 0.9]]))
      >>> float(ensemble_gain(first, second, np.array([0, 1])))
      0.5

    Source: 2010.03533, section 4 (unverified).
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    with np.errstate(invalid="ignore"):
        mean = np.logaddexp(one, other)
    right = lambda p: (np.argmax(p, axis=-1) == labels).mean(axis=-1)  # noqa: E731
    undefined = np.isnan(mean).any(axis=(-2, -1))
    return np.where(undefined, np.nan, right(mean) - (right(one) + right(other)) / 2)
