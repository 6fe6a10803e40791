"""Instability analysis: what the order of the data does to training from a step k on."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxticket.analysis.comparable import Networks, ends
from jaxticket.analysis.connectivity.lines import along_lines, line_paths
from jaxticket.analysis.interpolation import Recompute, Statistics, alphas
from jaxticket.errors import TicketError
from jaxticket.keys import is_typed_key
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.population import Plan, share, to_host
from jaxticket.protocol import Protocol
from jaxticket.train import UNWATCHED
from jaxticket.trainer import Networks as Starts
from jaxticket.trainer import trainer
from jaxticket.types import Batch, Mask


def instability(
    learner: Learner,
    states: LearnerState,
    masks: Mask,
    train: Batch,
    examples: Batch,
    keys: Key[Array, "replicates copies"],
    protocol: Protocol,
    plan: Plan,
    begins: int | Sequence[int],
    points: int = 30,
    metric: str = "accuracy",
    *,
    statistics: Statistics = "interpolated",
    recompute: Recompute | None = None,
) -> dict[str, Any]:
    """Trains copies of W_k with independent SGD noise to the end, and measures their barriers.

    W_k → W_T under u₁ and under u₂, and then sup_α E(α W_T¹ + (1 − α) W_T²) − the mean of E at both
    ends. A copy's key decides its noise: data order, augmentation and dropout. All copies of all
    replicates train as one population, and all pairs are measured as one. Training is called
    stable at k where the mean barrier of the test error is below 2 %, here 0.02.

    Args:
      learner: how a network is trained and evaluated.
      states: the learner's states at step k of all replicates along axis 0: params, model states
        and the optimizer's moments, with which all copies go on. `learner.restart` makes states
        whose moments are zero.
      masks: which weights each replicate keeps, along axis 0; `None` where not prunable.
      train: the training split, examples along axis 0, or a `Stream`.
      examples: the split on which E is measured; the paper's is the test split.
      keys: the training keys of the copies, at least two of each replicate, such as
        `jax.random.split(key, (replicates, 2))`; equal keys give equal copies.
      protocol: how long, W_T being that of step `protocol.steps`.
      plan: how the population runs.
      begins: k, or that of every replicate, so that many k are one population.
      points: how many α.
      metric: `accuracy` or `loss`, as in `barriers`.
      statistics: which batch statistics a network on the line has, as in `linear_path`.
      recompute: for those that are recomputed.

    Returns:
      `barriers`, `float64[replicates, pairs]`, one pair where there are two copies; `pairs`,
      `int[pairs, 2]`, which copies, the first below the second; `curves`, `float32[replicates,
      pairs, points]`, and `alphas`, as `barriers` gives them; `copies`, the trained networks,
      `Networks` of `[replicates, copies, ...]` leaves, for `network_outputs` or distances.

    Raises:
      TicketError: for other than one state, mask and k a replicate, fewer than two copies, a k at
        or after the end of training, and as `barriers`.

    Example:
      >>> import optax
      >>> from jaxticket import Examples, learners, masks, models
      >>> learner = learners.supervised(models.mlp((2, 2, 1), (3,), 2), optax.sgd(0.1))
      >>> states = jax.vmap(learner.init)(jax.random.split(jax.random.key(0), 5))
      >>> data = Examples(np.arange(32, dtype=np.uint8).reshape(8, 2, 2, 1), np.arange(8) % 2)
      >>> keys = jax.random.split(jax.random.key(1), (5, 2))
      >>> given = learner, states, masks.ones(states.params), data, data
      >>> found = instability(*given, keys, Protocol(6, 4, 6), Plan("map"), begins=2)
      >>> found["barriers"].shape
      (5, 1)

    Source: 1912.05671, section 2; what is unverified is said at `linear_path`. That moments go on
    is this project's reading of it.
    """
    states, masks = to_host(states), to_host(masks)
    starts = _starts(states, masks, keys, begins, protocol)
    copies, number = keys.shape[1], starts.keys.shape[0]
    train_all = trainer(learner, UNWATCHED, protocol, {"train": train}, plan)
    size = plan.padded(min(plan.chunk or number, number))
    first = min(np.ravel(begins).tolist())
    trained = to_host(ends(train_all(starts, size, start=first).training.learner))
    pairs = np.array(list(itertools.combinations(range(copies), 2)))
    found = along_lines(
        line_paths(learner, plan, points, statistics, recompute),
        (trained, trained),
        (copies * np.arange(len(keys))[:, None, None] + pairs).reshape(-1, 2),
        share((jax.tree.map(lambda leaf: leaf[0], states), examples), plan),
        plan,
        metric,
    )
    laid = lambda leaf, each: leaf.reshape(len(keys), each, *leaf.shape[1:])  # noqa: E731
    return {
        **{name: laid(values, len(pairs)) for name, values in found.items()},
        "pairs": pairs,
        "alphas": alphas(points),
        "copies": Networks(*jax.tree.map(lambda leaf: laid(leaf, copies), trained)),
    }


def _starts(
    states: LearnerState, masks: Mask, keys: Array, begins: Any, protocol: Protocol
) -> Starts:
    """Makes the networks that train: all copies of the first replicate, then of the second ..."""
    if not is_typed_key(keys) or keys.ndim != 2 or keys.shape[1] < 2:
        raise TicketError(
            f"instability: got keys {list(np.shape(keys))}, expected [replicates, copies] with 2 "
            "copies or more; make them with jax.random.split(key, (replicates, 2))"
        )
    replicates, copies = keys.shape
    steps = np.full(replicates, begins, np.int32) if np.ndim(begins) == 0 else np.array(begins)
    for name, tree in {"states": states, "masks": masks, "begins": steps}.items():
        _check_number(name, tree, replicates)
    different = {int(step) for step in np.ravel(steps)}
    for step in different:
        protocol.boundaries(step)
    rows = np.repeat(np.arange(replicates), copies)
    states, masks = jax.tree.map(lambda leaf: leaf[rows], (states, masks))
    # Networks that begin at one step need not be asked in every step whether they have begun.
    own = np.int32(steps[rows]) if len(different) > 1 else ()
    return Starts(states, masks, jnp.ravel(keys), begins=own)


def _check_number(name: str, tree: Any, replicates: int) -> None:
    found = {np.shape(leaf)[:1] for leaf in jax.tree.leaves(tree)} - {(replicates,)}
    if found:
        raise TicketError(
            f"instability: got {name} of {list(min(found))} along axis 0, expected {replicates}, "
            "as many replicates as there are of the keys"
        )
