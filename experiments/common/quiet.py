"""What libraries tell a second time of what they have raised already, left out."""

import logging
import sys
import warnings
from typing import Any


def leave_out_repetitions() -> None:
    """Leaves out tracebacks of what became an exception, and one line, elsewhere.

    Orbax logs what it raises, its tasks too, and then drops readings that it has not begun.
    TensorStore's threads report to an event loop, which Orbax closes as soon as one of them fails.
    To be called by an entry point, never at import: it is of the whole process.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    dropped = r"coroutine '\w+\._background_load' was never awaited"
    warnings.filterwarnings("ignore", dropped, RuntimeWarning)
    sys.unraisablehook = _tell_unless_late


def _tell_unless_late(unraisable: Any) -> None:
    if str(unraisable.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(unraisable)
