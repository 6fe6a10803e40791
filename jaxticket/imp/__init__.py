"""Iterative pruning: train -> prune -> rewind, level after level, and all controls at once."""

from jaxticket.imp.checking import check_variants
from jaxticket.imp.monitor import ContractError
from jaxticket.imp.progress import Progress
from jaxticket.imp.scoring import Scoring, draw_scoring
from jaxticket.imp.search import find_tickets
from jaxticket.imp.variants import DEFAULT, Pruning, Retraining, Variant

__all__ = [
    "DEFAULT",
    "ContractError",
    "Progress",
    "Pruning",
    "Retraining",
    "Scoring",
    "Variant",
    "check_variants",
    "draw_scoring",
    "find_tickets",
]
