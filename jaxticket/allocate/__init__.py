"""How many weights go, and from where: one file a budget."""

from jaxticket.allocate.base import Allocation, Counts, count_kept, keep_highest, totals
from jaxticket.allocate.cost import by_cost, keep_affordable
from jaxticket.allocate.erdos_renyi import erdos_renyi
from jaxticket.allocate.global_scope import globally
from jaxticket.allocate.layerwise import layerwise, uniform
from jaxticket.allocate.layerwise_adaptive import layerwise_adaptive
from jaxticket.allocate.n_of_m import n_of_m
from jaxticket.allocate.per_output import per_output
from jaxticket.allocate.proportional import apportion, proportional
from jaxticket.allocate.rates import Rate
from jaxticket.allocate.removable import removable_units
from jaxticket.allocate.smart_ratio import smart_ratio
from jaxticket.allocate.structures import blocks, units

__all__ = [
    "Allocation",
    "Counts",
    "Rate",
    "apportion",
    "blocks",
    "by_cost",
    "count_kept",
    "erdos_renyi",
    "globally",
    "keep_affordable",
    "keep_highest",
    "layerwise",
    "layerwise_adaptive",
    "n_of_m",
    "per_output",
    "proportional",
    "removable_units",
    "smart_ratio",
    "totals",
    "uniform",
    "units",
]
