"""Seconds by phase, compilation apart."""

import contextlib
import sys
import time
from collections.abc import Generator
from types import TracebackType
from typing import Any

import jax

from jaxticket.population import hosts

PHASES = (
    *("data", "compile", "start", "train", "evaluate"),
    *("prune", "check", "checkpoint", "report", "other"),
)
"""What seconds are counted under. `start` makes the states and, for controls, the masks that
training starts from; `check` is the monitor of the contracts; `other` is what is in no phase."""


class Ledger:
    """Counts a run's seconds by phase, from when it is made; entered, it tells compilation apart.

    Compilation is counted apart, in whatever phase it happens: JAX tells when it traces and
    compiles, and those seconds are taken out of the phase that waited for them.

    Attributes:
      seconds: by phase, up to the end of the last phase.
      network_steps: training steps made, one for each network.
      networks: networks trained to the end.
      flops_a_step: floating point operations of one training step of one network, if known.
      notes: what people should know of how the run was carried out, one line each.

    Example:
      >>> with Ledger() as ledger, ledger.phase("train"):
      ...     ledger.network_steps += 10
      >>> sorted(ledger.seconds)
      ['compile', 'other', 'train']
    """

    def __init__(self) -> None:
        """Begins to count."""
        self.seconds: dict[str, float] = {}
        self.network_steps = 0
        self.networks = 0
        self.flops_a_step: float | None = None
        self.notes: list[str] = []
        self._within = ["other"]
        self._mark = time.perf_counter()
        self._spans: list[tuple[float, float]] = []

    def __enter__(self) -> "Ledger":
        """Begins to listen for compilations."""
        jax.monitoring.register_event_time_span_listener(self._listen)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stops listening."""
        self._settle()
        jax.monitoring.unregister_event_time_span_listener(self._listen)

    @contextlib.contextmanager
    def phase(self, name: str) -> Generator[None]:
        """Counts what happens inside under a phase; a phase inside of another counts for itself.

        Args:
          name: one of `PHASES`.

        Yields:
          Nothing.

        Raises:
          ValueError: for another name.
        """
        if name not in PHASES:
            raise ValueError(f"phase: got {name!r}, expected one of {PHASES}")
        self._settle()
        self._within.append(name)
        try:
            yield
        finally:
            self._settle()
            self._within.pop()

    def note(self, line: str) -> None:
        """Prints a line for people to stderr, and keeps it; once, and in one process of a run.

        Args:
          line: what happened.
        """
        if line not in self.notes:
            self.notes.append(line)
            if hosts.is_primary():
                print(line, file=sys.stderr)

    def _listen(self, event: str, start_time: float, end_time: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile/"):
            self._spans.append((start_time, end_time))

    def _settle(self) -> None:
        """Counts what has passed since the last time under the present phase."""
        now = time.perf_counter()
        compiled, self._spans = min(_covered(self._spans), now - self._mark), []
        for name, passed in (
            (self._within[-1], now - self._mark - compiled),
            ("compile", compiled),
        ):
            self.seconds[name] = self.seconds.get(name, 0.0) + passed
        self._mark = now


def _covered(spans: list[tuple[float, float]]) -> float:
    """Measures a union of spans: traces contain the traces of what they call."""
    total, reached = 0.0, -float("inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
