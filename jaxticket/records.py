"""Finished networks, what they came from, and where both are kept."""

import operator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.train.stopping import LOSS, place_of_lowest
from jaxticket.types import Mask, ModelState, Params


class Dropped:
    """Stands where trained params were that a store dropped on request, to take less disk.

    It is one leaf, for one network as for many; whoever looks for weights in it is told.

    Example:
      >>> Dropped("runs/a")[0]["output"]
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: runs/a: the params of this network were dropped (--keep); its \
mask and curves are there, and a run with --keep all makes its params again
    """

    def __init__(self, where: str) -> None:
        """Makes it.

        Args:
          where: they were.
        """
        self._where = where

    def __getitem__(self, key: Any) -> "Dropped":
        """Gives itself for a place or places, and refuses the name of a leaf."""
        if isinstance(key, str):
            raise self.error()
        return self

    def error(self) -> TicketError:
        """Makes the error that tells what became of them."""
        return TicketError(
            f"{self._where}: the params of this network were dropped (--keep); its mask and curves "
            "are there, and a run with --keep all makes its params again"
        )


class Record(NamedTuple):
    """Networks that have been trained to the end; P of them, along axis 0 of every array.

    Attributes:
      arms: the arm of each network.
      levels: the level of each network.
      replicates: the replicate of each network.
      variants: the variant of a sweep that each network belongs to, `""` without a sweep.
      steps: `int64[evaluations]`, the steps at which they were evaluated.
      curves: `float32[P, evaluations]` by `<split>_<metric>`; NaN before a network begins, and
        where the protocol asks for no measurement.
      masks: `bool[P, ...]` leaves.
      params: trained weights, `float[P, ...]` leaves, exactly zero where pruned; `Dropped` where
        the store keeps none.
      model_state: batch statistics and the like at the end of training, `[P, ...]` leaves.
      observed: the states of the criterion that watched; `()` if it watches nothing.
    """

    arms: tuple[str, ...]
    levels: tuple[int, ...]
    replicates: tuple[int, ...]
    variants: tuple[str, ...]
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    masks: Mask
    params: Params
    model_state: ModelState
    observed: Any

    @property
    def coordinates(self) -> "tuple[Coordinate, ...]":
        """The name of each network."""
        names = zip(self.arms, self.levels, self.replicates, self.variants, strict=True)
        return tuple(Coordinate(*name) for name in names)

    def diverged_steps(self) -> np.ndarray:
        """Finds where each network's loss was first not finite.

        Returns:
          `int64[P]`, the evaluation step, −1 where the loss stayed finite.
        """
        missing = _not_evaluated(np.stack(list(self.curves.values())))
        places = np.arange(missing.shape[1])
        first = places == missing.argmin(axis=1)[:, None]
        stops = first | (places == places[-1])
        if LOSS in self.curves:
            stops |= places == place_of_lowest(self.curves[LOSS], axis=1)[:, None]
        bad = np.zeros(missing.shape, bool)
        for name, curve in self.curves.items():
            if name.endswith("_loss"):
                # There is no training loss before a network's first step.
                without = missing | first if name.startswith("train_") else missing
                if not name.startswith(("train_", "validation_")):
                    without = without | _not_measured(self._of_split_of(name), stops)
                bad |= ~np.isfinite(curve) & ~without
        return np.where(bad.any(axis=1), self.steps[bad.argmax(axis=1)], -1)

    def _of_split_of(self, metric: str) -> np.ndarray:
        split = metric.split("_", 1)[0]
        same = [curve for name, curve in self.curves.items() if name.split("_", 1)[0] == split]
        return np.stack(same)

    def only(self, variant: str) -> "Record":
        """Takes the networks of one variant, without its name."""
        rows = [row for row, name in enumerate(self.variants) if name == variant]
        some = operator.itemgetter(np.array(rows))
        return Record(
            tuple(self.arms[row] for row in rows),
            tuple(self.levels[row] for row in rows),
            tuple(self.replicates[row] for row in rows),
            ("",) * len(rows),
            self.steps,
            *jax.tree.map(some, self[5:]),
        )


class Coordinate(NamedTuple):
    """The name of a network in a run."""

    arm: str
    level: int
    replicate: int
    variant: str = ""


class Origin(NamedTuple):
    """Where tickets of a run come from; along axis 0 the replicates of all variants.

    Attributes:
      initial: the params at initialisation, θ_0.
      rewound: the learner's whole state at the rewind step, unmasked.
      final: its state at the end of dense training; `()` where nothing is fine-tuned.
    """

    initial: Params
    rewound: Any
    final: Any = ()


class Template(NamedTuple):
    """Shapes of one network, so that a store can rebuild what it kept.

    Attributes:
      state: the learner's state as `jax.ShapeDtypeStruct` leaves.
      mask: the mask, likewise.
      observed: the criterion's state, likewise.
    """

    state: Any
    mask: Any
    observed: Any


@runtime_checkable
class Store(Protocol):
    """Keeps what a run has finished, so that the same call goes on where it stopped."""

    @property
    def partway(self) -> Any:
        """A `jaxticket.trainer.Keeper` of what is not finished; `None` to keep nothing of it."""
        ...

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Gives back what was saved, in the order in which it was saved."""
        ...

    def save_origin(self, origin: Origin) -> Origin:
        """Keeps the origin of a group of replicates; called right before that of its level 0.

        Returns:
          It, perhaps with its arrays mapped from a disk.
        """
        ...

    def save(self, record: Record) -> Record:
        """Keeps a record; returns when it is safe or being made safe in the background.

        Returns:
          It, perhaps with its arrays mapped from a disk.
        """
        ...


class Memory:
    """A store that forgets when the process ends."""

    partway = None

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Has nothing to give back."""
        del template
        return [], []

    def save_origin(self, origin: Origin) -> Origin:
        """Keeps nothing; the result holds it."""
        return origin

    def save(self, record: Record) -> Record:
        """Keeps nothing; the result holds it."""
        return record


def _not_measured(curves: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Marks where a split was not measured, of networks that have numbers of it only at stops."""
    missing = np.isnan(curves).all(axis=0)
    elsewhere = (~missing & ~stops).any(axis=1, keepdims=True)
    return missing & ~stops & ~elsewhere


def _not_evaluated(curves: np.ndarray) -> np.ndarray:
    """Marks where networks were not evaluated: every metric NaN, with a finite one later."""
    missing = np.isnan(curves).all(axis=0)
    finite = np.isfinite(curves).any(axis=0)
    finite_later = np.flip(np.logical_or.accumulate(np.flip(finite, 1), axis=1), 1)
    return missing & finite_later
