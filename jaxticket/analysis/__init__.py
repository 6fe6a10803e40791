"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis.chance import ChanceOverlap, overlap_against_chance
from jaxticket.analysis.claims import Claim, Evidence, judge
from jaxticket.analysis.connectivity import barriers
from jaxticket.analysis.distances import (
    angular_distance,
    hamming_distance,
    l2_distance,
    relative_distance,
)
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
from jaxticket.analysis.trajectory import Trajectory, principal_components
from jaxticket.analysis.wiring import Degrees, Paths, degrees, paths

__all__ = [
    "ChanceOverlap",
    "Claim",
    "Degrees",
    "Evidence",
    "Flow",
    "Interval",
    "Isometry",
    "Paths",
    "Trajectory",
    "alphas",
    "angular_distance",
    "at_early_stop",
    "at_end",
    "at_start",
    "barriers",
    "degrees",
    "early_stop_step",
    "error_barrier",
    "fit_flow",
    "flow_distance",
    "flow_distances",
    "gradient_flow",
    "hamming_distance",
    "interpolate",
    "jacobian_singular_values",
    "jacobian_summary",
    "judge",
    "l2_distance",
    "linear_path",
    "magnitude_shares",
    "mean_interval",
    "overlap_against_chance",
    "paired_interval",
    "paths",
    "principal_components",
    "relative_distance",
    "sign_pattern",
    "untrained_masks",
    "with_gradient_flow",
]
