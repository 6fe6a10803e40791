"""Ctrl-C and SIGTERM: end within seconds, with everything kept, or at once if asked twice.

A scheduler that takes the machine away sends SIGTERM and, half a minute later, kills. Networks in
training can be kept where the host looks at them, so the first signal lets training go on to there,
seconds away; if a single step or evaluation takes too long the process ends without it, which loses
what a kill would lose: at most the minute since networks were last kept.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Generator
from types import FrameType

from jaxticket.imp import Progress
from jaxticket.population import hosts

GRACE = 25.0
"""Seconds until everything must be kept; schedulers commonly give 30."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_GO_ON = "rerun the same command to go on from here"


class InterruptionError(Exception):
    """The process was asked to end, and everything is kept.

    Attributes:
      code: the conventional exit code, 128 + the signal's number.
    """

    def __init__(self, number: int) -> None:
        """Makes the exception.

        Args:
          number: of the signal.
        """
        self.code = 128 + number
        super().__init__(f"interrupted ({signal.Signals(number).name}): {_GO_ON}")


class Interruption:
    """Remembers that a signal came, until a place is reached where the run may end."""

    def __init__(self, grace: float = GRACE) -> None:
        """Prepares; signals are caught between `__enter__` and `__exit__`.

        Args:
          grace: seconds from the first signal to the end of the process, whatever it does then.
        """
        self._grace = grace
        self._received = 0
        self._timer: threading.Timer | None = None

    def check(self, progress: Progress) -> None:
        """Ends the run if a signal came; called at every evaluation, and every few seconds.

        Args:
          progress: from `find_tickets`.

        Raises:
          InterruptionError: if one came; of several processes in all, whichever got it.
        """
        received = hosts.largest(self._received)
        if received and progress.done < progress.total:
            raise InterruptionError(received)

    @contextlib.contextmanager
    def caught(self) -> Generator["Interruption"]:
        """Catches the signals in a block; elsewhere than in the main thread it cannot.

        Yields:
          Itself.
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        try:
            yield self
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._received:
            self._end(f"interrupted again: {_GO_ON}")
        self._received = number
        _say("ending within seconds, when all is kept; interrupt again to end at once")
        # Not an alarm: compiled code would not let Python handle it.
        why = f"interrupted, and not kept within {self._grace:.0f} s: {_GO_ON}"
        self._timer = threading.Timer(self._grace, self._end, [why])
        self._timer.daemon = True
        self._timer.start()

    def _end(self, message: str) -> None:
        """Ends the process without unwinding; what is on disk is whole at every moment."""
        _say(message)
        os._exit(128 + (self._received or signal.SIGINT))


def _say(message: str) -> None:
    # Below the progress bar's line; a handler must not wait for a lock that its thread may hold.
    os.write(2, f"\n{message}\n".encode())
