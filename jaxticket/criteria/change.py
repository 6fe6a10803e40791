"""Criteria on how a weight changed between initialisation and the end of training."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxticket.criteria.base import Criterion, CriterionState, Evidence, Read, elementwise
from jaxticket.errors import TicketError
from jaxticket.types import Params, Scores

CHANGE: tuple[Read, ...] = ("initial", "change")
"""What these criteria read: without a change there is nothing to score."""


def magnitude_increase() -> Criterion:
    """Scores by growth: |θ_T| − |θ_0|.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.array([1.0])}, jax.random.key(0))
      >>> magnitude_increase().score((), evidence)["w"].tolist()
      [-1.0]

    Source: "magnitude_increase" of 1905.01067.
    """
    return elementwise(
        lambda initial, final: jnp.abs(final) - jnp.abs(initial),
        reads=CHANGE,
        name="magnitude_increase",
    )


def magnitude_increase_same_sign() -> Criterion:
    """Scores by growth along the initial sign: sign(θ_0) θ_T − |θ_0|.

    For weights that kept their sign this is |θ_T| − |θ_0|; those that changed it rank below all
    that grew, by how far they went. The paper's max(0, ·) ties what did not grow along its sign
    at zero, which would leave its order to its place in the array.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence(
      ...     {"w": jnp.array([-2.0, 1.0])}, {"w": jnp.array([-3.0, -1.0])}, jax.random.key(0)
      ... )
      >>> magnitude_increase_same_sign().score((), evidence)["w"].tolist()
      [1.0, -2.0]

    Source: "magnitude_increase_same_sign" of 1905.01067 (formula unverified, tie order ours).
    """
    return elementwise(
        lambda initial, final: jnp.sign(initial) * final - jnp.abs(initial),
        reads=CHANGE,
        name="magnitude_increase_same_sign",
    )


def magnitude_increase_diff_sign() -> Criterion:
    """Scores by growth against the initial sign: −sign(θ_0) θ_T − |θ_0|.

    For weights that changed their sign this is |θ_T| − |θ_0|; those that kept it rank below all
    that grew so, the larger the lower. The paper's max(0, ·) ties them at zero.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence(
      ...     {"w": jnp.array([-2.0, 1.0])}, {"w": jnp.array([-3.0, -4.0])}, jax.random.key(0)
      ... )
      >>> magnitude_increase_diff_sign().score((), evidence)["w"].tolist()
      [-5.0, 3.0]

    Source: "magnitude_increase_diff_sign" of 1905.01067 (formula unverified, tie order ours).
    """
    return elementwise(
        lambda initial, final: -jnp.sign(initial) * final - jnp.abs(initial),
        reads=CHANGE,
        name="magnitude_increase_diff_sign",
    )


def large_final_diff_sign() -> Criterion:
    """Scores by final magnitude against the initial sign: −sign(θ_0) θ_T.

    The inverse of `large_final_same_sign`: weights that kept their sign rank below all that
    changed it, the largest of them last.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence(
      ...     {"w": jnp.array([-2.0, 1.0])}, {"w": jnp.array([-3.0, -1.0])}, jax.random.key(0)
      ... )
      >>> large_final_diff_sign().score((), evidence)["w"].tolist()
      [-3.0, 1.0]

    Source: "large_final_diff_sign" of 1905.01067 (tie order ours).
    """
    return elementwise(
        lambda initial, final: -jnp.sign(initial) * final,
        reads=CHANGE,
        name="large_final_diff_sign",
    )


def movement() -> Criterion:
    """Scores by distance travelled from start to end: |θ_T − θ_0|.

    Returns:
      The criterion.

    Example:
      >>> import jax
      >>> from jaxticket.criteria import Evidence
      >>> evidence = Evidence({"w": jnp.array([-2.0])}, {"w": jnp.array([1.0])}, jax.random.key(0))
      >>> movement().score((), evidence)["w"].tolist()
      [3.0]

    Source: "movement" of 1905.01067.
    """
    return elementwise(
        lambda initial, final: jnp.abs(final - initial), reads=CHANGE, name="movement"
    )


def accumulated_movement() -> Criterion:
    """Scores by accumulated movement away from zero: Σ_t θ_t ⊙ (θ_{t+1} − θ_t).

    Under plain gradient descent at a constant rate η it is −η Σ_t θ_t ⊙ g_t: movement pruning's
    score with its scores' learning rate η, for weights that the mask keeps in training. Two
    things differ there: the mask is fixed while a network trains, where the paper's follows the
    scores and passes gradients straight through to pruned weights; and what is summed is the
    update, so momentum, decay, preconditioning and schedules take part.

    The sum is ½ (θ_T² − θ_0² − Σ_t (θ_{t+1} − θ_t)²): for small steps its order is that of
    θ_T² − θ_0², and only the path's roughness adds to what its ends say.

    Returns:
      The criterion; it watches training, from where each training starts.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> criterion = accumulated_movement()
      >>> state = criterion.init({"w": jnp.array([1.0, -1.0])})
      >>> state = criterion.observe(state, TrainState({"w": jnp.array([3.0, 0.0])}, {}, ()))
      >>> criterion.score(state, Evidence({}, {}, jax.random.key(0)))["w"].tolist()
      [2.0, -1.0]

    Source: 2005.07683, section 4 (section unverified).
    """

    def init(params: Params) -> CriterionState:
        return params, jax.tree.map(jnp.zeros_like, params)

    def observe(state: CriterionState, learner_state: Any) -> CriterionState:
        before, total = state
        after = learner_state.params
        return after, jax.tree.map(lambda s, b, a: s + b * (a - b), total, before, after)

    def score(state: CriterionState, evidence: Evidence) -> Scores:
        del evidence
        if not state:
            raise TicketError(
                "accumulated_movement: got no observed training; train with this criterion and "
                "give prune what it observed"
            )
        return state[1]

    return Criterion(init, observe, score, name="accumulated_movement", steps=1)
