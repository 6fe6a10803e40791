"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis.claims import Claim, Evidence, judge
from jaxticket.analysis.early_stopping import at_early_stop, early_stop_step
from jaxticket.analysis.statistics import Interval, mean_interval, paired_interval

__all__ = [
    "Claim",
    "Evidence",
    "Interval",
    "at_early_stop",
    "early_stop_step",
    "judge",
    "mean_interval",
    "paired_interval",
]
