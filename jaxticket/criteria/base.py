"""What a criterion is, and how to make one from a score."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from jaxticket.types import Params, Scores

CriterionState = Any


class Evidence(NamedTuple):
    """What a criterion may look at when the pruning happens.

    Attributes:
      initial: the params at initialisation, step 0.
      final: the trained params.
      key: a typed key, for criteria that draw.
    """

    initial: Params
    final: Params
    key: PRNGKeyArray


class Criterion(NamedTuple):
    """A way to score weights, as three pure functions.

    Attributes:
      init: `init(params) -> state` before training.
      observe: `observe(state, learner_state) -> state` after every step, inside the scan; the
        identity for criteria that need not watch training.
      score: `score(state, evidence) -> scores`, the params' structure, higher = keep. Scores
        of leaves that are not prunable are ignored.
    """

    init: Callable[[Params], CriterionState]
    observe: Callable[[CriterionState, Any], CriterionState]
    score: Callable[[CriterionState, Evidence], Scores]


def stateless(score: Callable[[Evidence], Scores]) -> Criterion:
    """Makes a criterion that does not watch training.

    Args:
      score: `score(evidence) -> scores`.

    Returns:
      The criterion, its state the empty tuple.

    Example:
      >>> criterion = stateless(lambda evidence: evidence.final)
      >>> criterion.init({"w": jnp.ones(2)})
      ()
    """
    return Criterion(
        init=lambda params: (),
        observe=lambda state, learner_state: state,
        score=lambda state, evidence: score(evidence),
    )


def elementwise(score: Callable[[jax.Array, jax.Array], jax.Array]) -> Criterion:
    """Makes a criterion that scores every weight by its initial and its final value alone.

    Args:
      score: `score(initial, final) -> scores` on arrays of one shape.

    Returns:
      The criterion.

    Example:
      >>> criterion = elementwise(lambda initial, final: final - initial)
      >>> evidence = Evidence({"w": jnp.ones(1)}, {"w": jnp.full(1, 3.0)}, jax.random.key(0))
      >>> criterion.score((), evidence)["w"].tolist()
      [2.0]
    """
    return stateless(lambda evidence: jax.tree.map(score, evidence.initial, evidence.final))


def together(criteria: Sequence[Criterion]) -> Criterion:
    """Lets several criteria watch the same training.

    Args:
      criteria: any criteria.

    Returns:
      A criterion whose state is the tuple of their states, and that scores by the first one.

    Example:
      >>> from jaxticket.criteria import magnitude, movement
      >>> together([magnitude(), movement()]).init({"w": jnp.ones(2)})
      ((), ())
    """

    def observe(states: CriterionState, learner_state: Any) -> CriterionState:
        pairs = zip(criteria, states, strict=True)
        return tuple(criterion.observe(state, learner_state) for criterion, state in pairs)

    return Criterion(
        init=lambda params: tuple(criterion.init(params) for criterion in criteria),
        observe=observe,
        score=lambda states, evidence: criteria[0].score(states[0], evidence),
    )


def inverse(criterion: Criterion) -> Criterion:
    """Keeps what `criterion` would prune first: s ↦ −s.

    Args:
      criterion: any criterion.

    Returns:
      The criterion with its scores negated.

    Example:
      >>> from jaxticket.criteria import magnitude
      >>> evidence = Evidence({"w": jnp.zeros(2)}, {"w": jnp.array([1.0, -3.0])}, jax.random.key(0))
      >>> inverse(magnitude()).score((), evidence)["w"].tolist()
      [-1.0, -3.0]

    Source: the "inversion" control of 2009.08576, section 5; small_final of 1905.01067.
    """

    def inverted(state: CriterionState, evidence: Evidence) -> Scores:
        return jax.tree.map(jnp.negative, criterion.score(state, evidence))

    return criterion._replace(score=inverted)
