"""What a run costs: seconds by phase, network-steps a second, arithmetic, memory."""

from jaxticket.costs.account import Costs, account
from jaxticket.costs.ledger import PHASES, Ledger
from jaxticket.costs.machine import flops_of, matrix_rate, peak_memory

__all__ = ["PHASES", "Costs", "Ledger", "account", "flops_of", "matrix_rate", "peak_memory"]
