"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis.claims import Claim, Evidence, judge
from jaxticket.analysis.connectivity import barriers
from jaxticket.analysis.early_stopping import (
    at_early_stop,
    at_end,
    at_start,
    early_stop_step,
)
from jaxticket.analysis.gradient_flow import gradient_flow, with_gradient_flow
from jaxticket.analysis.interpolation import alphas, error_barrier, interpolate, linear_path
from jaxticket.analysis.jacobian import Isometry, jacobian_singular_values, jacobian_summary
from jaxticket.analysis.losses import loss_over
from jaxticket.analysis.projection import Projection, projection
from jaxticket.analysis.statistics import Interval, mean_interval, paired_interval

__all__ = [
    "Claim",
    "Evidence",
    "Interval",
    "Isometry",
    "Projection",
    "alphas",
    "at_early_stop",
    "at_end",
    "at_start",
    "barriers",
    "early_stop_step",
    "error_barrier",
    "gradient_flow",
    "interpolate",
    "jacobian_singular_values",
    "jacobian_summary",
    "judge",
    "linear_path",
    "loss_over",
    "mean_interval",
    "paired_interval",
    "projection",
    "with_gradient_flow",
]
