"""Results as figures: each function takes a dataset of `jaxticket.runs` and returns a `Figure`.

The figures stand alone: no window is opened, no backend chosen and no state of
`matplotlib.pyplot` touched. Whatever a figure lacks can be added to the axes it holds.
"""

from jaxticket.plots.actions import actions_heat_map
from jaxticket.plots.barriers import (
    barrier_against_gap,
    barrier_against_step,
    barrier_curves,
    barrier_heat_map,
)
from jaxticket.plots.basins import hessian_spectra, radius_histogram
from jaxticket.plots.curves import learning_curves
from jaxticket.plots.density import (
    accuracy_against_density,
    both_against_density,
    early_stop_against_density,
)
from jaxticket.plots.geometry import jumps_and_barriers, loss_plane, stages_against_density
from jaxticket.plots.levels import (
    angles_over_levels,
    barriers_between_levels,
    flow_diagram,
    jumps_of_steps,
)
from jaxticket.plots.overlaps import overlap_over_training
from jaxticket.plots.repulsion import strengths_against_density, successive_against_density
from jaxticket.plots.saving import save
from jaxticket.plots.sparsity import layer_densities, mask_images
from jaxticket.plots.spectra import jacobian_spectra
from jaxticket.plots.style import APPEARANCES, Appearance
from jaxticket.plots.supermasks import accuracy_against_share
from jaxticket.plots.sweeps import instability_against_density, variants_against_density
from jaxticket.plots.transfers import flow_exponents, loss_against_distance, transfer_matrices

__all__ = [
    "APPEARANCES",
    "Appearance",
    "accuracy_against_density",
    "accuracy_against_share",
    "actions_heat_map",
    "angles_over_levels",
    "barrier_against_gap",
    "barrier_against_step",
    "barrier_curves",
    "barrier_heat_map",
    "barriers_between_levels",
    "both_against_density",
    "early_stop_against_density",
    "flow_diagram",
    "flow_exponents",
    "hessian_spectra",
    "instability_against_density",
    "jacobian_spectra",
    "jumps_and_barriers",
    "jumps_of_steps",
    "layer_densities",
    "learning_curves",
    "loss_against_distance",
    "loss_plane",
    "mask_images",
    "overlap_over_training",
    "radius_histogram",
    "save",
    "stages_against_density",
    "strengths_against_density",
    "successive_against_density",
    "transfer_matrices",
    "variants_against_density",
]
