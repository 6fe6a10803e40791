"""One network: its batches, its steps, and all of its training. Population axes come later."""

from jaxticket.train.batches import Fed, epoch_order
from jaxticket.train.network import UNWATCHED, begin, segment, train
from jaxticket.train.steps import Training, advance, measure, no_sums

__all__ = [
    "UNWATCHED",
    "Fed",
    "Training",
    "advance",
    "begin",
    "epoch_order",
    "measure",
    "no_sums",
    "segment",
    "train",
]
