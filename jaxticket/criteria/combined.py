"""Criteria made of other criteria: several at once, inverted, in rounds."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxticket.criteria.base import Criterion, CriterionState, Evidence, Rounds
from jaxticket.errors import TicketError, unknown
from jaxticket.types import Scores


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
        reads=criteria[0].reads,
        rounds=criteria[0].rounds,
        name=criteria[0].name,
        steps=max(criterion.steps for criterion in criteria),
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

    named = f"inverse_{criterion.name}" if criterion.name else ""
    return criterion._replace(score=inverted, name=named)


def iterative(
    criterion: Criterion,
    rounds: int,
    schedule: str = "exponential",
) -> Criterion:
    """Prunes in rounds, each scored anew on the network that the round before left.

    From K kept weights to k in n rounds, round i leaves K (k/K)^{i/n} of them, rounded up, or
    K − (K − k) i/n under the linear schedule; in each layer likewise where the allocation counts
    by layer. Without training in between: what is scored are the same params, masked.

    Args:
      criterion: any criterion.
      rounds: n, at least 1.
      schedule: `exponential` or `linear`.

    Returns:
      The criterion, to be pruned with in rounds.

    Raises:
      TicketError: for fewer than one round or an unknown schedule.

    Example:
      >>> from jaxticket.criteria import magnitude
      >>> iterative(magnitude(), 100).rounds
      Rounds(number=100, schedule='exponential')

    Source: 2006.05467, section 5 and algorithm 1 (exponential schedule).
    """
    if rounds < 1:
        raise TicketError(f"rounds: got {rounds}, expected at least 1")
    if schedule not in ("exponential", "linear"):
        raise unknown("schedule of rounds", schedule, ("exponential", "linear"))
    return criterion._replace(rounds=Rounds(rounds, schedule))
