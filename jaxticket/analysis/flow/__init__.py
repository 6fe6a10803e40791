"""Iterative pruning as a renormalisation group: how the layers' shares of the magnitude flow.

A step of the group is a level of pruning. It changes the scale by c = 1/(1 − p), the factor by
which fewer weights are left, and what flows are the shares M_i(n) of the remaining magnitude that
each layer i holds at level n. Where M_i(n + 1) = λ_i M_i(n) with λ_i = c^σ_i, a layer is relevant
(σ_i > 0: its share grows), irrelevant (σ_i < 0) or marginal.

The dictionary is that of 2110.03210, of which only the abstract was read; the observable is as
remembered of it (unverified), and every convention beyond it (which c, how σ is estimated, over
which levels, how flows are compared) is this project's own definition.
"""

from jaxticket.analysis.flow.distance import flow_distance, flow_distances
from jaxticket.analysis.flow.exponents import Flow, fit_flow, flow_intervals, sign_pattern
from jaxticket.analysis.flow.nulls import untrained_masks
from jaxticket.analysis.flow.observables import Shares, magnitude_shares

__all__ = [
    "Flow",
    "Shares",
    "fit_flow",
    "flow_distance",
    "flow_distances",
    "flow_intervals",
    "magnitude_shares",
    "sign_pattern",
    "untrained_masks",
]
