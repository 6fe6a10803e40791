"""A search small enough for tests, shared by the files that need a finished one."""

import functools
from typing import Any

import cases
import jax

from jaxticket import Plan, Protocol, find_tickets
from jaxticket.result import Result
from jaxticket.runs import CheckpointStore

LEVELS, REPLICATES = 3, 2
PROTOCOL = Protocol(steps=6, batch_size=4, evaluate_every=3)
PLAN = Plan("map")
ARMS = ("ticket", "reinit", "shuffle", "oneshot")


def search(**changes: Any) -> Result:
    """Searches for tickets of the handwritten network."""
    choices: dict[str, Any] = {
        "learner": _learner(),
        "data": cases.data(),
        "key": jax.random.key(0),
        "protocol": PROTOCOL,
        "allocation": cases.ALLOCATIONS["uniform"],
        "levels": LEVELS,
        "replicates": REPLICATES,
        "arms": ARMS,
        "plan": PLAN,
    }
    return find_tickets(**(choices | changes))


@functools.cache
def _learner() -> Any:
    return cases.learner(optimizer="adam_scheduled")


@functools.cache
def finished() -> Result:
    """Gives the one finished search of the session."""
    return search()


def store_finished(path: Any, keep: Any = "all") -> Any:
    """Puts that search into a store, as if it had been made there; gives the path."""
    with CheckpointStore(path, keep=keep) as store:
        store.save_origin(*finished().origins)
        for record in finished().records:
            store.save(record)
    return path
