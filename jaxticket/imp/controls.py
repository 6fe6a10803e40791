"""The controls: every other arm at every level, all of them one population."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket import masks
from jaxticket.allocate.base import Counts
from jaxticket.arms import ARMS, Arm
from jaxticket.criteria.base import Evidence
from jaxticket.imp.setup import Coordinate, Setup, make_record
from jaxticket.keys import derive
from jaxticket.population import over, populate
from jaxticket.prune import prune
from jaxticket.records import Origin, Record, Store
from jaxticket.trainer import Networks, Trainer
from jaxticket.types import Mask


class Start(NamedTuple):
    """What one control network is made from.

    Attributes:
      arm: its index in the arms of the run.
      level: its level.
      key: its replicate's key.
      counts: what its level keeps.
      ticket_mask: the ticket's mask at its level.
      initial: θ_0 of its replicate.
      rewound: the learner's state at the rewind step of its replicate.
      dense: the trained dense params of its replicate.
      observed: what the criterion observed of the dense training.
    """

    arm: Any
    level: Any
    key: Any
    counts: Counts
    ticket_mask: Mask
    initial: Any
    rewound: Any
    dense: Any
    observed: Any


def train_controls(
    setup: Setup,
    train: Trainer,
    counts: tuple[Counts, ...],
    origin: Origin,
    records: list[Record],
    store: Store,
    tell: Callable[..., None],
) -> None:
    """Trains the control networks that the records do not hold yet, and appends them.

    Args:
      setup: what was chosen.
      train: from `jaxticket.trainer.trainer`.
      counts: what each level keeps.
      origin: where all tickets come from.
      records: finished networks, all levels of the ticket among them.
      store: where each chunk is kept as soon as it is finished.
      tell: called after every compiled call.
    """
    tickets = {record.levels[0]: record for record in records if record.arms[0] == "ticket"}
    finished = {coordinate for record in records for coordinate in record.coordinates}
    missing = [c for c in control_coordinates(setup) if c not in finished]
    size = _chunk(setup, origin, len(missing))
    start_all = over(populate(_start_one(setup), setup.plan), size)
    for first in range(0, len(missing), size):
        chosen = missing[first : first + size]
        networks = start_all(_gather(setup, chosen, counts, origin, tickets))
        at = chosen[0]
        trained = train(
            networks,
            size,
            start=setup.rewind_step,
            on_segment=lambda steps, metrics, at=at: tell(at.arm, at.level, steps, metrics),
        )
        records.append(make_record(chosen, trained, networks.masks))
        store.save(records[-1])


def control_coordinates(setup: Setup) -> Iterator[Coordinate]:
    """Lists the control networks of a run: arm by arm, level by level.

    Args:
      setup: what was chosen.

    Yields:
      Their names.
    """
    for arm in setup.arms[1:]:
        for level in range(1, setup.levels):
            yield from (Coordinate(arm, level, index) for index in range(setup.replicates))


def _chunk(setup: Setup, origin: Origin, missing: int) -> int:
    """Chooses how many controls train at a time; on a CPU as many as the ticket, so that one
    compilation serves both."""
    state_bytes = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(origin.rewound))
    size = setup.plan.control_chunk(setup.replicates, state_bytes // setup.replicates)
    return min(size, max(setup.plan.padded(missing), setup.ticket_size))


def _start_one(setup: Setup) -> Callable[[Start], Networks]:
    """Makes state, mask and key of one control network; the arm is chosen on the device."""
    branches = [_branch(setup, ARMS[name]) for name in setup.arms]

    def one(start: Start) -> Networks:
        state, mask = jax.lax.switch(start.arm, branches, start)
        return Networks(state, mask, derive(start.key, "train", start.level))

    return one


def _branch(setup: Setup, arm: Arm) -> Callable[[Start], tuple[Any, Mask]]:
    own_weights = arm.weights == "rewind"

    def branch(start: Start) -> tuple[Any, Mask]:
        mask = _mask_of(setup, arm, start)
        fresh = setup.learner.init(derive(start.key, "reinit", start.level))
        key = derive(start.key, "action", start.level)
        params = arm.action(key, start.rewound.params, fresh.params, mask)
        # Batch statistics of θ_k describe θ_k only: other weights start from those of a new
        # initialisation, and never from θ_k's moments.
        model_state = (start.rewound if own_weights else fresh).model_state
        state = start.rewound._replace(model_state=model_state)
        moments = setup.rewind_moments and own_weights
        return setup.learner.restart(state, params, mask, moments=moments), mask

    return branch


def _mask_of(setup: Setup, arm: Arm, start: Start) -> Mask:
    if arm.mask == "ticket":
        return start.ticket_mask
    if arm.mask == "shuffle":
        return masks.shuffle(derive(start.key, "shuffle", start.level), start.ticket_mask)
    evidence = Evidence(start.initial, start.dense, derive(start.key, "prune", start.level))
    full = jax.tree.map(jnp.ones_like, start.ticket_mask)
    return prune(setup.criterion, setup.allocation, evidence, full, start.counts, start.observed)


def _gather(
    setup: Setup,
    chosen: list[Coordinate],
    counts: tuple[Counts, ...],
    origin: Origin,
    tickets: dict[int, Record],
) -> Start:
    """Collects along axis 0 what the chosen networks are made from."""
    rows = np.array([c.replicate for c in chosen])
    take = lambda tree: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731
    ticket_masks = [
        jax.tree.map(lambda leaf, c=c: leaf[c.replicate], tickets[c.level].masks) for c in chosen
    ]
    return Start(
        arm=np.array([setup.arms.index(c.arm) for c in chosen], np.int32),
        level=np.array([c.level for c in chosen], np.int32),
        key=setup.keys[rows],
        counts={
            path: np.array([counts[c.level][path] for c in chosen], np.int32) for path in counts[0]
        },
        ticket_mask=jax.tree.map(lambda *leaves: np.stack(leaves), *ticket_masks),
        initial=take(origin.initial),
        rewound=take(origin.rewound),
        dense=take(tickets[0].params),
        observed=take(tickets[0].observed),
    )
