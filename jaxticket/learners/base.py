"""What a learner is."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import PRNGKeyArray

from jaxticket.types import Batch, Mask, Metrics, Objective, Params

LearnerState = Any
"""A pytree with the attributes `params` and `model_state`, and whatever else training needs."""

Penalty = Callable[[Params], Any]
"""`penalty(params) -> float[]`, what training minimises beside its loss."""


class Learner(NamedTuple):
    """A way of training one network, as four pure functions.

    Metrics are scalars by names that the learner chooses. Results put the split in front of them:
    `loss` of the split `validation` is `validation_loss`, and the early-stop step is where that is
    lowest; without it there is none. Plots draw `test_accuracy` unless they are given another
    name: `plots.accuracy_against_density(results, metric="validation_loss")`.

    Attributes:
      init: `init(key) -> state`, a pytree with `.params` and `.model_state`.
      step: `step(state, mask, batch, key) -> (state, metrics)`, one update. The params and all
        moments of `state` are zero where pruned, before and after.
      evaluate: `evaluate(state, mask, examples) -> metrics` on a whole split.
      restart: `restart(state, params, mask, *, moments) -> state`, a state that trains on from
        `params` under `mask`: schedules go on from `state`; the optimizer's moments too if
        `moments`, otherwise they start at zero.
      hold: `hold(state, values) -> state`, a state whose network computes with `values` added to
        its params, which never change, from `jaxticket.held`; `None` if it cannot.
      objective: what `step` minimises, for criteria and instruments that differentiate it; `None`
        if it does not say.
      with_penalty: `with_penalty(penalty) -> Learner`, the same learner whose steps minimise
        `penalty(params)` too, beside any penalty that it has; no metric and no `objective` shows
        it. A penalty may close over traced arrays. `None` if it cannot.
    """

    init: Callable[[PRNGKeyArray], LearnerState]
    step: Callable[[LearnerState, Mask, Batch, PRNGKeyArray], tuple[LearnerState, Metrics]]
    evaluate: Callable[[LearnerState, Mask, Batch], Metrics]
    restart: Callable[..., LearnerState]
    hold: Callable[[LearnerState, Any], LearnerState] | None = None
    objective: Objective | None = None
    with_penalty: "Callable[[Penalty], Learner] | None" = None


def with_params(state: LearnerState, params: Params) -> LearnerState:
    """Replaces the params of a state.

    Args:
      state: a NamedTuple or dataclass with a field `params`.
      params: the new params.

    Returns:
      The state, otherwise unchanged.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> with_params(TrainState(params=1, model_state={}, opt_state=()), 2).params
      2
    """
    return state._replace(params=params)
