"""Training while a run is measured: where it is kept, and who is told of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxticket.costs import Ledger
from jaxticket.imp import Progress
from jaxticket.records import Store
from jaxticket.trainer import Keeper


class Training(NamedTuple):
    """What a measurement needs that trains networks itself.

    Attributes:
      store: keeps a search besides the one that is measured, where that belongs to another run.
      keeper: keeps all else, as long as the run has not ended.
      on_progress: is told of it, and raises where the run is to end.
      ledger: of the run.
      besides: the problem of that other search, if there is one.
    """

    store: Store
    keeper: Keeper
    on_progress: Callable[[Progress], None]
    ledger: Ledger
    besides: Any = None


class Teller:
    """Counts the network-steps of what is measured, for the display and for signals."""

    def __init__(self, training: Training | None, total: int) -> None:
        """Prepares.

        Args:
          training: whom to tell; `None` for nobody.
          total: network-steps that there will be.
        """
        self._training, self._total, self._done = training, total, 0

    def __call__(self, arm: str, level: int, steps: int, metrics: dict[str, np.ndarray]) -> None:
        """Tells of some more.

        Args:
          arm: of the first network in training.
          level: likewise.
          steps: network-steps made since the call before.
          metrics: the newest ones.
        """
        self._done += steps
        if self._training is not None:
            progress = Progress(arm, level, self._done, self._total, metrics)
            self._training.on_progress(progress)
