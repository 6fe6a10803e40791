"""Many networks: how a function of one network runs over axis 0, and what with.

The strategies in one place: `map` (one after the other), `vmap` (all at once), and `mesh`
(shared out over devices, either of them inside). On a CPU one device a core with `map` inside
is fastest, because each core then keeps its own network in its cache.
"""

from jaxticket.population.pieces import Fitting, join, over, pad, to_host
from jaxticket.population.plan import PLANS, Plan, check_plan_name, use_all_cores
from jaxticket.population.populate import populate, share, spread

__all__ = [
    "PLANS",
    "Fitting",
    "Plan",
    "check_plan_name",
    "join",
    "over",
    "pad",
    "populate",
    "share",
    "spread",
    "to_host",
    "use_all_cores",
]
