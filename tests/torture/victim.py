"""A run that tells what it is doing, and ends itself at a change to a file if it is told to.

`python tests/torture/victim.py CHANNEL FATAL MODULE OPTION...` runs `python -m MODULE OPTION...`:
nothing of it is changed. Phases are told as the run's own ledger counts them and as JAX compiles;
changes to files as Python's audit events show them, just before they happen.
"""

import contextlib
import os
import runpy
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

CHANGES = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate")
"""Audit events that change a file; reading is let through, but for what is about to be renamed."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_BEGAN = "/jax/compilation_cache/compile_requests_use_cache"
_COMPILED = "/jax/core/compile/backend_compile"


class Channel:
    """Tells, a line each, when what began; ends the process at the change that is fatal."""

    def __init__(self, descriptor: int, fatal: str, folder: Path) -> None:
        """Prepares.

        Args:
          descriptor: of a pipe.
          fatal: `<file>:<n>`, the n-th change to a file of the run; anything else for none.
          folder: of the run.
        """
        self._descriptor, self._fatal, self._folder = descriptor, fatal, str(folder.absolute())
        self._counts: dict[str, int] = {}
        self._phases = ["other"]
        self._lock = threading.Lock()

    def tell(self, what: str) -> None:
        """Tells that something begins."""
        os.write(self._descriptor, f"{time.monotonic()} {what}\n".encode())

    @contextlib.contextmanager
    def phase(self, name: str) -> Any:
        """Tells a phase, and the one around it afterwards."""
        self._phases.append(name)
        self.tell(f"phase {name}")
        try:
            yield
        finally:
            self._phases.pop()
            self.tell(f"phase {self._phases[-1]}")

    def compiling(self, event: str, *_: Any, **__: Any) -> None:
        """Listens to JAX."""
        if event == _BEGAN:
            self.tell("phase compile")
        elif event.startswith(_COMPILED):
            self.tell(f"phase {self._phases[-1]}")

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Listens to Python."""
        if event not in CHANGES:
            return
        given = arguments[1] if event == "os.rename" else arguments[0]
        if not isinstance(given, str | bytes | os.PathLike):
            return
        path = os.path.abspath(os.fsdecode(given))
        if event == "open" and not (arguments[2] & _WRITING or path.endswith(".partial")):
            return
        if not path.startswith(self._folder + os.sep):
            return
        name = path[len(self._folder) + 1 :].split(os.sep)[0]
        self._changed(name.removesuffix(".partial").lstrip("."))

    def _changed(self, name: str) -> None:
        with self._lock:
            number = self._counts.get(name, 0)
            self._counts[name] = number + 1
            self.tell(f"file {name}")
            if self._fatal == f"{name}:{number}":
                os.killpg(0, signal.SIGKILL)
                signal.pause()


def main(channel: str, fatal: str, module: str, *words: str) -> None:
    """Runs a module as its own command would."""
    import jax

    from jaxticket.costs import Ledger

    told = Channel(int(channel), fatal, Path(words[words.index("--out") + 1]))
    sys.addaudithook(told.audit)
    counted = Ledger.phase

    @contextlib.contextmanager
    def phase(self: Ledger, name: str) -> Any:
        with told.phase(name), counted(self, name):
            yield

    Ledger.phase = phase
    jax.monitoring.register_event_listener(told.compiling)
    jax.monitoring.register_event_duration_secs_listener(told.compiling)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
