"""Learners that differ in their hyperparameters alone, so that they train as one population."""

from collections.abc import Callable
from typing import Any

from jaxticket.learners.base import Learner

Family = Callable[[Any], Learner]
"""`family(hyperparameters) -> Learner`, a pure function of numbers that may be traced."""


def as_family(learner: Learner | Family) -> Family:
    """Makes a family of a learner, the same for all hyperparameters; a family stays itself.

    Args:
      learner: a learner, or a function from hyperparameters to one. The function is called
        where a step is traced, with traced numbers, so it must not branch on them.

    Returns:
      The family.

    Example:
      >>> learner = Learner(init=None, step=None, evaluate=None, restart=None)
      >>> as_family(learner)({"learning_rate": 0.1}) is learner
      True
    """
    return (lambda hyperparameters: learner) if isinstance(learner, Learner) else learner
