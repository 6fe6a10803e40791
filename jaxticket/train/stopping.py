"""One network at its early-stop step: what is kept of it until training ends."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters.partial_eval import dce_jaxpr
from jaxtyping import Array, Float, Float32

from jaxticket.learners.base import LearnerState
from jaxticket.protocol import Protocol
from jaxticket.types import Data, Metrics

LOSS = "validation_loss"
"""The metric that decides; `analysis.early_stop_step` finds the same step after the fact."""


class Watched(NamedTuple):
    """What the evaluations of a network leave behind while it trains.

    Attributes:
      lowest: the lowest finite validation loss until now, `float32[]`, inf before the first.
      read: the leaves of its state there that evaluating reads.
      metrics: of the newest one, in a population, whose programs write all of this in place.
    """

    lowest: Float32[Array, ""]
    read: list[Array]
    metrics: Metrics


def only_at_stops(protocol: Protocol, data: Data) -> Data:
    """Gives the splits that are measured only where a network begins, stops early or ends.

    Args:
      protocol: says whether there are any.
      data: the splits by name.

    Returns:
      All but `train` and `validation`, where the protocol asks for no curves of them.

    Example:
      >>> data = {"train": 1, "validation": 2, "test": 3}
      >>> only_at_stops(Protocol(9, 1, 3, test_curves=False), data)
      {'test': 3}
      >>> only_at_stops(Protocol(9, 1, 3), data)
      {}
    """
    if protocol.test_curves:
        return {}
    return {name: split for name, split in data.items() if name not in ("train", "validation")}


def leaves_read(function: Callable[..., Any], tree: Any, *others: Any) -> list[bool]:
    """Says which leaves of a tree a function computes with; nothing is computed.

    Evaluating reads no moments, so that they need not be kept with the weights.

    Args:
      function: `function(tree, *others)`, of arrays.
      tree: arrays or their shapes.
      *others: likewise.

    Returns:
      A truth value for each leaf; where it is False the leaf's values change no output.

    Example:
      >>> leaves_read(lambda tree, x: tree["w"] * x, {"moment": 1.0, "w": 2.0}, 3.0)
      [False, True]
    """
    jaxpr = jax.make_jaxpr(function)(tree, *others).jaxpr
    _, read = dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
    return read[: len(jax.tree.leaves(tree))]


def watch(state: LearnerState, read: list[bool]) -> Watched:
    """Makes what a network leaves behind before it is evaluated.

    Args:
      state: the learner's state.
      read: the leaves of it that evaluating reads, from `leaves_read`.

    Returns:
      Nothing lower than inf, and no metrics.

    Example:
      >>> watch({"moment": jnp.ones(1), "w": jnp.zeros(1)}, [False, True]).lowest.item()
      inf
    """
    return Watched(jnp.float32(jnp.inf), _chosen(state, read), {})


def look(
    watched: Watched, state: LearnerState, read: list[bool], loss: Float[Array, ""] | float
) -> Watched:
    """Takes one more evaluation into what a network leaves behind.

    The state is taken where validation loss is lower than ever before, ℓ_t < min_{s<t} ℓ_s over
    the finite ones.

    Args:
      watched: what there was until now.
      state: the learner's state.
      read: the leaves of it that evaluating reads.
      loss: on the validation split.

    Returns:
      What there is now.

    Example:
      >>> first, second = {"w": jnp.ones(1)}, {"w": jnp.zeros(1)}
      >>> one = look(watch(first, [True]), first, [True], jnp.float32(0.5))
      >>> two = look(one, second, [True], jnp.float32(0.7))
      >>> two.lowest.item(), at_lowest(two, second, [True])["w"].item()
      (0.5, 1.0)
    """
    loss = jnp.asarray(loss, jnp.float32)  # as results have it, so that both find the same step
    lower = jnp.isfinite(loss) & (loss < watched.lowest)
    lowest = jnp.where(lower, loss, watched.lowest)
    kept = jax.tree.map(
        lambda new, old: jnp.where(lower, new, old), _chosen(state, read), watched.read
    )
    return watched._replace(lowest=lowest, read=kept)


def place_of_lowest(losses: Any, axis: int = 0) -> Any:
    """Finds what `look` would have kept of evaluations that are all there: argmin_t ℓ_t.

    Args:
      losses: on the validation split, along `axis` one an evaluation; NumPy's or JAX's.
      axis: that of the evaluations.

    Returns:
      The place of the lowest finite one, the first if there are several; −1 where none is finite.

    Example:
      >>> import numpy as np
      >>> place_of_lowest(np.array([[2.0, np.nan], [0.5, np.inf], [0.5, np.nan]])).tolist()
      [1, -1]
    """
    numpy = losses.__array_namespace__()
    finite = numpy.isfinite(losses)
    lowest = numpy.argmin(numpy.where(finite, losses, numpy.inf), axis=axis)
    return numpy.where(finite.any(axis=axis), lowest, -1)


def at_lowest(watched: Watched, state: LearnerState, read: list[bool]) -> LearnerState:
    """Gives a state that is evaluated as the network is at its early-stop step.

    Args:
      watched: what the network left behind, or `[P, ...]` what networks did.
      state: its state at any other step, `[P, ...]` likewise.
      read: the leaves of it that evaluating reads.

    Returns:
      The state; what evaluating does not read is that of `state`.

    Example:
      See `look`.
    """
    leaves, structure = jax.tree.flatten(state)
    kept = iter(watched.read)
    pairs = zip(read, leaves, strict=True)
    return jax.tree.unflatten(structure, [next(kept) if one else leaf for one, leaf in pairs])


def _chosen(state: LearnerState, read: list[bool]) -> list[Any]:
    return list(itertools.compress(jax.tree.leaves(state), read))
