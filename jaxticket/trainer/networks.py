"""Populations before and after training."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.learners.base import LearnerState
from jaxticket.train.steps import Training
from jaxticket.types import Mask


class Networks(NamedTuple):
    """Networks about to be trained, along axis 0.

    Attributes:
      states: the learner's states, masked.
      masks: which weights are kept.
      keys: typed keys, one a network.
      hyperparameters: what each network's learner is made from; `()` if all have the same.
      begins: `int32[P]`, each network's own first step; `()` if all begin where training starts.
      observed: what the criterion observed before `states`; `()` to begin anew.
      sums: of the training metrics since the last evaluation, `float32[P]` by name; `()` for none.
      watched: what earlier evaluations left behind; `()` to begin anew.
    """

    states: LearnerState
    masks: Mask
    keys: jax.Array
    hyperparameters: Any = ()
    begins: Any = ()
    observed: Any = ()
    sums: Any = ()
    watched: Any = ()


class Trained(NamedTuple):
    """Networks after training, on the host.

    Attributes:
      training: learner states and what the criterion observed.
      steps: `int64[evaluations]`.
      curves: `float32[P, evaluations]` by `<split>_<metric>`; NaN before a network begins, and
        where the protocol asks for no measurement.
      snapshots: the learner's states by step, for the steps that were asked for.
    """

    training: Training
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    snapshots: dict[int, LearnerState]
