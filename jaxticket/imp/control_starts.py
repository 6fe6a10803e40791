"""What control networks start from: of each the mask, weights and data order of its arm."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket import masks
from jaxticket.allocate.base import Counts
from jaxticket.arms import ARMS
from jaxticket.criteria.base import Evidence
from jaxticket.held import FROM_ZERO, HELD, zero_where_shrunk
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
      hyperparameters: of its lineage.
      retraining_hyperparameters: those that it is trained with.
      pruner: of its lineage.
      moments: whether its lineage rewinds moments.
      counts: what its level keeps.
      ticket_mask: the ticket's mask at its level.
      initial: θ_0 of its lineage.
      rewound: the learner's state at the rewind step of its lineage.
      dense: the trained dense params of its lineage.
      dense_state: the model state that belongs to them.
      scoring: the examples that its criterion is given; `None` where none needs any.
      observed: what the criteria observed of the dense training.
      begins: the step it begins at, `()` if it is the same for all.
    """

    mask_rule: Any
    action: Any
    copied: Any
    held: Any
    level: Any
    key: Any
    hyperparameters: Any
    retraining_hyperparameters: Any
    pruner: Any
    moments: Any
    counts: Counts
    ticket_mask: Mask
    initial: Any
    rewound: Any
    dense: Any
    dense_state: Any
    scoring: Any
    observed: Any
    begins: Any


def gather_starts(
    setup: Setup, chosen: list[Coordinate], origin: Origin, tickets: dict[int, Record]
) -> Start:
    """Collects along axis 0 what control networks are made from.

    Args:
      setup: what was chosen.
      chosen: their names.
      origin: where all tickets come from.
      tickets: the finished levels of the ticket.

    Returns:
      What `start_one` takes, with the networks along axis 0.
    """
    lineages = setup.lineages
    rows = np.array([lineages.place(c.variant, c.replicate) for c in chosen])
    counts = [lineages.counts(level) for level in range(setup.levels)]
    rules, actions, held = _mask_rules(setup), _actions(setup), _held_names(setup)
    take = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
    ticket_masks = [
        jax.tree.map(lambda leaf, row=row: leaf[row], tickets[c.level].masks)
        for c, row in zip(chosen, rows, strict=True)
    ]
    return Start(
        mask_rule=np.array([rules.index(ARMS[c.arm].mask) for c in chosen], np.int32),
        action=np.array([actions.index(ARMS[c.arm].weights) for c in chosen], np.int32),
        copied=np.array([ARMS[c.arm].order == "copy" for c in chosen]),
        held=np.array([held.index(ARMS[c.arm].pruned) for c in chosen], np.int32),
        level=np.array([c.level for c in chosen], np.int32),
        key=lineages.keys[rows],
        hyperparameters=take(lineages.hyperparameters),
        retraining_hyperparameters=take(lineages.retraining_hyperparameters),
        pruner=lineages.pruner[rows],
        moments=lineages.moments[rows],
        counts={
            path: np.array(
                [counts[c.level][path][row] for c, row in zip(chosen, rows, strict=True)], np.int32
            )
            for path in counts[0]
        },
        ticket_mask=jax.tree.map(lambda *leaves: np.stack(leaves), *ticket_masks),
        initial=take(origin.initial),
        rewound=take(origin.rewound),
        dense=take(tickets[0].params),
        dense_state=take(tickets[0].model_state),
        scoring=take(setup.scoring),
        observed=take(tickets[0].observed),
        begins=setup.begins(rows),
    )


def start_one(setup: Setup) -> Callable[[Start], Networks]:
    """Makes the start of one control network, whose arm is chosen on the device.

    Args:
      setup: what was chosen.

    Returns:
      `one(start)`: its state, mask and key.
    """
    rules = [MASK_RULES[name](setup) for name in _mask_rules(setup)]
    weights = [_weights(setup, name) for name in _actions(setup)]
    held = [HELD[name] for name in _held_names(setup)]

    def one(start: Start) -> Networks:
        mask = jax.lax.switch(start.mask_rule, rules, start)
        state = jax.lax.switch(start.action, weights, start, mask)
        if len(held) > 1:
            # All arms' states have one structure, so where one arm holds all of them do.
            values = jax.lax.switch(start.held, held, start.initial, start.dense, mask)
            hold = setup.family(start.retraining_hyperparameters).hold
            assert hold is not None, "checked by find_tickets"
            state = hold(state, values)
        orders = [derive(start.key, order, start.level) for order in ("train", "copy")]
        key = jax.lax.select(start.copied, orders[1], orders[0])
        return Networks(state, mask, key, start.retraining_hyperparameters, start.begins)

    return one


def _ticket_mask(setup: Setup) -> Callable[[Start], Mask]:
    del setup
    return lambda start: start.ticket_mask


def _shuffled_mask(setup: Setup) -> Callable[[Start], Mask]:
    del setup
    return lambda start: masks.shuffle(derive(start.key, "shuffle", start.level), start.ticket_mask)


def _oneshot_mask(setup: Setup) -> Callable[[Start], Mask]:
    def mask_of(start: Start) -> Mask:
        evidence = Evidence(
            start.initial,
            start.dense,
            derive(start.key, "prune", start.level),
            model_state=start.dense_state,
            examples=start.scoring,
        )
        full = jax.tree.map(jnp.ones_like, start.ticket_mask)
        made, _ = setup.prune(
            start.pruner, start.hyperparameters, evidence, full, start.counts, start.observed
        )
        return made

    return mask_of


def _dense_mask(setup: Setup) -> Callable[[Start], Mask]:
    del setup
    return lambda start: jax.tree.map(jnp.ones_like, start.ticket_mask)


MASK_RULES = {
    "ticket": _ticket_mask,
    "shuffle": _shuffled_mask,
    "oneshot": _oneshot_mask,
    "dense": _dense_mask,
}
"""How an arm gets its mask, by the name that `jaxticket.arms` uses."""


def _mask_rules(setup: Setup) -> list[str]:
    """Lists the rules of the run's masks: what no arm takes is not compiled."""
    return list(dict.fromkeys(ARMS[arm].mask for arm in setup.arms))


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
        learner = setup.family(start.retraining_hyperparameters)
        fresh = learner.init(derive(start.key, "reinit", start.level))
        key = derive(start.key, "action", start.level)
        params = begin(ACTIONS[name](key, start.rewound.params, fresh.params, mask), start, mask)
        # Batch statistics of θ_k describe θ_k only: other weights start from those of a new
        # initialisation, and never from θ_k's moments.
        model_state = (start.rewound if own else fresh).model_state
        state = start.rewound._replace(model_state=model_state)
        restart = lambda moments: learner.restart(state, params, mask, moments=moments)  # noqa: E731
        return setup.moments(restart, start.moments) if own else restart(False)

    return state_of
