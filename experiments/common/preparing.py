"""The data and the problem of an experiment: its own, or those of the run that it reads."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from experiments.common.configuration import ReadingOne
from experiments.common.problem import Problem, make_problem
from experiments.common.reopening import Source, check_choice
from experiments.common.searching import check_sweep
from jaxticket import data
from jaxticket.arms import check_arms
from jaxticket.population import Plan

if TYPE_CHECKING:
    from experiments.common.experiment import Experiment

_WHERE = ("data_path", "download", "task_paths")
"""Fields that say where data are on this machine, whosever run it is."""


def load_data(experiment: "Experiment", config: Any, source: Source | None) -> data.Dataset:
    """Loads the data, prepared as the experiment or the run that it reads does.

    Args:
      experiment: which.
      config: its configuration.
      source: the run that it reads, if any.

    Returns:
      The data set.

    Raises:
      TicketError: if it is not there.
    """
    dataset = data.load(config.dataset, path=config.data_path, download=config.download)
    owner, own = _owner(experiment, config, source)
    return owner.prepare(own, dataset)


def prepare(
    experiment: "Experiment", config: Any, dataset: data.Dataset, source: Source | None
) -> Problem:
    """Makes the problem and its sweep: the experiment's own, or those of the run that it reads.

    Args:
      experiment: which.
      config: its configuration.
      dataset: from `load_data`.
      source: the run that it reads, if any.

    Returns:
      The problem. Where one search of a run is measured its family makes of no hyperparameters the
      learner of that search.

    Raises:
      TicketError: if the configuration does not fit the data, or the run holds no such search.
    """
    owner, own = _owner(experiment, config, source)
    if source is not None:
        source.check_data(dataset.sha256)
    problem = make_problem(own, dataset, owner.make_family)
    problem = problem._replace(variants=owner.variants(problem))
    check_sweep(problem)
    check_choice(config, source, problem.variants or ())
    searches = max(1, len(problem.variants or ()))
    plan = Plan.by_name(config.plan, config.replicates * len(check_arms(config.arms)) * searches)
    problem = problem._replace(config=config, plan=plan)
    return problem if source is None else _bound(problem)


def _owner(experiment: "Experiment", config: Any, source: Source | None) -> tuple[Any, Any]:
    """Gives whose networks they are, and how those were configured."""
    if source is None:
        return experiment, config
    here = [name for name in _WHERE if hasattr(config, name) and hasattr(source.config, name)]
    own = dataclasses.replace(source.config, **{name: getattr(config, name) for name in here})
    return source.experiment, own


def _bound(problem: Problem) -> Problem:
    """Binds the hyperparameters of the one search that is measured, where it has its own."""
    if not isinstance(problem.config, ReadingOne) or not problem.variants:
        return problem
    name = problem.config.variant or next(iter(problem.variants))
    own, family = problem.variants[name].hyperparameters, problem.family
    if own is None:
        return problem
    without = lambda given: isinstance(given, Mapping) and not given  # noqa: E731
    return problem._replace(family=lambda given: family(own if without(given) else given))
