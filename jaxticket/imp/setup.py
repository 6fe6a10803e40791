"""What was chosen for a search, and the small things that follow from it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket import masks
from jaxticket.allocate.base import Counts
from jaxticket.costs import Ledger
from jaxticket.criteria.base import Criterion, Evidence
from jaxticket.criteria.combined import together
from jaxticket.imp.lineages import Lineages
from jaxticket.keys import derive_each
from jaxticket.learners.family import Family
from jaxticket.masks.prunable import Prunable
from jaxticket.population import Plan, over, populate
from jaxticket.protocol import Protocol
from jaxticket.prune import prune_counting
from jaxticket.records import Coordinate, Record, Template
from jaxticket.trainer import Trained
from jaxticket.types import Batch, Mask


class Setup(NamedTuple):
    """Every choice of a search, checked; see `find_tickets` for what each one means.

    `scoring` are the examples that each lineage's criterion is given, `[L, n, ...]` leaves;
    `together` is how many replicates are searched at a time at most, all if `None`.
    """

    family: Family
    lineages: Lineages
    protocol: Protocol
    prunable: Prunable
    arms: tuple[str, ...]
    levels: int
    replicates: int
    plan: Plan
    ledger: Ledger
    scoring: Batch = None
    empty_layers: bool = False
    together: int | None = None

    @property
    def ticket_size(self) -> int:
        """How many networks of one level of the ticket train at a time, in every group."""
        return self.plan.padded(min(self.group_size, self.plan.chunk or self.group_size))

    @property
    def group_size(self) -> int:
        """How many networks a level of the ticket has, in a group of replicates that is full."""
        return len(self.lineages.names) * (self.together or self.lineages.replicates)

    def only(self, replicates: range) -> "Setup":
        """Gives the search of some replicates in a row, whose programs are those of all."""
        together = self.together or self.lineages.replicates
        return self._replace(lineages=self.lineages.only(replicates), together=together)

    @property
    def criterion(self) -> Criterion:
        """What watches training for all pruners: its state holds those of all criteria."""
        return together(self.lineages.criteria)

    def level_keys(self, purpose: str, level: int) -> jax.Array:
        """Derives the lineages' keys for a purpose at a level."""
        levels = np.full(self.lineages.number, level, np.int32)
        return derive_each(self.lineages.keys, purpose, levels)

    def keys(self, purpose: str, rows: np.ndarray, levels: np.ndarray) -> jax.Array:
        """Derives keys of some lineages for a purpose, each at a level of its own."""
        return derive_each(self.lineages.keys[rows], purpose, levels)

    def prune(
        self,
        pruner: Any,
        hyperparameters: Any,
        evidence: Evidence,
        mask: Mask,
        counts: Counts,
        observed: Any,
    ) -> tuple[Mask, Counts]:
        """Makes the next mask of one network with its own criterion and selection.

        Beside it, by leaf path, how many scores were not finite.
        """
        given = evidence._replace(objective=self.family(hyperparameters).objective)

        def by(place: int, select: Any, kept: Any) -> Callable[[], tuple[Mask, Counts]]:
            criterion = self.lineages.criteria[place]
            return lambda: prune_counting(
                criterion, select, given, mask, counts, observed[place], kept
            )

        branches = [by(*pruner[:3]) for pruner in self.lineages.pruners]
        return jax.lax.switch(pruner, branches)

    def moments(self, restart: Callable[[bool], Any], chosen: Any) -> Any:
        """Restarts with or without moments, as the lineage chose."""
        if self.lineages.moments.all() or not self.lineages.moments.any():
            return restart(bool(self.lineages.moments.all()))
        return choose(chosen, restart(True), restart(False))

    def begins(self, rows: Any = slice(None)) -> Any:
        """Gives the steps at which networks begin, `()` if it is the same one for all."""
        begins = self.lineages.begins
        return () if (begins == begins[0]).all() else begins[rows]

    def over(self, function: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
        """Makes a function of one network one of any number of them, on the host."""
        return over(populate(function, self.plan, compile_fast=True), size, self.ledger.note)

    def template(self) -> Template:
        """Gives the shapes of one network, without computing any."""
        first = lambda leaf: jnp.asarray(leaf[0])  # noqa: E731
        given = jax.tree.map(first, self.lineages.hyperparameters)
        state = jax.eval_shape(lambda key: self.family(given).init(key), self.lineages.keys[0])
        mask = jax.eval_shape(lambda: masks.ones(state.params, self.prunable))
        return Template(state, mask, jax.eval_shape(self.criterion.init, state.params))


def make_record(coordinates: list[Coordinate], trained: Trained, mask: Any) -> Record:
    """Puts together what is kept of trained networks.

    Args:
      coordinates: their names.
      trained: what the trainer gave.
      mask: their masks, `bool[P, ...]` leaves.

    Returns:
      The record.
    """
    arms, levels, replicates, variants = zip(*coordinates, strict=True)
    return Record(
        arms=arms,
        levels=levels,
        replicates=replicates,
        variants=variants,
        steps=trained.steps,
        curves=trained.curves,
        masks=mask,
        params=trained.training.learner.params,
        model_state=trained.training.learner.model_state,
        observed=trained.training.observed,
    )


def choose(condition: Any, one: Any, other: Any) -> Any:
    """Takes one tree where a condition holds, and another where not.

    Args:
      condition: `bool[]`, may be traced.
      one: where it holds.
      other: of the same structure.

    Returns:
      The tree.

    Example:
      >>> int(choose(jnp.array(False), {"w": 1}, {"w": 2})["w"])
      2
    """
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), one, other)
