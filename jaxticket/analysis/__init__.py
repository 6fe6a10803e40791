"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis.claims import Claim, Evidence, judge
from jaxticket.analysis.connectivity import barriers
from jaxticket.analysis.early_stopping import (
    at_early_stop,
    at_end,
    at_start,
    early_stop_step,
)
from jaxticket.analysis.flow import (
    Flow,
    fit_flow,
    flow_distance,
    flow_distances,
    magnitude_shares,
    sign_pattern,
    untrained_masks,
)
from jaxticket.analysis.gradient_flow import gradient_flow, with_gradient_flow
from jaxticket.analysis.interpolation import alphas, error_barrier, interpolate, linear_path
from jaxticket.analysis.jacobian import Isometry, jacobian_singular_values, jacobian_summary
from jaxticket.analysis.statistics import Interval, mean_interval, paired_interval
from jaxticket.analysis.transfer_results import transfer_results

__all__ = [
    "Claim",
    "Evidence",
    "Flow",
    "Interval",
    "Isometry",
    "alphas",
    "at_early_stop",
    "at_end",
    "at_start",
    "barriers",
    "early_stop_step",
    "error_barrier",
    "fit_flow",
    "flow_distance",
    "flow_distances",
    "gradient_flow",
    "interpolate",
    "jacobian_singular_values",
    "jacobian_summary",
    "judge",
    "linear_path",
    "magnitude_shares",
    "mean_interval",
    "paired_interval",
    "sign_pattern",
    "transfer_results",
    "untrained_masks",
    "with_gradient_flow",
]
