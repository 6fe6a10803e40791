"""A population: the host's loop over its intervals, its examples held or streamed."""

from jaxticket.trainer.networks import Networks, Trained
from jaxticket.trainer.partway import Keeper
from jaxticket.trainer.placement import Placement, place
from jaxticket.trainer.run import Trainer, check_snapshots, trainer

__all__ = [
    "Keeper",
    "Networks",
    "Placement",
    "Trained",
    "Trainer",
    "check_snapshots",
    "place",
    "trainer",
]
