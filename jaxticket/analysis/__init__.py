"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis import curvature
from jaxticket.analysis.chance import ChanceOverlap, overlap_against_chance
from jaxticket.analysis.claims import Claim, Evidence, judge
from jaxticket.analysis.comparable import Networks, together
from jaxticket.analysis.connectivity import (
    Alignment,
    Fitting,
    Outputs,
    align,
    align_pairs,
    barrier_matrix,
    barriers,
    bezier,
    curve_barriers,
    disagreement,
    ensemble_gain,
    instability,
    loss_distance,
    network_outputs,
    permute,
    recomputing,
    train_middle,
)
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
    flow_intervals,
    magnitude_shares,
    sign_pattern,
    untrained_masks,
)
from jaxticket.analysis.gradient_flow import gradient_flow, with_gradient_flow
from jaxticket.analysis.interpolation import alphas, error_barrier, interpolate, linear_path
from jaxticket.analysis.jacobian import Isometry, jacobian_singular_values, jacobian_summary
from jaxticket.analysis.landscape import (
    Plane,
    along_line,
    grid_around,
    on_grid,
    plane_along,
    plane_through,
)
from jaxticket.analysis.local_dimension import local_dimension, prunable_share
from jaxticket.analysis.losses import loss_over
from jaxticket.analysis.projection import Projection, projection
from jaxticket.analysis.radii import Radii, basin_radii
from jaxticket.analysis.statistics import Interval, mean_interval, paired_interval
from jaxticket.analysis.subspace import (
    dimension,
    filter_scales,
    kept_only,
    random_direction,
    random_signs,
)
from jaxticket.analysis.trajectory import Trajectory, principal_components
from jaxticket.analysis.transfer_results import transfer_results
from jaxticket.analysis.volume import Volume, basin_volume
from jaxticket.analysis.wiring import Degrees, Paths, degrees, paths

__all__ = [
    "Alignment",
    "ChanceOverlap",
    "Claim",
    "Degrees",
    "Evidence",
    "Fitting",
    "Flow",
    "Interval",
    "Isometry",
    "Networks",
    "Outputs",
    "Paths",
    "Plane",
    "Projection",
    "Radii",
    "Trajectory",
    "Volume",
    "align",
    "align_pairs",
    "along_line",
    "alphas",
    "angular_distance",
    "at_early_stop",
    "at_end",
    "at_start",
    "barrier_matrix",
    "barriers",
    "basin_radii",
    "basin_volume",
    "bezier",
    "curvature",
    "curve_barriers",
    "degrees",
    "dimension",
    "disagreement",
    "early_stop_step",
    "ensemble_gain",
    "error_barrier",
    "filter_scales",
    "fit_flow",
    "flow_distance",
    "flow_distances",
    "flow_intervals",
    "gradient_flow",
    "grid_around",
    "hamming_distance",
    "instability",
    "interpolate",
    "jacobian_singular_values",
    "jacobian_summary",
    "judge",
    "kept_only",
    "l2_distance",
    "linear_path",
    "local_dimension",
    "loss_distance",
    "loss_over",
    "magnitude_shares",
    "mean_interval",
    "network_outputs",
    "on_grid",
    "overlap_against_chance",
    "paired_interval",
    "paths",
    "permute",
    "plane_along",
    "plane_through",
    "principal_components",
    "projection",
    "prunable_share",
    "random_direction",
    "random_signs",
    "recomputing",
    "relative_distance",
    "sign_pattern",
    "together",
    "train_middle",
    "transfer_results",
    "untrained_masks",
    "with_gradient_flow",
]
