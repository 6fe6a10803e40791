"""Iterative pruning: train -> prune -> rewind, level after level, and all controls at once."""

from jaxticket.imp.search import Progress, find_tickets

__all__ = ["Progress", "find_tickets"]
