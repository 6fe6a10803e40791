"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis.claims import Claim, Evidence, judge
from jaxticket.analysis.comparable import Networks, together
from jaxticket.analysis.connectivity import (
    Alignment,
    Fitting,
    Outputs,
    align,
    barrier_matrix,
    barriers,
    bezier,
    curve_barriers,
    disagreement,
    ensemble_gain,
    loss_distance,
    network_outputs,
    permute,
    recomputing,
    train_middle,
)
from jaxticket.analysis.early_stopping import (
    at_early_stop,
    at_end,
    at_start,
    early_stop_step,
)
from jaxticket.analysis.gradient_flow import gradient_flow, with_gradient_flow
from jaxticket.analysis.interpolation import alphas, error_barrier, interpolate, linear_path
from jaxticket.analysis.jacobian import Isometry, jacobian_singular_values, jacobian_summary
from jaxticket.analysis.statistics import Interval, mean_interval, paired_interval

__all__ = [
    "Alignment",
    "Claim",
    "Evidence",
    "Fitting",
    "Interval",
    "Isometry",
    "Networks",
    "Outputs",
    "align",
    "alphas",
    "at_early_stop",
    "at_end",
    "at_start",
    "barrier_matrix",
    "barriers",
    "bezier",
    "curve_barriers",
    "disagreement",
    "early_stop_step",
    "ensemble_gain",
    "error_barrier",
    "gradient_flow",
    "interpolate",
    "jacobian_singular_values",
    "jacobian_summary",
    "judge",
    "linear_path",
    "loss_distance",
    "mean_interval",
    "network_outputs",
    "paired_interval",
    "permute",
    "recomputing",
    "together",
    "train_middle",
    "with_gradient_flow",
]
