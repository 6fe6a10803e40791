"""What is measured: pure functions over results and checkpoints, one file an instrument."""

from jaxticket.analysis import curvature
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
from jaxticket.analysis.landscape import Plane, along_line, grid_around, on_grid, plane_through
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
from jaxticket.analysis.volume import Volume, basin_volume

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
    "Plane",
    "Projection",
    "Radii",
    "Volume",
    "along_line",
    "alphas",
    "at_early_stop",
    "at_end",
    "at_start",
    "barrier_matrix",
    "barriers",
    "bezier",
    "curve_barriers",
    "disagreement",
    "basin_radii",
    "basin_volume",
    "curvature",
    "dimension",
    "early_stop_step",
    "ensemble_gain",
    "error_barrier",
    "filter_scales",
    "gradient_flow",
    "grid_around",
    "interpolate",
    "jacobian_singular_values",
    "jacobian_summary",
    "judge",
    "kept_only",
    "linear_path",
    "loss_distance",
    "mean_interval",
    "network_outputs",
    "paired_interval",
    "permute",
    "recomputing",
    "together",
    "train_middle",
    "local_dimension",
    "loss_over",
    "mean_interval",
    "on_grid",
    "paired_interval",
    "plane_through",
    "projection",
    "prunable_share",
    "random_direction",
    "random_signs",
    "with_gradient_flow",
]
