"""Sparse training with as many weights as at its start: what stays, and what is rewired."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxticket.allocate.base import keep_highest
from jaxticket.criteria import Criterion, Evidence, gradient_magnitude, magnitude, random
from jaxticket.criteria.base import CriterionState
from jaxticket.errors import TicketError
from jaxticket.topology.base import Topology
from jaxticket.types import Mask


def static() -> Topology:
    """Never changes the mask: the sparse network that rewired ones are compared with.

    Returns:
      The topology.

    Example:
      >>> bool(static().due(jnp.int32(100)))
      False
    """
    return Topology(
        due=lambda step: jnp.zeros((), bool),
        change=lambda step, evidence, limit, observed=(): evidence.mask,
    )


def set_(*, every: int, stop: int, fraction: float) -> Topology:
    """Drops the smallest weights and grows others at random: sparse evolutionary training, SET.

    As `rewired`, with `criteria.random` to grow by. The paper rewires after every epoch, with a
    constant fraction, drops the smallest positive and the largest negative weights of each layer,
    and initialises grown weights at random (unverified); here the three are those of RigL's
    comparison (`rigl/sparse_optimizers_base.py` of its authors), so that only growth differs.

    Args:
      every: ΔT, steps between changes.
      stop: T_end, the step from which on the mask stays.
      fraction: α, the share of each layer that the first change would move, in (0, 1].

    Returns:
      The topology.

    Raises:
      TicketError: for a number that cannot be.

    Example:
      >>> [step for step in range(9) if set_(every=3, stop=7, fraction=0.3).due(jnp.int32(step))]
      [3, 6]

    Source: 1707.04780, algorithm 2 (unverified).
    """
    return rewired(random(), every=every, stop=stop, fraction=fraction)


def rigl(*, every: int, stop: int, fraction: float) -> Topology:
    """Drops the smallest weights and grows where the dense gradient is largest: RigL.

    As `rewired`, with `criteria.gradient_magnitude` on the batch of the step to grow by. The
    paper changes the mask in the place of a gradient step (algorithm 1); here the step is made
    too, and the gradient is taken after it, so that all rules train for equally many steps and
    learning-rate schedules stay where they are.

    Args:
      every: ΔT, steps between changes; 100 in the paper (unverified).
      stop: T_end, the step from which on the mask stays; 0.75 of training there (unverified).
      fraction: α, the share that the first change would move; 0.3 there (unverified).

    Returns:
      The topology.

    Raises:
      TicketError: for a number that cannot be.

    Example:
      >>> bool(rigl(every=100, stop=750, fraction=0.3).due(jnp.int32(750)))
      False

    Source: 1911.11134, section 3 and algorithm 1.
    """
    return rewired(gradient_magnitude(), every=every, stop=stop, fraction=fraction)


def rewired(grow: Criterion, *, every: int, stop: int, fraction: float) -> Topology:
    """Drops the smallest weights of each layer and grows as many where a criterion is highest.

    At steps t = ΔT, 2ΔT ... < T_end each layer of n weights moves k = ⌊f(t) n⌋ of them, with
    f(t) = α/2 (1 + cos(π t / T_end)): the k of smallest |θ| go, then the k highest scores among
    all places that are free by then come. So layers keep their counts exactly. A weight that is
    dropped and grown at once stays as it is, as in the authors' code; that code adds noise of
    10⁻⁵ to magnitudes, and here ties are settled by the lower flat index.

    Args:
      grow: what a missing weight is worth; it may read `mask`, `model_state`, `examples` and
        `objective`, `initial` too, and must not watch training: a missing weight does not train.
      every: ΔT, steps between changes.
      stop: T_end, the step from which on the mask stays.
      fraction: α, in (0, 1].

    Returns:
      The topology.

    Raises:
      TicketError: for a number that cannot be, or a criterion that watches training.

    Example:
      >>> params = {"w": jnp.array([3.0, 1.0, 0.0, 0.0])}
      >>> mask = {"w": jnp.array([True, True, False, False])}
      >>> flat = Criterion(None, None, lambda state, evidence: {"w": jnp.arange(4.0)})
      >>> evidence, dense = Evidence(params, params, None, mask), {"w": jnp.ones(4, bool)}
      >>> rewired(flat, every=1, stop=9, fraction=0.6).change(jnp.int32(1), evidence, dense)["w"]
      Array([ True, False, False,  True], dtype=bool)

    Source: 1911.11134, section 3 (drop, grow and the cosine).
    """
    _check(every, stop, fraction)
    if grow.steps:
        raise TicketError(
            f"grow: got {grow.name or 'a criterion'} that watches training, in which a missing "
            "weight has no part; choose one that does not, such as criteria.gradient_magnitude()"
        )
    # On the host, in float64: the cosine of a device may differ in its last bit.
    first = float(fraction) / 2
    decay = [first * (1 + math.cos(math.pi * t / stop)) for t in range(0, stop, every)]
    shares = np.array(decay, np.float32)

    def due(step: Int[Array, ""]) -> Bool[Array, ""]:
        return (step % every == 0) & (step > 0) & (step < stop)

    def change(
        step: Int[Array, ""], evidence: Evidence, limit: Mask, observed: CriterionState = ()
    ) -> Mask:
        share = jnp.asarray(shares)[step // every]
        worth = magnitude().score((), evidence), grow.score(observed, evidence)
        # Masks first: what is not prunable is None in them.
        return jax.tree.map(
            lambda kept, may, old, new: _move(share, kept, may, old, new),
            evidence.mask,
            limit,
            *(_prunable(scores, limit) for scores in worth),
        )

    return Topology(due, change, grow)


def _prunable(scores: Any, mask: Mask) -> Any:
    return jax.tree.map(lambda score, kept: None if kept is None else score, scores, mask)


def _move(
    share: Float[Array, ""],
    kept: Bool[Array, "..."],
    limit: Bool[Array, "..."],
    magnitudes: Float[Array, "..."],
    gains: Float[Array, "..."],
) -> Bool[Array, "..."]:
    """Moves a share of one layer's weights."""
    number = jnp.sum(kept, dtype=jnp.int32)
    moved = jnp.floor(share * number.astype(jnp.float32)).astype(jnp.int32)
    left = keep_highest(jnp.ravel(magnitudes), jnp.ravel(kept), number - moved)
    grown = keep_highest(jnp.ravel(gains), jnp.ravel(limit) & ~left, moved)
    return (left | grown).reshape(kept.shape)


def _check(every: int, stop: int, fraction: float) -> None:
    if every < 1:
        raise TicketError(f"every: got {every}, expected at least 1 step between changes")
    if stop <= every:
        raise TicketError(
            f"stop: got {stop}, expected a step after the first change at step {every}; "
            "choose topology.static() for a mask that never changes"
        )
    if not 0 < fraction <= 1:
        raise TicketError(f"fraction: got {fraction}, expected a share above 0 and at most 1")
