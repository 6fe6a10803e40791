"""Networks that a measurement trains besides its run: how, and who is told of them."""

from typing import Any

from experiments.common.problem import MakeFamily, Problem, make_problem, recipe_family
from experiments.common.searching import search_of
from experiments.common.training import Teller
from jaxticket.costs import Ledger
from jaxticket.imp import Progress
from jaxticket.records import Memory
from jaxticket.result import Result


def with_config(problem: Problem, config: Any, make_family: MakeFamily = recipe_family) -> Problem:
    """Makes a problem of another configuration, on the data and the plan of one that is measured.

    Args:
      problem: that is measured.
      config: of the other one.
      make_family: of its learners.

    Returns:
      The other problem.
    """
    other = make_problem(config, problem.dataset, make_family)
    return other._replace(plan=problem.plan, training=problem.training)


def search(problem: Problem) -> Result:
    """Makes a search that is not checkpointed, and tells of it where the run does.

    Args:
      problem: of that search, with its variants.

    Returns:
      What was found.
    """
    training = problem.training
    if training is None:
        return search_of(problem, None, Ledger())(Memory(), _nobody)
    return search_of(problem, None, training.ledger)(Memory(), training.on_progress)


def transfer_options(problem: Problem, networks: int, rewind_step: int) -> dict[str, Any]:
    """Gives what `jaxticket.transfer.transfer` is told in a measurement of any run.

    Args:
      problem: of the run.
      networks: how many are trained.
      rewind_step: k.

    Returns:
      Keyword arguments: finished networks are kept until the run has ended.
    """
    training = problem.training
    tell = Teller(training, networks * (problem.protocol.steps - rewind_step))
    return {
        "rewind_step": rewind_step,
        "plan": problem.plan,
        "streaming": problem.config.streaming,
        "on_segment": lambda name, *made: tell(name.arm, name.level, *made),
        "keeper": training and training.keeper,
        "ledger": training and training.ledger,
        "keep_every": problem.config.keep_every,
    }


def _nobody(progress: Progress) -> None:
    """Is told of everything and does nothing."""
