"""What training is: one file a way of training. `imp` knows nothing else of it."""

from jaxticket.learners import augmentation
from jaxticket.learners.base import Learner, Penalty
from jaxticket.learners.family import Family
from jaxticket.learners.losses import smoothed_cross_entropy
from jaxticket.learners.preprocessing import standardized, unit_interval
from jaxticket.learners.repulsion import Repulsion, make_repulsion, repellent_loss
from jaxticket.learners.sparse import Sparse, sparse
from jaxticket.learners.supervised import TrainState, supervised
from jaxticket.learners.tasks import on_task

__all__ = [
    "Family",
    "Learner",
    "Penalty",
    "Repulsion",
    "Sparse",
    "TrainState",
    "augmentation",
    "make_repulsion",
    "on_task",
    "repellent_loss",
    "smoothed_cross_entropy",
    "sparse",
    "standardized",
    "supervised",
    "unit_interval",
]
