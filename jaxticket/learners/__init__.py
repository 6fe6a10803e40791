"""What training is: one file a way of training. `imp` knows nothing else of it."""

from jaxticket.learners.base import Learner
from jaxticket.learners.preprocessing import standardized, unit_interval
from jaxticket.learners.supervised import TrainState, supervised

__all__ = ["Learner", "TrainState", "standardized", "supervised", "unit_interval"]
