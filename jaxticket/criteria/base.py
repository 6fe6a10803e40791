"""What a criterion is, and how to make one from a score."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from jaxticket.errors import TicketError, unknown
from jaxticket.types import Batch, Mask, ModelState, Objective, Params, Scores

CriterionState = Any


class Evidence(NamedTuple):
    """What a criterion may look at when the pruning happens.

    Attributes:
      initial: the params at initialisation, step 0.
      final: the params that are to be pruned: trained ones, or those before training.
      key: a typed key, for criteria that draw.
      mask: what is kept now; `None` for all of it.
      model_state: batch statistics and the like that belong to `final`.
      examples: a batch of training examples to score with.
      objective: what training minimises; functions, so it is put in where the score is traced.
    """

    initial: Params
    final: Params
    key: PRNGKeyArray
    mask: Mask = None
    model_state: ModelState = None
    examples: Batch = None
    objective: Objective | None = None


Read = Literal["mask", "model_state", "examples", "objective"]
"""What a criterion may need of the evidence beyond params and key."""


class Rounds(NamedTuple):
    """How a pruning is cut into rounds, each scored anew on what the one before left.

    Attributes:
      number: how many.
      schedule: `exponential` removes the same share in every round, `linear` the same number.
    """

    number: int
    schedule: str = "exponential"


class Criterion(NamedTuple):
    """A way to score weights, as three pure functions.

    Attributes:
      init: `init(params) -> state` before training.
      observe: `observe(state, learner_state) -> state` after every step, inside the scan; the
        identity for criteria that need not watch training.
      score: `score(state, evidence) -> scores`, the params' structure, higher = keep. Scores
        of leaves that are not prunable are ignored.
      reads: what it needs of the evidence beyond params and key.
      rounds: how a pruning by it is cut into rounds; `None` for one.
    """

    init: Callable[[Params], CriterionState]
    observe: Callable[[CriterionState, Any], CriterionState]
    score: Callable[[CriterionState, Evidence], Scores]
    reads: tuple[Read, ...] = ()
    rounds: Rounds | None = None


def stateless(score: Callable[[Evidence], Scores], *, reads: tuple[Read, ...] = ()) -> Criterion:
    """Makes a criterion that does not watch training.

    Args:
      score: `score(evidence) -> scores`.
      reads: what it needs of the evidence beyond params and key.

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
        reads=reads,
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
        reads=criteria[0].reads,
        rounds=criteria[0].rounds,
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


def check_reads(who: str, reads: Sequence[Read], evidence: Evidence) -> None:
    """Checks that the evidence has what a criterion needs.

    Args:
      who: the criterion's name, for the message.
      reads: what it needs beyond params and key.
      evidence: what it is given.

    Raises:
      TicketError: naming all that is missing.

    Example:
      >>> check_reads("snip", ("examples",), Evidence({}, {}, jax.random.key(0)))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: snip: the evidence lacks examples; give a batch of training \
examples to score with
    """
    missing: list[Read] = [name for name in reads if getattr(evidence, name) is None]
    if missing:
        raise TicketError(
            f"{who}: the evidence lacks {', '.join(missing)}; "
            f"give {' and '.join(_TO_GIVE[name] for name in missing)}"
        )


_TO_GIVE: dict[Read, str] = {
    "mask": "the mask of what is kept now",
    "model_state": "the model state that belongs to the params",
    "examples": "a batch of training examples to score with",
    "objective": "the learner's objective, such as supervised(...).objective",
}
