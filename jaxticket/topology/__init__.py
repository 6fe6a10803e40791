"""Masks that change while a network trains: when, and how; one file a family of rules."""

from jaxticket.topology.base import Start, Topology, at_random, everything, one_of
from jaxticket.topology.gradual import cyclic, gradual, polynomial
from jaxticket.topology.rewiring import rewired, rigl, set_, static

__all__ = [
    "Start",
    "Topology",
    "at_random",
    "cyclic",
    "everything",
    "gradual",
    "one_of",
    "polynomial",
    "rewired",
    "rigl",
    "set_",
    "static",
]
