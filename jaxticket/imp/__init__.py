"""Iterative pruning: train -> prune -> rewind, level after level, and all controls at once."""

from jaxticket.imp.search import Progress, find_tickets
from jaxticket.imp.variants import Retraining, Variant, check_variants

__all__ = ["Progress", "Retraining", "Variant", "check_variants", "find_tickets"]
