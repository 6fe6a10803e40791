"""A population: the host's loop over its intervals, its examples held or streamed."""

from jaxticket.trainer.placement import Placement, place
from jaxticket.trainer.run import Networks, Trained, Trainer, check_snapshots, trainer

__all__ = [
    "Networks",
    "Placement",
    "Trained",
    "Trainer",
    "check_snapshots",
    "place",
    "trainer",
]
