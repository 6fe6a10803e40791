"""What masks are made from: iterative pruning, scores at initialisation, and spoiled examples."""

from typing import Any

from experiments.common.experiment import Problem
from jaxticket import criteria
from jaxticket.imp import Scoring, Variant

ITERATIVE = "imp"
"""The variant of iterative magnitude pruning after training."""

AT_START = {
    "random": "random",
    "magnitude": "magnitude_at_initialization",
    "snip": "snip",
    "grasp": "grasp",
    "synflow": "synflow",
    "inverse snip": "inverse_snip",
    "inverse grasp": "inverse_grasp",
    "inverse synflow": "inverse_synflow",
}
"""What is scored at initialisation, and this library's names of the criteria."""

CORRUPTED: dict[str, dict[str, Any]] = {
    "snip on random labels": {"corruption": "labels"},
    "snip on shuffled pixels": {"corruption": "pixels"},
    "snip on half of the data": {"share": 0.5},
}
"""SNIP on spoiled examples, and how they are drawn: as many of them from half of the data."""

FOUND = ("snip", "grasp", "synflow")
"""The published criteria at initialisation, of which the claims are."""


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the sources of masks.

    Args:
      problem: what is run.

    Returns:
      A variant each, iterative magnitude pruning first.
    """
    config = problem.config
    made = {name: criteria.by_name(AT_START[name]) for name in config.sources if name in AT_START}
    scorings = {
        name: Scoring(config.scoring_examples, **spoiled)
        for name, spoiled in CORRUPTED.items()
        if name in config.sources
    }
    on_these = made.get("snip") or criteria.snip()
    return {
        ITERATIVE: Variant(),
        **{name: Variant(criterion=one, pruning="at_start") for name, one in made.items()},
        **{
            name: Variant(criterion=on_these, pruning="at_start", scoring=scoring)
            for name, scoring in scorings.items()
        },
    }
