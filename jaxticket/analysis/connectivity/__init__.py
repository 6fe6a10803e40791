"""Mode connectivity: how far the error rises between two networks, and what makes it rise less.

The instability of training at step k is the barrier between two copies that were trained from the
same W_k with different SGD noise: `instability` trains copies of any state and measures them. A
search whose rewind step is k holds such copies already, for `barriers`: at one level and replicate
they are the networks of the arms `ticket` and `copy`, which differ in their data order,
augmentation and dropout; those of `reinit` and `reinit_copy`, and of `shuffle` and `shuffle_copy`,
are the same of two controls. For the dense network they are those of the arm `dense` at two levels
above 0, which differ in the same and in nothing else. Without `rewind_moments` the copies start at
step k with moments of zero, so W_k is then the weights alone. Training is called stable at k if
the barrier of the test error is below 2 %, here 0.02, in the mean of all pairs. A barrier on the
straight line says nothing of curves between the two, for which there is `curve_barriers`, nor of
networks whose hidden units have changed places, for which there are `align` and `align_pairs`.

Source: 1912.05671, section 2.
"""

from jaxticket.analysis.connectivity.alignment import Alignment, align, permute
from jaxticket.analysis.connectivity.alignments import align_pairs
from jaxticket.analysis.connectivity.curves import Fitting, bezier, curve_barriers, train_middle
from jaxticket.analysis.connectivity.instability import instability
from jaxticket.analysis.connectivity.lines import barriers
from jaxticket.analysis.connectivity.matrices import barrier_matrix
from jaxticket.analysis.connectivity.predictions import (
    Outputs,
    disagreement,
    ensemble_gain,
    loss_distance,
    network_outputs,
)
from jaxticket.analysis.connectivity.recomputation import recomputing

__all__ = [
    "Alignment",
    "Fitting",
    "Outputs",
    "align",
    "align_pairs",
    "barrier_matrix",
    "barriers",
    "bezier",
    "curve_barriers",
    "disagreement",
    "ensemble_gain",
    "instability",
    "loss_distance",
    "network_outputs",
    "permute",
    "recomputing",
    "train_middle",
]
