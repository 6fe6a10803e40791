"""What training is: one file a way of training. `imp` knows nothing else of it."""

from jaxticket.learners.base import Learner
from jaxticket.learners.supervised import TrainState, supervised, unit_interval

__all__ = ["Learner", "TrainState", "supervised", "unit_interval"]
