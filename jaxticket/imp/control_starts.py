"""What control networks start from: of each the mask, weights and data order of its arm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket import masks
from jaxticket.arms import ARMS
from jaxticket.held import FROM_ZERO, HELD, zero_where_shrunk
from jaxticket.imp.control_masks import Prune, gather_masks, levels_of
from jaxticket.imp.setup import Setup, choose
from jaxticket.keys import derive
from jaxticket.records import Coordinate, Origin, Record
from jaxticket.rewind import ACTIONS
from jaxticket.trainer import Networks
from jaxticket.types import Mask, Params


class Start(NamedTuple):
    """What one control network is made from.

    Attributes:
      mask_rule: which mask its arm takes, an index into the run's.
      action: which weights its arm takes, an index into the run's actions.
      copied: whether its arm has a data order of its own.
      held: what its arm holds pruned weights at, an index into the run's; kept weights that shrank
        begin at zero under some.
      level: its level.
      key: its replicate's key.
      hyperparameters: of its lineage, those that it is trained with.
      moments: whether its lineage rewinds moments.
      mask: the ticket's at its level; what one pruning left of the dense, if its arm prunes so.
      initial: θ_0 of its lineage.
      fresh: params and model state of a new initialisation; `()` if all arms of the run rewind.
      rewound: the learner's state at the rewind step of its lineage.
      dense: the trained dense params of its lineage.
      begins: the step it begins at, `()` if it is the same for all.
    """

    mask_rule: Any
    action: Any
    copied: Any
    held: Any
    level: Any
    key: Any
    hyperparameters: Any
    moments: Any
    mask: Mask
    initial: Any
    fresh: Any
    rewound: Any
    dense: Any
    begins: Any


def gather_starts(
    setup: Setup,
    init: Callable[[Any], Any],
    prune: Prune,
    chosen: list[Coordinate],
    origin: Origin,
    tickets: dict[int, Record],
) -> Start:
    """Collects along axis 0 what control networks are made from.

    Args:
      setup: what was chosen.
      init: of the search's programs.
      prune: of the search's programs.
      chosen: their names.
      origin: where the group's tickets come from.
      tickets: the finished levels of the ticket.

    Returns:
      What `start_one` takes, with the networks along axis 0.
    """
    lineages = setup.lineages
    rows = np.array([lineages.place(c.variant, c.replicate) for c in chosen])
    rules, actions, held = _mask_rules(setup), _actions(setup), _held_names(setup)
    take = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
    given, fresh = take(lineages.retraining_hyperparameters), ()
    if actions != ["rewind"]:
        made = init((given, setup.keys("reinit", rows, levels_of(chosen))))
        fresh = made.params, made.model_state
    return Start(
        mask_rule=np.array([rules.index(MASK_RULES[ARMS[c.arm].mask]) for c in chosen], np.int32),
        action=np.array([actions.index(ARMS[c.arm].weights) for c in chosen], np.int32),
        copied=np.array([ARMS[c.arm].order == "copy" for c in chosen]),
        held=np.array([held.index(ARMS[c.arm].pruned) for c in chosen], np.int32),
        level=levels_of(chosen),
        key=lineages.keys[rows],
        hyperparameters=given,
        moments=lineages.moments[rows],
        mask=gather_masks(setup, prune, chosen, rows, origin, tickets),
        initial=take(origin.initial),
        fresh=fresh,
        rewound=take(origin.rewound),
        dense=take(tickets[0].params),
        begins=setup.begins(rows),
    )


def start_one(setup: Setup) -> Callable[[Start], Networks]:
    """Makes the start of one control network, whose arm is chosen on the device.

    Args:
      setup: what was chosen.

    Returns:
      `one(start)`: its state, mask and key.
    """
    rules = _mask_rules(setup)
    weights = [_weights(setup, name) for name in _actions(setup)]
    held = [HELD[name] for name in _held_names(setup)]

    def one(start: Start) -> Networks:
        mask = jax.lax.switch(start.mask_rule, rules, start)
        state = jax.lax.switch(start.action, weights, start, mask)
        if len(held) > 1:
            # All arms' states have one structure, so where one arm holds all of them do.
            values = jax.lax.switch(start.held, held, start.initial, start.dense, mask)
            hold = setup.family(start.hyperparameters).hold
            assert hold is not None, "checked by find_tickets"
            state = hold(state, values)
        orders = [derive(start.key, order, start.level) for order in ("train", "copy")]
        key = jax.lax.select(start.copied, orders[1], orders[0])
        return Networks(state, mask, key, start.hyperparameters, start.begins)

    return one


def _as_given(start: Start) -> Mask:
    return start.mask


def _shuffled(start: Start) -> Mask:
    return masks.shuffle(derive(start.key, "shuffle", start.level), start.mask)


def _whole(start: Start) -> Mask:
    return jax.tree.map(jnp.ones_like, start.mask)


MASK_RULES = {"ticket": _as_given, "shuffle": _shuffled, "oneshot": _as_given, "dense": _whole}
"""What an arm makes of the mask that it is given, by the name that `jaxticket.arms` uses."""


def _mask_rules(setup: Setup) -> list[Callable[[Start], Mask]]:
    """Lists the rules of the run's masks, each once: what no arm takes is not compiled."""
    return list(dict.fromkeys(MASK_RULES[ARMS[arm].mask] for arm in setup.arms))


def _actions(setup: Setup) -> list[str]:
    """Lists the actions of the run's arms, each once, however many arms share it."""
    return list(dict.fromkeys(ARMS[arm].weights for arm in setup.arms))


def _held_names(setup: Setup) -> list[str]:
    """Lists what the run's arms hold pruned weights at, zero first."""
    return list(dict.fromkeys(["zero", *(ARMS[arm].pruned for arm in setup.arms)]))


def _begin(setup: Setup) -> Callable[[Params, Start, Mask], Params]:
    """Lets kept weights that shrank begin at zero where the arm says so, in runs that have one."""
    from_zero = [name in FROM_ZERO for name in _held_names(setup)]

    def begun(params: Params, start: Start, mask: Mask) -> Params:
        if not any(from_zero):
            return params
        zeroed = zero_where_shrunk(params, start.initial, start.dense, mask)
        return choose(jnp.array(from_zero)[start.held], zeroed, params)

    return begun


def _weights(setup: Setup, name: str) -> Callable[[Start, Mask], Any]:
    own, begin = name == "rewind", _begin(setup)

    def state_of(start: Start, mask: Mask) -> Any:
        learner, rewound = setup.family(start.hyperparameters), start.rewound
        fresh = start.fresh or (rewound.params, rewound.model_state)
        key = derive(start.key, "action", start.level)
        params = begin(ACTIONS[name](key, rewound.params, fresh[0], mask), start, mask)
        # Batch statistics of θ_k describe θ_k only: other weights start from those of a new
        # initialisation, and never from θ_k's moments.
        state = rewound._replace(model_state=rewound.model_state if own else fresh[1])
        restart = lambda moments: learner.restart(state, params, mask, moments=moments)  # noqa: E731
        return setup.moments(restart, start.moments) if own else restart(False)

    return state_of
