"""Kills a real run again and again, and compares what it leaves with a run that was left alone."""

from tests.torture.comparing import compare
from tests.torture.killing import Attempt, Moment, attempt
from tests.torture.trials import Trial, draw_moments, trial

__all__ = ["Attempt", "Moment", "Trial", "attempt", "compare", "draw_moments", "trial"]
