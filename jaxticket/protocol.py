"""How long a network trains, on how much at a time, and how often it is evaluated."""

import dataclasses

import numpy as np

from jaxticket.errors import TicketError


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How long a network trains and how often it is evaluated.

    Attributes:
      steps: the step at which training ends.
      batch_size: examples a step.
      evaluate_every: steps between evaluations; step `steps` is always evaluated.
      test_curves: whether the splits other than `train` and `validation` are measured at every
        evaluation; if not, only where results are read: at a network's first step, at its
        early-stop step and at its last.
    """

    steps: int
    batch_size: int
    evaluate_every: int
    test_curves: bool = True

    def __post_init__(self) -> None:
        """Checks that all numbers are positive and whole."""
        for name in ("steps", "batch_size", "evaluate_every"):
            value = getattr(self, name)
            if not isinstance(value, (int, np.integer)):
                raise TicketError(f"{name}: got {value!r}, expected a whole number")
            if value < 1:
                raise TicketError(f"{name}: got {value}, expected at least 1")
        if not isinstance(self.test_curves, bool):
            raise TicketError(f"test_curves: got {self.test_curves!r}, expected True or False")

    def steps_an_epoch(self, examples: int) -> int:
        """Counts the whole batches of an epoch.

        Args:
          examples: size of the training split.

        Returns:
          The number of steps.

        Raises:
          TicketError: if not even one batch fits.

        Example:
          >>> Protocol(steps=25, batch_size=60, evaluate_every=10).steps_an_epoch(5_000)
          83
        """
        if self.batch_size > examples:
            raise TicketError(
                f"batch size: got {self.batch_size}, expected at most the {examples} training "
                "examples"
            )
        return examples // self.batch_size

    def boundaries(self, start: int = 0) -> tuple[int, ...]:
        """Lists the steps at which a network that starts at `start` is evaluated.

        Args:
          start: the first step, 0 or the rewind step.

        Returns:
          `start`, the multiples of `evaluate_every` after it, and `steps`.

        Raises:
          TicketError: if `start` is not before the end.

        Example:
          >>> Protocol(steps=25, batch_size=60, evaluate_every=10).boundaries(4)
          (4, 10, 20, 25)
        """
        if not 0 <= start < self.steps:
            raise TicketError(
                f"rewind step: got {start}, expected 0 to {self.steps - 1}, before the end of "
                f"training at step {self.steps}"
            )
        first = (start // self.evaluate_every + 1) * self.evaluate_every
        return (start, *range(first, self.steps, self.evaluate_every), self.steps)
