"""Criteria from the linear dynamics that the weights follow during training."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Int

from jaxticket import masks
from jaxticket.criteria.base import Criterion, CriterionState, Evidence
from jaxticket.criteria.dynamic_modes import Modes, combine, dynamic_modes
from jaxticket.errors import TicketError
from jaxticket.types import Params, Scores


class Ring(NamedTuple):
    """The last snapshots of the params, as they are taken in training.

    Attributes:
      steps: how many steps were observed, `int32[]`.
      snapshots: `float[T, ...]` leaves; snapshot j, taken after j · every steps, is at j mod T.
    """

    steps: Int[Array, ""]
    snapshots: Params


def koopman_magnitude(
    snapshots: int = 10,
    every: int = 1,
    rank: int | None = None,
    tolerance: float | None = None,
) -> Criterion:
    """Scores by the predicted fixed point of training: |φ_k| with k = argmin |λ_k − 1|.

    The modes φ and eigenvalues λ are those of the last snapshots of all params, pruned weights
    being zero; see `dynamic_modes`. The mode is scaled by its amplitude, so that it is where the
    weights would end up if they went on linearly. Complex modes score by their modulus.

    Args:
      snapshots: T, how many are kept, at least 2; the weights at the start of training are the
        first one. Fewer are used where training was shorter.
      every: steps from one snapshot to the next.
      rank: how many singular values are kept at most.
      tolerance: singular values below it are dropped, relative to the largest; see
        `dynamic_modes`.

    Returns:
      The criterion; it watches training and carries T copies of the params. Not for TPUs, for
      which JAX has no eigenvalues of matrices that are not symmetric.

    Raises:
      TicketError: for fewer than two snapshots, or less than one step or rank.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> criterion = koopman_magnitude(snapshots=3)
      >>> path = [{"w": jnp.array([1 + 0.5**t, 3 - 2 * 0.5**t])} for t in range(3)]
      >>> state = criterion.init(path[0])
      >>> for params in path[1:]:
      ...     state = criterion.observe(state, TrainState(params, {}, ()))
      >>> evidence = Evidence(path[0], path[2], jax.random.key(0))
      >>> print(jnp.round(criterion.score(state, evidence)["w"], 2) + 0)
      [1. 3.]

    Source: "Koopman magnitude pruning" of 2110.14856; scale and truncation are this project's.
    """

    def score(modes: Modes, taken: Params, evidence: Evidence) -> Scores:
        del evidence
        there = modes.eigenvalues != 0
        distance = jnp.where(there, jnp.abs(modes.eigenvalues - 1), jnp.inf)
        return jax.tree.map(jnp.abs, combine(taken, modes.coefficients[jnp.argmin(distance)]))

    return _watching("koopman_magnitude", score, snapshots, every, rank, tolerance)


def koopman_gradient(
    snapshots: int = 10,
    every: int = 1,
    rank: int | None = None,
    tolerance: float | None = None,
) -> Criterion:
    """Scores by the predicted movement in decaying modes: |θ_T ⊙ Σ_{k: |λ_k| < 1} (λ_k − 1) φ_k|.

    The sum is what the decaying part of the linear dynamics adds to the weights until the next
    snapshot. Under gradient descent on a quadratic loss, a snapshot a step, it is −η g, and the
    scores are η |θ ⊙ g|: those of `snip` on all of the data, without asking for any.

    This is the project's own definition: the paper puts the decaying modes in the place of the
    gradient, and how was not read.

    Args:
      snapshots: as of `koopman_magnitude`, as all that follows.
      every: steps from one snapshot to the next.
      rank: how many singular values are kept at most.
      tolerance: singular values below it are dropped, relative to the largest.

    Returns:
      The criterion; it watches training and carries T copies of the params.

    Raises:
      TicketError: for fewer than two snapshots, or less than one step or rank.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> criterion = koopman_gradient(snapshots=3)
      >>> path = [{"w": jnp.array([1 + 0.5**t, 3 - 2 * 0.5**t])} for t in range(3)]
      >>> state = criterion.init(path[0])
      >>> for params in path[1:]:
      ...     state = criterion.observe(state, TrainState(params, {}, ()))
      >>> evidence = Evidence(path[0], path[2], jax.random.key(0))
      >>> print(jnp.round(criterion.score(state, evidence)["w"], 3))  # θ is [1.25 2.5]
      [0.156 0.625]

    Source: after "Koopman gradient pruning" of 2110.14856 (definition ours).
    """

    def score(modes: Modes, taken: Params, evidence: Evidence) -> Scores:
        weights = jnp.where(jnp.abs(modes.eigenvalues) < 1, modes.eigenvalues - 1, 0)
        moves = combine(taken, weights @ modes.coefficients)
        moves = jax.tree.map(jnp.real, moves)
        return jax.tree.map(
            lambda p, move: jnp.abs(p.astype(move.dtype) * move), evidence.final, moves
        )

    return _watching("koopman_gradient", score, snapshots, every, rank, tolerance)


def ring(params: Params, snapshots: int) -> Ring:
    """Makes a ring that holds the present params as its first snapshot.

    Args:
      params: the params.
      snapshots: T.

    Returns:
      The ring.

    Example:
      >>> ring({"w": jnp.ones(1)}, 3).snapshots["w"].tolist()
      [[1.0], [0.0], [0.0]]
    """
    empty = lambda leaf: jnp.zeros((snapshots, *leaf.shape), leaf.dtype).at[0].set(leaf)  # noqa: E731
    return Ring(jnp.int32(0), jax.tree.map(empty, params))


def observed(state: Ring, params: Params, every: int) -> Ring:
    """Counts one more step, and takes a snapshot of the params if it is time to.

    Args:
      state: the ring before.
      params: the params after the step.
      every: steps from one snapshot to the next.

    Returns:
      The ring after.

    Example:
      >>> state = observed(ring({"w": jnp.ones(1)}, 3), {"w": jnp.full(1, 2.0)}, 1)
      >>> state.snapshots["w"].tolist()
      [[1.0], [2.0], [0.0]]
    """
    steps = state.steps + 1

    def put(leaf: Array, new: Array) -> Array:
        place = steps // every % leaf.shape[0]
        # One slot is written at every step: a choice between whole rings would copy them.
        value = jnp.where(steps % every == 0, new, leaf[place])
        return leaf.at[place].set(value)

    return Ring(steps, jax.tree.map(put, state.snapshots, params))


def in_order(state: Ring, every: int) -> tuple[Params, Int[Array, ""]]:
    """Gives the snapshots of a ring, the oldest first, and how many there are.

    Args:
      state: the ring.
      every: steps from one snapshot to the next.

    Returns:
      `float[T, ...]` leaves, those that were not taken at the end, and their number.

    Example:
      >>> in_order(ring({"w": jnp.ones(1)}, 2), 1)[1]
      Array(1, dtype=int32)
    """
    length = jax.tree.leaves(state.snapshots)[0].shape[0]
    number = 1 + state.steps // every
    places = (jnp.maximum(number - length, 0) + jnp.arange(length, dtype=jnp.int32)) % length
    return jax.tree.map(lambda leaf: leaf[places], state.snapshots), jnp.minimum(number, length)


def _watching(
    who: str,
    score: Callable[[Modes, Params, Evidence], Scores],
    snapshots: int,
    every: int,
    rank: int | None,
    tolerance: float | None,
) -> Criterion:
    for name, number, least in (
        ("snapshots", snapshots, 2),
        ("every", every, 1),
        ("rank", rank, 1),
    ):
        if number is not None and number < least:
            raise TicketError(f"{who}: got {name} {number}, expected at least {least}")

    def score_modes(state: CriterionState, evidence: Evidence) -> Scores:
        _check_taken(who, state, every)
        taken, number = in_order(state, every)
        if evidence.mask is not None:
            keep = jax.tree.map(lambda leaf: leaf[None], evidence.mask)
            taken = masks.apply(taken, keep)
        modes = dynamic_modes(taken, number, rank=rank, tolerance=tolerance)
        scores = score(modes, taken, evidence)
        known = lambda leaf, like: jnp.where(number > 1, leaf, jnp.nan).astype(like.dtype)  # noqa: E731
        return jax.tree.map(known, scores, taken)

    return Criterion(
        init=lambda params: ring(params, snapshots),
        observe=lambda state, learner_state: observed(state, learner_state.params, every),
        score=score_modes,
        name=who,
        steps=every,
    )


def _check_taken(who: str, state: CriterionState, every: int) -> None:
    """Refuses to score without a second snapshot, where it can be seen; NaN where it is traced."""
    if not isinstance(state, Ring):
        raise TicketError(
            f"{who}: got no snapshots; train with this criterion and give prune what it observed"
        )
    if isinstance(state.steps, Tracer):
        return
    if np.asarray(state.steps) < every:
        raise TicketError(
            f"{who}: took 1 snapshot in {int(state.steps)} steps, expected at least 2; train "
            f"longer, or take one more often than every {every} steps"
        )
