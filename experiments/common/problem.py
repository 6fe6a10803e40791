"""A configuration, made ready to run on its data."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from experiments.common.configuration import Configuration
from experiments.common.training import Training
from jaxticket import data, prune, recipes
from jaxticket.allocate import Allocation, Counts
from jaxticket.imp import Variant
from jaxticket.masks import ones
from jaxticket.population import Plan
from jaxticket.protocol import Protocol
from jaxticket.recipes import make_allocation, make_protocol, make_prunable
from jaxticket.recipes.searching import steps_an_epoch
from jaxticket.structure import multiplications

Variants = Mapping[str, Variant] | None
"""Of a sweep by name; `None` without one."""

MakeFamily = Callable[[Any, data.Dataset], Callable[[Any], Any]]
"""`make_family(config, dataset)` gives the learner of a network with given hyperparameters."""


class Problem(NamedTuple):
    """A configuration, made ready to run on its data.

    Attributes:
      config: the configuration.
      dataset: the data.
      family: the learner of a network with given hyperparameters.
      protocol: how long networks train.
      shapes: of one network's params.
      steps_an_epoch: by which a `Step` is read.
      plan: how populations run.
      variants: of the sweep that is run, or of the run that is read; `None` without one.
      training: given to what measures a run; `None` elsewhere.
    """

    config: Any
    dataset: data.Dataset
    family: Callable[[Any], Any]
    protocol: Protocol
    shapes: Any
    steps_an_epoch: int
    plan: Plan
    variants: Variants = None
    training: Training | None = None

    def allocation(self, **changes: Any) -> Any:
        """Makes the allocation of the configuration with some fields changed."""
        config = dataclasses.replace(self.config, **changes)
        costs = self._multiplications() if config.scope == "multiplications" else None
        return make_allocation(config, self.shapes, costs)

    def schedule(self, allocation: Allocation | None = None) -> tuple[Counts, ...]:
        """Lists what levels keep, in the terms of the allocation, the configuration's if `None`.

        Raises:
          TicketError: for a schedule that does not fit the network.
        """
        config = self.config
        chosen = self.allocation() if allocation is None else allocation
        dense = ones(self.shapes, make_prunable(config))
        return prune.schedule(chosen, dense, config.levels, empty_layers=config.empty_layers)

    def densities(self, allocation: Allocation | None = None) -> list[float]:
        """Lists what the levels keep, in percent to three digits, as `schedule` has it."""
        kept = [sum(counts.values()) for counts in self.schedule(allocation)]
        return [float(f"{100 * number / kept[0]:.3g}") for number in kept]

    def _multiplications(self) -> dict[str, int]:
        """Counts what each weight costs in a forward pass."""
        learner = self.family({})
        begun = jax.eval_shape(learner.init, jax.random.key(0))
        shape = self.dataset.train.images.shape[-3:]
        return multiplications(learner.objective.apply, begun.params, begun.model_state, shape)

    @property
    def splits(self) -> dict[str, Any]:
        """The data by split."""
        dataset = self.dataset
        return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


def recipe_family(config: Any, dataset: data.Dataset) -> Callable[[Any], Any]:
    """Makes the family of learners that a recipe describes."""
    return recipes.make_family(config, dataset, config.precision)


def make_problem(
    config: Configuration,
    dataset: data.Dataset,
    make_family: MakeFamily = recipe_family,
) -> Problem:
    """Makes a configuration ready to run on its data, and checks that both fit.

    Args:
      config: the configuration, checked.
      dataset: the data.
      make_family: of the experiment.

    Returns:
      The problem, its plan that of one network.

    Raises:
      TicketError: for a network, a batch size or a schedule that does not fit.
    """
    examples = len(dataset.train.labels)
    protocol = make_protocol(
        config, examples, config.evaluate_every, test_curves=config.test_curves
    )
    family = make_family(config, dataset)
    shapes = jax.eval_shape(family({}).init, jax.random.key(0)).params
    problem = Problem(
        config=config,
        dataset=dataset,
        family=family,
        protocol=protocol,
        shapes=shapes,
        steps_an_epoch=steps_an_epoch(config, examples),
        plan=Plan("map"),
    )
    protocol.boundaries(config.rewind_step.at(problem.steps_an_epoch))
    problem.schedule()
    return problem
