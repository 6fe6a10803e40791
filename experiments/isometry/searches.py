"""The searches of isometry: every share of neurons, inherited or orthogonalised, at both rates."""

import functools
import itertools
from typing import Any

from experiments.common.experiment import Problem
from experiments.isometry.neurons import incoming_norms, neurons
from jaxticket import isometry
from jaxticket.imp import Retraining, Variant
from jaxticket.rewind import Action, rewind
from jaxticket.types import Mask, Params

GAINS = {"linear_mlp_7": 1.0, "mlp_7": isometry.RELU_GAIN}
"""The gain of OrthP, by network."""

RATES: dict[str, Retraining] = {"small": "fine_tuning", "large": "learning_rate"}
"""The schedule's last rate, or all of it once more."""


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the combinations of rate, weights and share.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    config = problem.config
    orthogonal = orthogonalizing(GAINS[config.model])
    actions: dict[str, Action] = {"inherited": rewind, "orthogonal": orthogonal}
    allocations = {share: neurons(share) for share in config.shares}
    criterion = incoming_norms()
    return {
        name_of(rate, weights, share): Variant(
            allocation=allocations[share],
            criterion=criterion,
            retraining=RATES[rate],
            action=actions[weights],
        )
        for share, weights, rate in itertools.product(config.shares, actions, RATES)
    }


def name_of(rate: str, weights: str, share: float) -> str:
    """Names a variant by its rate, its weights and its share."""
    return f"{share:g} {weights}, {rate} rate"


@functools.cache
def orthogonalizing(gain: float) -> Action:
    """Makes OrthP of a gain an action.

    Args:
      gain: of every layer.

    Returns:
      The action, the same one for the same gain.
    """

    def act(key: Any, initial: Params, fresh: Params, mask: Mask) -> Params:
        del key, fresh
        return isometry.orthogonalize(initial, mask, gain=gain)

    return act
