"""What the networks of a level are trained again from, each by its lineage's way of retraining."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from jaxticket.imp.setup import Setup, choose
from jaxticket.learners.base import Learner
from jaxticket.records import Origin, Record
from jaxticket.rewind import rewind
from jaxticket.types import Mask, Params


class Restart(NamedTuple):
    """What one pruned network of a ticket is trained again from.

    Attributes:
      origin: of its lineage.
      trained: params and model state before it was pruned.
      mask: what is left.
      hyperparameters: of its lineage, for training again.
      moments: whether it takes the moments of the rewind step.
      keeps_weights: whether it goes on from the trained weights.
      keeps_rate: whether it goes on with the last learning rate.
      action: of its lineage, an index into the run's.
      keys: for its action and for new initial weights; `()` if all lineages only rewind.
    """

    origin: Origin
    trained: Any
    mask: Mask
    hyperparameters: Any
    moments: Any
    keeps_weights: Any
    keeps_rate: Any
    action: Any
    keys: Any


def gather_restarts(
    setup: Setup, origin: Origin, before: Record, mask: Mask, level: int
) -> Restart:
    """Collects along axis 0 what the networks of a level are trained again from.

    Args:
      setup: what was chosen.
      origin: of the group's tickets.
      before: the networks of the level before.
      mask: what is left of them, `bool[L, ...]` leaves.
      level: that is trained.

    Returns:
      What `restart_one` takes, with all lineages along axis 0.
    """
    lineages = setup.lineages
    keys = setup.level_keys("action", level), setup.level_keys("reinit", level)
    trained = (before.params, before.model_state) if lineages.keeps_weights.any() else ()
    return Restart(
        origin._replace(initial=()),
        trained,
        mask,
        lineages.retraining_hyperparameters,
        lineages.moments,
        lineages.keeps_weights,
        lineages.keeps_rate,
        lineages.action,
        () if lineages.actions == (rewind,) else keys,
    )


def restart_one(setup: Setup) -> Callable[[Restart], Any]:
    """Makes the restart of one pruned network.

    Args:
      setup: what was chosen.

    Returns:
      `one(restart) -> state`, from which it trains, by its lineage's retraining.
    """

    def one(restart: Restart) -> Any:
        state = restart.origin.rewound
        if restart.origin.final:
            # Only what is not replaced below stays of it: the counts of schedules.
            state = choose(restart.keeps_rate, restart.origin.final, state)
        kept = restart.origin.rewound.params, restart.origin.rewound.model_state
        if restart.trained:
            kept = choose(restart.keeps_weights, restart.trained, kept)
        state = state._replace(params=kept[0], model_state=kept[1])
        learner = setup.family(restart.hyperparameters)
        params = _act(setup, restart, learner, kept[0]) if restart.keys else kept[0]
        return setup.moments(
            lambda moments: learner.restart(state, params, restart.mask, moments=moments),
            restart.moments,
        )

    return one


def _act(setup: Setup, restart: Restart, learner: Learner, kept: Params) -> Params:
    """Makes of the weights that are left what the lineage's action makes of them."""
    of_action, of_fresh = restart.keys
    fresh = learner.init(of_fresh).params
    given = of_action, kept, fresh, restart.mask
    return jax.lax.switch(restart.action, setup.lineages.actions, *given)
