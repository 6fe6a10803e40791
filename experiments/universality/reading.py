"""Sources and targets of transfers: the tasks of one run, or a run's task and all others."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray

from experiments.common.experiment import Problem
from experiments.common.going_on import joined
from experiments.common.searching import search_of
from experiments.universality.searches import of_tasks, one_search
from experiments.universality.tasks import FIRST
from jaxticket.records import Origin
from jaxticket.result import Result
from jaxticket.runs import to_dataset


class Targets(NamedTuple):
    """Searches whose networks train by one family, on one data set.

    Attributes:
      problem: how; its variants are those of the result.
      result: theirs, with the states at the rewind step.
    """

    problem: Problem
    result: Result


class Searches(NamedTuple):
    """All tickets that are measured.

    Attributes:
      tickets: the sources' tickets, of all variants.
      results: their curves.
      targets: the same variants, by how they train.
    """

    tickets: Result
    results: xarray.Dataset
    targets: tuple[Targets, ...]


class _Rewound(NamedTuple):
    """What tickets take of a state: those of several optimizers have nothing else in common."""

    params: Any
    model_state: Any


def searches_of(problem: Problem, result: Result, results: xarray.Dataset) -> Searches:
    """Gives the tickets of a run of tasks; beside those of one data set, trains the others'.

    Args:
      problem: what is run, or read.
      result: its networks.
      results: their curves.

    Returns:
      All searches, in the order of `searches.names_of`.
    """
    if of_tasks(problem):
        return Searches(result, results, (Targets(problem, result),))
    training, name = problem.training, problem.config.variant or result.variants[0]
    assert training is not None, "other tasks are trained where a run is measured"
    others: Problem = training.besides
    search = search_of(others, None, training.ledger)
    trained = search(training.store, training.on_progress)
    mine = result.only(name)
    tickets = joined(FIRST, _bare(mine), _bare(trained))
    config, alone = dataclasses.replace(problem.config, variant=""), {FIRST: one_search(problem)}
    own = Targets(
        problem._replace(config=config, variants=alone),
        mine._replace(schedules={FIRST: mine.counts}),
    )
    curves = to_dataset(tickets, np.asarray(others.dataset.test.labels))
    return Searches(tickets, curves, (own, Targets(others, trained)))


def _bare(result: Result) -> Result:
    """Leaves of the rewound states what a ticket is made of."""
    origin = result.origin
    rewound = _Rewound(origin.rewound.params, origin.rewound.model_state)
    return result._replace(origins=[Origin(jax.tree.map(np.asarray, origin.initial), rewound)])
