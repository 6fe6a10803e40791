"""A piece of a population on its way: what the host sees, tells and keeps of it at every stop."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.costs import Ledger
from jaxticket.population import to_host
from jaxticket.protocol import Protocol
from jaxticket.train.stopping import LOSS, place_of_lowest
from jaxticket.trainer.evaluation import Evaluated, Interval
from jaxticket.trainer.networks import Networks, Trained
from jaxticket.trainer.partway import Keeping, Partway
from jaxticket.trainer.segments import Reached


class Asked(NamedTuple):
    """What a call of the trainer asks for, the same for all its pieces.

    Attributes:
      protocol: how long networks are trained, and how they are evaluated.
      start: the step that training starts at.
      grid: the steps of the evaluations, from the start to the end.
      stops: the steps at which networks of any piece begin.
      snapshots: the steps whose states are wanted.
      on_segment: is told of every interval; see `trainer`.
    """

    protocol: Protocol
    start: int
    grid: tuple[int, ...]
    stops: tuple[int, ...]
    snapshots: tuple[int, ...]
    on_segment: Callable[[int, dict[str, np.ndarray]], None] | None


class Piece:
    """Networks that train together, and what there is of them until now."""

    def __init__(self, networks: Networks, asked: Asked, keeping: Keeping, ledger: Ledger) -> None:
        """Begins where training starts.

        Args:
          networks: the piece.
          asked: what is wanted of it.
          keeping: decides when it is kept.
          ledger: counts its steps.
        """
        self.number: int = networks.keys.shape[0]
        self._networks, self._asked = networks, asked
        self._keeping, self._ledger = keeping, ledger
        begins = networks.begins if np.size(networks.begins) else asked.start
        self._begins = np.broadcast_to(begins, self.number)
        self.intervals: list[Interval] = _intervals(asked, set(self._begins.tolist()))
        self._rows: dict[int, dict[str, np.ndarray]] = {}
        self._snapshots: dict[int, Any] = {}
        self._here = asked.start
        self._metrics: dict[str, np.ndarray] = {}

    def resume(self, begun: Callable[[Networks], Any]) -> Networks:
        """Goes to where an earlier process left these networks, if one did.

        Args:
          begun: gives the shapes of what they carry; see `Segments`.

        Returns:
          The networks, from which `intervals` go on.
        """
        networks, start = self._networks, self._asked.start
        training = start, self._asked.protocol
        partway = self._keeping.resume(networks, training, lambda: begun(networks))
        if partway is None:
            return networks
        here, self._rows, self._snapshots = partway.stop, partway.rows, partway.snapshots
        self.intervals = [
            interval._replace(start=max(here, interval.start))
            for interval in self.intervals
            if interval.stop > here
        ]
        self._here, self._metrics = here, self._rows[max(self._rows)]
        if self._asked.on_segment is not None:
            self._asked.on_segment(self._made(start, here), self._metrics)
        return networks._replace(
            states=partway.learner,
            observed=partway.observed,
            sums=partway.sums,
            watched=partway.watched,
        )

    def reach(self, reached: Reached) -> None:
        """Notes what there is at a stop, tells it, and keeps the piece if need be.

        Args:
          reached: the stop, and what the networks carry there, padding included.

        Raises:
          BaseException: that `on_segment` raised, once the networks are kept.
        """
        stop, made = reached.stop, self._made(self._here, reached.stop)
        self._here = stop
        self._ledger.network_steps += made
        if reached.evaluated is not None:
            self._evaluate(stop, reached.evaluated)
            if stop in self._asked.snapshots:
                self._snapshots[stop] = _first(reached.training.learner, self.number)
        raised = _tell(self._asked.on_segment, made, self._metrics)
        self._keep(reached, whatever=raised is not None)
        if raised:
            raise raised

    def trained(self, training: Any) -> Trained:
        """Gives the piece at the end of its training.

        Args:
          training: what the networks carry there, padding included.

        Returns:
          The networks, without the padding.
        """
        names = self._rows[self._asked.grid[-1]]
        unknown = np.full(self.number, np.nan, np.float32)
        rows = self._rows.values()
        curves = {
            name: np.stack([row.get(name, unknown) for row in rows], axis=1) for name in names
        }
        steps = np.array(list(self._rows))
        return Trained(_first(training, self.number), steps, curves, self._snapshots)

    def _made(self, start: int, stop: int) -> int:
        return int((stop - np.clip(self._begins, start, stop)).sum())

    def _evaluate(self, stop: int, evaluated: Evaluated) -> None:
        """Takes the metrics of those that are evaluated here; NaN of the others."""
        metrics, at_stop, at_lowest = _first(tuple(evaluated[:3]), self.number)
        self._metrics = metrics | at_stop
        on_grid, ends = stop in self._asked.grid, stop == self._asked.grid[-1]
        if not (on_grid or stop in self._asked.stops):
            return
        begins = self._begins == stop
        # A stop off the grid is the first evaluation of those that begin there.
        here = self._begins <= stop if on_grid else begins
        row = {name: np.where(here, values, np.nan) for name, values in metrics.items()}
        # So that what is measured of a network does not depend on those beside it.
        here = here if ends else begins
        row |= {name: np.where(here, values, np.nan) for name, values in at_stop.items()}
        self._rows[stop] = row
        if at_lowest:
            self._stop_early(at_lowest)

    def _stop_early(self, at_lowest: dict[str, np.ndarray]) -> None:
        """Puts what was measured at each network's early-stop step into the row of that step."""
        losses = np.stack([row[LOSS] for row in self._rows.values()]).astype(np.float32)
        lowest = place_of_lowest(losses)
        for place, row in enumerate(self._rows.values()):
            for name, values in at_lowest.items():
                row[name] = np.where(lowest == place, values, row.get(name, np.nan))

    def _keep(self, reached: Reached, *, whatever: bool) -> None:
        """Keeps the piece if it is time to, or whatever the time is; not at the end."""
        if reached.stop == self._asked.grid[-1] or not (whatever or self._keeping.due):
            return
        with self._ledger.phase("checkpoint"):
            learner, observed, _ = _first(reached.training, self.number)
            sums, watched = _first((reached.sums, reached.watched), self.number)
            rows, snapshots = self._rows, self._snapshots
            partway = Partway("", reached.stop, learner, observed, sums, watched, rows, snapshots)
            training = self._asked.start, self._asked.protocol
            self._keeping.keep(self._networks, training, partway)


def _intervals(asked: Asked, begins: set[int]) -> list[Interval]:
    """Lists the intervals between stops; those off the grid do not cut what is averaged over."""
    intervals, here, since = [], asked.start, asked.start
    end = asked.grid[-1]
    for stop in sorted({*asked.grid, *asked.stops, *asked.snapshots}):
        on_grid = stop in asked.grid
        intervals.append(Interval(here, stop, since, on_grid, stop in begins, stop == end))
        here, since = stop, stop if on_grid else since
    return intervals


def _tell(
    on_segment: Callable[..., None] | None, made: int, metrics: dict[str, np.ndarray]
) -> BaseException | None:
    """Tells, and gives back what was raised, so that the networks can be kept before it goes on."""
    try:
        if on_segment is not None:
            on_segment(made, metrics)
    except BaseException as error:
        return error
    return None


def _first(tree: Any, number: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[:number], to_host(tree))
