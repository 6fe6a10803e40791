"""Noticing within a minute that another host is gone, and saying which one.

A collective operation whose partner is gone waits for ever, and what JAX's runtime does when it
misses a process is to abort with a stack trace and a number. So every process shows a sign of
life in the key-value store that JAX's coordination service keeps in process 0, and looks for
those of the others.
"""

import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

LOST = 1
"""Exit code of a process that ends because another one is gone."""

_BEATS, _ENDED = "jaxticket/beats", "jaxticket/ended"
_LAST_WORDS = 2.0
"""Seconds that process 0 stays, so that the others end for this reason and not its absence."""


class Watch:
    """Signs of life of all processes, in two threads: one talks, one judges."""

    def __init__(self, process: int, names: list[str], lost_after: float, coordinator: str) -> None:
        """Prepares the watch.

        Args:
          process: which process this is.
          names: the hosts' names, one a process.
          lost_after: seconds of silence after which a process counts as lost.
          coordinator: `host:port` of process 0.
        """
        self._process = process
        self._names = names
        self._lost_after = lost_after
        self._coordinator = coordinator
        self._interval = lost_after / 8
        self._values = dict.fromkeys(range(len(names)), "")
        self._heard = dict.fromkeys(range(len(names)), time.monotonic())
        self._stopped = threading.Event()
        self._ending = threading.Lock()

    def start(self) -> None:
        """Starts both threads; they end with the process."""
        for target in (self._talk, self._judge):
            threading.Thread(target=target, daemon=True).start()

    def stop(self) -> None:
        """Ends the watch: from here on the others may go."""
        self._stopped.set()

    def wait(self) -> None:
        """Waits as long as a loss may go unnoticed; if there is one, this does not return."""
        time.sleep(self._lost_after + 3 * self._interval)

    def tell(self, code: int, message: str) -> None:
        """Tells the other processes that this one ends, and why, so that they end too.

        Args:
          code: the exit code, for all.
          message: what they print; nothing if empty.
        """
        self._ending.acquire()  # and never released: the first thread that ends, ends
        self.stop()
        with contextlib.suppress(RuntimeError):  # another process was first
            _client().key_value_set(_ENDED, json.dumps([code, message]))
        self._linger()

    def end_aborted(self) -> None:
        """Ends the process in place of JAX's runtime, which aborts when it misses a process."""
        # Nothing can be told from here: the runtime holds its locks, and the others abort too.
        silent = [0] if not _answers(self._coordinator) else self._silent(2 * self._interval)
        if silent:
            end(LOST, self._describe_lost(silent))
        end(LOST, "error: JAX's runtime aborted this process, for the reason above")

    def describe(self, process: int | None = None) -> str:
        """Names a process for people; this one if `None`."""
        process = self._process if process is None else process
        return f"host {self._names[process]} (process {process} of {len(self._names)})"

    def _linger(self) -> None:
        if self._process == 0:
            time.sleep(_LAST_WORDS)

    def _talk(self) -> None:
        beat = 0
        while not self._stopped.is_set():
            began, beat = time.monotonic(), beat + 1
            try:
                _client().key_value_set(f"{_BEATS}/{self._process}", str(beat), True)
                self._listen(_client().key_value_dir_get(_BEATS))
                # Waits until someone ends or, as a rule, until it is time for the next beat.
                words = _client().blocking_key_value_get(_ENDED, int(1000 * self._interval))
                if not self._stopped.is_set():
                    self._linger()
                    end(*json.loads(words))
            except RuntimeError:
                self._stopped.wait(self._interval - (time.monotonic() - began))

    def _listen(self, beats: list[tuple[str, str]]) -> None:
        for key, value in beats:
            process = int(key.rsplit("/", 1)[1])
            if self._values[process] != value:
                self._values[process], self._heard[process] = value, time.monotonic()

    def _judge(self) -> None:
        while not self._stopped.is_set():
            slept = time.monotonic()
            self._stopped.wait(self._interval)
            if time.monotonic() - slept > 2 * self._interval:
                # It is this process that stood still, so it cannot know who else did.
                self._heard = dict.fromkeys(self._heard, time.monotonic())
            silent = self._silent(self._lost_after)
            # What this process wrote comes back from process 0 only.
            if self._process in silent:
                silent = [0] if self._process else []
            if silent and not self._stopped.is_set():
                self._end_lost(silent)

    def _silent(self, seconds: float) -> list[int]:
        now = time.monotonic()
        return [process for process, heard in self._heard.items() if now - heard > seconds]

    def _end_lost(self, processes: list[int]) -> None:
        message = self._describe_lost(processes)
        if 0 not in processes:
            self.tell(LOST, message)
        end(LOST, message)

    def _describe_lost(self, processes: list[int]) -> str:
        who = ", ".join(map(self.describe, processes))
        have = "have" if len(processes) > 1 else "has"
        return (
            f"error: {who} {have} dropped out; rerun the same command on every host to go on from "
            "the last checkpoint"
        )


def end(code: int, message: str) -> None:
    """Ends this process at once, however many threads wait for a host that is gone.

    Args:
      code: the exit code.
      message: printed on stderr if not empty.
    """
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[?25h")  # the progress bar hides the cursor
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    if message:
        os.write(2, f"{message}\n".encode())
    os._exit(code)


_HANDLER_TYPE = ctypes.CFUNCTYPE(None, ctypes.c_int)
_handlers: list[Any] = []


def on_abort(action: Any) -> None:
    """Calls something when the C++ runtime aborts this process; Python's handlers come too late.

    Args:
      action: called without arguments, expected to end the process; `None` for no more calls.
    """
    set_handler = ctypes.CDLL(None).signal
    set_handler.restype = ctypes.c_void_p
    if action is None:
        set_handler.argtypes = [ctypes.c_int, ctypes.c_void_p]
        set_handler(signal.SIGABRT, None)
        return
    # C keeps no reference.
    _handlers.append(_HANDLER_TYPE(lambda number: action()))
    set_handler.argtypes = [ctypes.c_int, _HANDLER_TYPE]
    set_handler(signal.SIGABRT, _handlers[-1])


def _answers(coordinator: str) -> bool:
    host, port = coordinator.rsplit(":", 1)
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def _client() -> Any:
    # JAX has no public way to the key-value store of its coordination service.
    from jax._src import distributed

    return distributed.global_state.client
