"""A duration in training that says its unit, so that it cannot be confused."""

import dataclasses
import re
from fractions import Fraction

from jaxticket.errors import TicketError

UNITS = ("it", "ep")
"""Iterations, which are training steps, and epochs."""

_WRITTEN = re.compile(r"([0-9]+(?:\.[0-9]+)?)(it|ep)")
_EXPECTED = "expected a number with a unit, such as 600it or 3ep"


@dataclasses.dataclass(frozen=True)
class Step:
    """A duration in training, in iterations or in epochs: `600it`, `160ep`, `0.5ep`.

    It is no number: it has no order and no sum, and `at` alone makes one of it.

    Attributes:
      amount: how many, exactly; not negative.
      unit: `it` or `ep`.

    Raises:
      TicketError: for another unit, a negative amount, or a part of an iteration.

    Example:
      >>> Step.parse("1.5ep").at(steps_an_epoch=83)
      124
      >>> Step.parse("600")
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: got 600, expected a number with a unit, such as 600it or 3ep
    """

    amount: Fraction
    unit: str

    def __post_init__(self) -> None:
        """Checks that it can be written and parsed back."""
        if self.unit not in UNITS:
            raise TicketError(f"got unit {self.unit!r}, expected it (iterations) or ep (epochs)")
        if self.amount < 0:
            raise TicketError(f"got {self.amount}{self.unit}, expected 0{self.unit} or more")
        if self.unit == "it" and self.amount.denominator != 1:
            raise TicketError(f"got {float(self.amount)}it, expected whole iterations or epochs")
        if _digits(self.amount) is None:
            raise TicketError(f"got {self.amount}{self.unit}, expected decimals, such as 0.5ep")

    @classmethod
    def parse(cls, text: str) -> "Step":
        """Reads what a user wrote.

        Args:
          text: digits, perhaps with decimals, then `it` or `ep`.

        Returns:
          The step.

        Raises:
          TicketError: for anything else.

        Example:
          >>> str(Step.parse("0.50ep"))
          '0.5ep'
        """
        written = _WRITTEN.fullmatch(str(text).strip())
        if written is None:
            raise TicketError(f"got {text}, {_EXPECTED}")
        return cls(Fraction(written[1]), written[2])

    @classmethod
    def iterations(cls, number: int | float) -> "Step":
        """Makes a step of so many iterations.

        Args:
          number: whole, not negative.

        Returns:
          The step.

        Raises:
          TicketError: for another number.

        Example:
          >>> str(Step.iterations(600))
          '600it'
        """
        return cls(_exact(number, "it"), "it")

    @classmethod
    def epochs(cls, number: int | float) -> "Step":
        """Makes a step of so many epochs.

        Args:
          number: not negative; read as the decimals that it is printed with.

        Returns:
          The step.

        Raises:
          TicketError: for another number.

        Example:
          >>> str(Step.epochs(1.5))
          '1.5ep'
        """
        return cls(_exact(number, "ep"), "ep")

    def at(self, steps_an_epoch: int) -> int:
        """Gives the iteration at which a training that starts at 0 has lasted so long.

        Args:
          steps_an_epoch: the whole batches of an epoch, from `Protocol.steps_an_epoch`.

        Returns:
          The nearest whole number; halves round to even.

        Raises:
          TicketError: if an epoch has no steps.

        Example:
          >>> Step.parse("600it").at(83), Step.parse("0.1ep").at(70)
          (600, 7)
        """
        if steps_an_epoch < 1:
            raise TicketError(f"steps an epoch: got {steps_an_epoch}, expected at least 1")
        return int(self.amount) if self.unit == "it" else round(self.amount * steps_an_epoch)

    def __str__(self) -> str:
        """Writes it as `parse` reads it."""
        digits = _digits(self.amount) or 0
        text = str(int(self.amount * 10**digits)).zfill(digits + 1)
        whole, decimals = text[: len(text) - digits], text[len(text) - digits :]
        return f"{whole}.{decimals}{self.unit}" if digits else f"{whole}{self.unit}"


def _exact(number: int | float, unit: str) -> Fraction:
    try:
        return Fraction(str(number))
    except ValueError:
        raise TicketError(f"got {number}{unit}, {_EXPECTED}") from None


def _digits(amount: Fraction) -> int | None:
    """Counts the decimals that a fraction needs, `None` if no number of them is enough."""
    twos = fives = 0
    rest = amount.denominator
    while rest % 2 == 0:
        rest, twos = rest // 2, twos + 1
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    return max(twos, fives) if rest == 1 else None
