"""How many weights go, and from where: one file a budget."""

from jaxticket.allocate.base import Allocation, Counts, Rate, keep_highest, totals
from jaxticket.allocate.global_scope import globally
from jaxticket.allocate.layerwise import layerwise, uniform

__all__ = [
    "Allocation",
    "Counts",
    "Rate",
    "globally",
    "keep_highest",
    "layerwise",
    "totals",
    "uniform",
]
