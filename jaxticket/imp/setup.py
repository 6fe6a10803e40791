"""What was chosen for a search, and the small things that follow from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket import masks
from jaxticket.allocate.base import Allocation, Counts
from jaxticket.costs import Ledger
from jaxticket.criteria.base import Criterion
from jaxticket.keys import derive
from jaxticket.learners.base import Learner
from jaxticket.masks.prunable import Prunable
from jaxticket.population import Plan, over, populate
from jaxticket.protocol import Protocol
from jaxticket.records import Record, Template
from jaxticket.trainer import Trained


class Setup(NamedTuple):
    """Every choice of a search, checked; see `find_tickets` for what each one means."""

    learner: Learner
    criterion: Criterion
    allocation: Allocation
    protocol: Protocol
    prunable: Prunable
    arms: tuple[str, ...]
    levels: int
    replicates: int
    rewind_step: int
    rewind_moments: bool
    plan: Plan
    ledger: Ledger
    keys: jax.Array

    @property
    def ticket_size(self) -> int:
        """How many networks of one level of the ticket train at a time."""
        return self.plan.padded(min(self.replicates, self.plan.chunk or self.replicates))

    def level_keys(self, purpose: str, level: int) -> jax.Array:
        """Derives the replicates' keys for a purpose at a level."""
        return jax.vmap(lambda key: derive(key, purpose, level))(self.keys)

    def over(self, function: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
        """Makes a function of one network one of any number of them, on the host."""
        return over(populate(function, self.plan, seldom=True), size, self.ledger.note)

    def template(self) -> Template:
        """Gives the shapes of one network, without computing any."""
        state = jax.eval_shape(self.learner.init, self.keys[0])
        mask = jax.eval_shape(lambda: masks.ones(state.params, self.prunable))
        return Template(state, mask, jax.eval_shape(self.criterion.init, state.params))


class Coordinate(NamedTuple):
    """The name of a network in a run."""

    arm: str
    level: int
    replicate: int


def replicate_keys(key: PRNGKeyArray, replicates: int) -> jax.Array:
    """Derives one key a replicate, by index.

    Args:
      key: the run's key.
      replicates: how many.

    Returns:
      Typed keys, `[replicates]`.

    Example:
      >>> replicate_keys(jax.random.key(0), 3).shape
      (3,)
    """
    return jax.vmap(lambda index: derive(key, "replicate", index))(jnp.arange(replicates))


def repeated(counts: Counts, number: int) -> Counts:
    """Gives every network of a population the same counts.

    Args:
      counts: integers by path.
      number: how many networks.

    Returns:
      `int32[number]` by path.

    Example:
      >>> repeated({"*": 7}, 2)["*"].tolist()
      [7, 7]
    """
    return {path: np.full(number, kept, np.int32) for path, kept in counts.items()}


def make_record(coordinates: list[Coordinate], trained: Trained, mask: Any) -> Record:
    """Puts together what is kept of trained networks.

    Args:
      coordinates: their names.
      trained: what the trainer gave.
      mask: their masks, `bool[P, ...]` leaves.

    Returns:
      The record.
    """
    arms, levels, replicates = zip(*coordinates, strict=True)
    return Record(
        arms=arms,
        levels=levels,
        replicates=replicates,
        steps=trained.steps,
        curves=trained.curves,
        masks=mask,
        params=trained.training.learner.params,
        observed=trained.training.observed,
    )
