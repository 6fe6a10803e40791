"""What a criterion is, and how to make one from a score."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
from jaxtyping import PRNGKeyArray

from jaxticket.errors import TicketError
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


Read = Literal["initial", "change", "mask", "model_state", "examples", "objective"]
"""What a criterion may need of the evidence beyond final params and key; `change` is that `final`
differs from `initial`, without which its scores would all be the same."""


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
      reads: what it needs of the evidence beyond final params and key. What is not named may be
        missing where it costs something to keep, as θ_0 does in training.
      rounds: how a pruning by it is cut into rounds; `None` for one.
      name: what messages call it; "" if it has none.
      steps: how many steps it must have observed before it can score.
    """

    init: Callable[[Params], CriterionState]
    observe: Callable[[CriterionState, Any], CriterionState]
    score: Callable[[CriterionState, Evidence], Scores]
    reads: tuple[Read, ...] = ()
    rounds: Rounds | None = None
    name: str = ""
    steps: int = 0


def stateless(
    score: Callable[[Evidence], Scores], *, reads: tuple[Read, ...] = (), name: str = ""
) -> Criterion:
    """Makes a criterion that does not watch training.

    Args:
      score: `score(evidence) -> scores`.
      reads: what it needs of the evidence beyond final params and key.
      name: what messages call it.

    Returns:
      The criterion, its state the empty tuple.

    Example:
      >>> import jax.numpy as jnp
      >>> criterion = stateless(lambda evidence: evidence.final)
      >>> criterion.init({"w": jnp.ones(2)})
      ()
    """
    return Criterion(
        init=lambda params: (),
        observe=lambda state, learner_state: state,
        score=lambda state, evidence: score(evidence),
        reads=reads,
        name=name,
    )


def elementwise(
    score: Callable[[jax.Array, jax.Array], jax.Array],
    *,
    reads: tuple[Read, ...] = ("initial",),
    name: str = "",
) -> Criterion:
    """Makes a criterion that scores every weight by its initial and its final value alone.

    Args:
      score: `score(initial, final) -> scores` on arrays of one shape.
      reads: `("initial", "change")` if weights that are still their initial ones all score the
        same, so that pruning at step 0 is refused; `()` if the score takes no notice of the
        initial value, which is then the final one.
      name: what messages call it.

    Returns:
      The criterion.

    Example:
      >>> import jax.numpy as jnp
      >>> criterion = elementwise(lambda initial, final: final - initial)
      >>> evidence = Evidence({"w": jnp.ones(1)}, {"w": jnp.full(1, 3.0)}, jax.random.key(0))
      >>> criterion.score((), evidence)["w"].tolist()
      [2.0]
    """

    def scores(evidence: Evidence) -> Scores:
        initial = evidence.initial if "initial" in reads else evidence.final
        return jax.tree.map(score, initial, evidence.final)

    return stateless(scores, reads=reads, name=name)


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
    # Whether there is a change is no question of arrays that may be traced.
    missing: list[Read] = [
        name for name in reads if name != "change" and getattr(evidence, name) is None
    ]
    if missing:
        raise TicketError(
            f"{who}: the evidence lacks {', '.join(missing)}; "
            f"give {' and '.join(_TO_GIVE[name] for name in missing)}"
        )


_TO_GIVE: dict[Read, str] = {
    "initial": "the params at initialisation",
    "mask": "the mask of what is kept now",
    "model_state": "the model state that belongs to the params",
    "examples": "a batch of training examples to score with",
    "objective": "the learner's objective, such as supervised(...).objective",
}
