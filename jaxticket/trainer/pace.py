"""How many steps run before the host looks at a population again, between its evaluations."""

import contextlib
import time
from collections.abc import Generator

from jaxticket.population import hosts

LOOK_EVERY = 5.0
"""Seconds between two looks, so that a signal is soon seen and little is lost; our own choice."""


class Pace:
    """Cuts long intervals into parts of about so many seconds, by what the last steps took.

    Of several processes the first one decides.

    Example:
      >>> Pace().stop(3, 3), Pace().stop(3, 9)
      (3, 4)
    """

    def __init__(self) -> None:
        """Knows nothing yet: the first part is a single step."""
        self._a_step: float | None = None
        self._looked = 0.0

    def begin(self) -> None:
        """Counts the time to the next look from here, where an interval begins."""
        self._looked = time.monotonic()

    def stop(self, start: int, end: int) -> int:
        """Says where the next part ends.

        Args:
          start: where it begins.
          end: of the interval.

        Returns:
          The step, after `start` unless that is the end.
        """
        return min(end, start + hosts.once(self._steps))

    @contextlib.contextmanager
    def timing(self, steps: int) -> Generator[None]:
        """Times a part.

        Args:
          steps: that it has.
        """
        began = time.monotonic()
        yield
        if self._a_step is None:
            self.begin()  # The first part may have been compiled too.
        if steps:
            self._a_step = (time.monotonic() - began) / steps

    def look(self) -> bool:
        """Says whether it is time to look; if so, the next time is counted from here.

        Returns:
          True at most every `LOOK_EVERY` seconds.
        """
        due = hosts.once(lambda: time.monotonic() - self._looked >= LOOK_EVERY)
        if due:
            self.begin()
        return due

    def _steps(self) -> int:
        if self._a_step is None:
            return 1
        return max(1, min(1_000_000, int(LOOK_EVERY / max(self._a_step, 1e-9))))
