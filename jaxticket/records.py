"""What a run produces: finished networks, what they came from, and where both are kept."""

import operator
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from jaxticket.allocate.base import Counts
from jaxticket.types import Mask, Params


class Record(NamedTuple):
    """Networks that have been trained to the end; P of them, along axis 0 of every array.

    Attributes:
      arms: the arm of each network.
      levels: the level of each network.
      replicates: the replicate of each network.
      steps: `int64[evaluations]`, the steps at which they were evaluated.
      curves: `float32[P, evaluations]` by `<split>_<metric>`.
      masks: `bool[P, ...]` leaves.
      params: trained weights, `float[P, ...]` leaves, exactly zero where pruned.
      observed: the states of the criterion that watched; `()` if it watches nothing.
    """

    arms: tuple[str, ...]
    levels: tuple[int, ...]
    replicates: tuple[int, ...]
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    masks: Mask
    params: Params
    observed: Any

    @property
    def coordinates(self) -> tuple[tuple[str, int, int], ...]:
        """`(arm, level, replicate)` of each network."""
        return tuple(zip(self.arms, self.levels, self.replicates, strict=True))

    def diverged_steps(self) -> np.ndarray:
        """Finds where each network's loss was first not finite.

        Returns:
          `int64[P]`, the evaluation step, −1 where the loss stayed finite.
        """
        losses = [curve for name, curve in self.curves.items() if name.endswith("_loss")]
        bad = np.zeros(losses[0].shape, bool)
        for name, curve in self.curves.items():
            # There is no training loss before the first step.
            first = 1 if name.startswith("train_") else 0
            if name.endswith("_loss"):
                bad[:, first:] |= ~np.isfinite(curve[:, first:])
        return np.where(bad.any(axis=1), self.steps[bad.argmax(axis=1)], -1)


class Origin(NamedTuple):
    """Where every ticket of a run comes from; the replicates along axis 0.

    Attributes:
      initial: the params at initialisation, θ_0.
      rewound: the learner's whole state at the rewind step, unmasked.
    """

    initial: Params
    rewound: Any


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


class Store(Protocol):
    """Keeps what a run has finished, so that the same call goes on where it stopped."""

    def load(self, template: Template) -> tuple[Origin | None, list[Record]]:
        """Gives back what was saved, in the order in which it was saved."""
        ...

    def save_origin(self, origin: Origin) -> None:
        """Keeps the origin; called once, before the first record."""
        ...

    def save(self, record: Record) -> None:
        """Keeps a record; returns when it is safe or being made safe in the background."""
        ...


class Memory:
    """A store that forgets when the process ends."""

    def load(self, template: Template) -> tuple[Origin | None, list[Record]]:
        """Has nothing to give back."""
        del template
        return None, []

    def save_origin(self, origin: Origin) -> None:
        """Keeps nothing; the result holds it."""

    def save(self, record: Record) -> None:
        """Keeps nothing; the result holds it."""


class Network(NamedTuple):
    """One finished network of a result."""

    mask: Mask
    params: Params
    curves: dict[str, np.ndarray]
    steps: np.ndarray


class Result(NamedTuple):
    """All that `find_tickets` found.

    Attributes:
      arms: the arms, `ticket` first.
      levels: number of levels.
      replicates: number of replicates.
      counts: what each level keeps, exact.
      size: number of prunable weights.
      origin: initial weights and the rewound state.
      records: the finished networks.
    """

    arms: tuple[str, ...]
    levels: int
    replicates: int
    counts: tuple[Counts, ...]
    size: int
    origin: Origin
    records: list[Record]

    def densities(self) -> np.ndarray:
        """Gives the scheduled density of every level.

        Returns:
          `float64[levels]`.
        """
        return np.array([sum(counts.values()) / self.size for counts in self.counts])

    def network(self, arm: str, level: int, replicate: int) -> Network:
        """Gives one finished network.

        Args:
          arm: its arm; at level 0 all arms share the dense network.
          level: its level.
          replicate: its replicate.

        Returns:
          Mask, trained params and curves of that network.

        Raises:
          KeyError: if there is no such network.
        """
        wanted = ("ticket" if level == 0 else arm, level, replicate)
        for record in self.records:
            if wanted in record.coordinates:
                here = operator.itemgetter(record.coordinates.index(wanted))
                return Network(
                    mask=jax.tree.map(here, record.masks),
                    params=jax.tree.map(here, record.params),
                    curves=jax.tree.map(here, record.curves),
                    steps=record.steps,
                )
        raise KeyError(
            f"network: got {wanted}, expected an arm of {self.arms}, a level below {self.levels} "
            f"and a replicate below {self.replicates}"
        )
