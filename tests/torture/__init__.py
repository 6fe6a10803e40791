"""Kills a real run again and again, and compares what it leaves with a run that was left alone."""

from .comparing import compare
from .killing import Attempt, Moment, attempt
from .trials import Trial, draw_moments, trial

__all__ = ["Attempt", "Moment", "Trial", "attempt", "compare", "draw_moments", "trial"]
