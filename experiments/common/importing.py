"""What only a report needs, imported while XLA compiles, which would otherwise be waited for."""

import contextlib
import importlib
import threading

LATER = ("scipy.stats", "jaxticket.plots")
"""Modules that take long to import, and that nothing needs before a run has trained."""


def import_meanwhile(names: tuple[str, ...] = LATER) -> threading.Thread:
    """Imports modules in a thread of its own, beside compilations, which leave Python free.

    Args:
      names: of the modules. One that cannot be imported is told of by whoever needs it.

    Returns:
      The thread, which has begun.

    Example:
      >>> import_meanwhile(("wave",)).join()
      >>> import sys
      >>> "wave" in sys.modules
      True
    """

    def import_all() -> None:
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name)

    thread = threading.Thread(target=import_all, name="imports")
    thread.start()
    return thread
