"""The search whose cost is measured: that of `experiments.lenet`."""

import dataclasses
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import jax

from experiments import lenet
from experiments.common.experiment import make_problem
from jaxticket import data, find_tickets
from jaxticket.allocate.base import Allocation
from jaxticket.costs import Ledger
from jaxticket.imp import Progress
from jaxticket.learners.base import Learner
from jaxticket.population import Plan
from jaxticket.protocol import Protocol
from jaxticket.recipes import Step
from jaxticket.runs import CheckpointStore
from jaxticket.types import Data


class Search(NamedTuple):
    """A search, as far as its cost depends on it.

    Attributes:
      learner: how networks are trained.
      data: the splits by name.
      protocol: steps, batch size and evaluation interval.
      allocation: how many weights go.
      plan: how populations run.
      replicates: networks that train together.
    """

    learner: Learner
    data: Data
    protocol: Protocol
    allocation: Allocation
    plan: Plan
    replicates: int


def default_search(steps: int, arms: int, *, quick: bool) -> Search:
    """Makes the search that `experiments.lenet` makes by default, or on digits where quick.

    Args:
      steps: of training at each level.
      arms: how many, for the choice of the plan.
      quick: whether it is small.

    Returns:
      The search.
    """
    chosen = lenet.PRESETS["smoke" if quick else "default"]
    chosen = dataclasses.replace(chosen, steps=Step.iterations(steps))
    problem = make_problem(chosen, data.load(chosen.dataset))
    every = min(problem.protocol.evaluate_every, steps)
    return Search(
        problem.family({}),
        problem.splits,
        dataclasses.replace(problem.protocol, evaluate_every=every),
        problem.allocation(),
        Plan.auto(chosen.replicates * arms),
        chosen.replicates,
    )


class Measured(NamedTuple):
    """What one whole search took.

    Attributes:
      phases: seconds by phase, from the library's own ledger.
      levels: seconds of each level of the ticket, pruning, evaluation and checkpoint included.
    """

    phases: dict[str, float]
    levels: list[float]


def run_search(search: Search, levels: int, arms: tuple[str, ...]) -> Measured:
    """Runs a whole search, with checkpoints, and reads the clock after every level.

    Args:
      search: what is searched.
      levels: the dense one included.
      arms: the ticket first.

    Returns:
      Seconds by phase and by level.
    """
    ends = {-1: time.perf_counter()}

    def note(progress: Progress) -> None:
        if progress.arm == "ticket":
            ends[progress.level] = time.perf_counter()

    with tempfile.TemporaryDirectory() as folder, Ledger() as ledger:
        store = CheckpointStore(Path(folder))
        find_tickets(
            search.learner,
            search.data,
            jax.random.key(0),
            search.protocol,
            search.allocation,
            levels=levels,
            replicates=search.replicates,
            arms=arms,
            plan=search.plan,
            store=store,
            ledger=ledger,
            on_progress=note,
        )
        with ledger.phase("checkpoint"):
            store.close()
    return Measured(ledger.seconds, [ends[level] - ends[level - 1] for level in range(levels)])
