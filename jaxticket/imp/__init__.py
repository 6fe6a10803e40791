"""Iterative pruning: train -> prune -> rewind, level after level, and all controls at once."""

from jaxticket.imp.search import Progress, find_tickets
from jaxticket.imp.variants import Retraining, Variant

__all__ = ["Progress", "Retraining", "Variant", "find_tickets"]
