"""The ways of retraining that are compared, and the search that each of them is."""

from experiments.common.experiment import Problem
from experiments.common.warming import without_warmup
from jaxticket.imp import Retraining, Variant

WAYS: dict[str, Retraining] = {
    "weight rewinding": "weights",
    "rate rewinding": "learning_rate",
    "fine-tuning": "fine_tuning",
}
"""The ways of retraining, as figures name them."""

FROM_ZERO = "weight rewinding to 0"
"""Iterative magnitude pruning as it first was, for a reinit that is trained in full."""


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the ways of retraining.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    chosen = problem.config.retrainings
    ways = {name: Variant(retraining=way) for name, way in WAYS.items() if way in chosen}
    # Reinit trains from k on as well; only here does it train as long as a network of its own.
    ways[FROM_ZERO] = Variant(rewind_step=0, retraining="weights")
    return without_warmup(problem, ways)
