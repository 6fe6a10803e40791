"""Live progress: level, arm, steps a second, time left."""

import time
from types import TracebackType

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from jaxticket.imp import Progress

_QUIET_SECONDS = 10.0


class ProgressDisplay:
    """A bar on a terminal, a line every ten seconds elsewhere (a log file, a pipe)."""

    def __init__(self, console: Console, levels: int) -> None:
        """Prepares the display.

        Args:
          console: where to print.
          levels: number of levels, the dense one included.
        """
        self._console = console
        self._levels = levels
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[speed]:>7,.0f} steps/s, left"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("compiling", total=None, speed=0.0)
        self._first: tuple[float, int] | None = None
        self._done = 0
        self._printed = time.monotonic()

    def __enter__(self) -> "ProgressDisplay":
        """Starts the bar, on a terminal."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Takes the bar away."""
        self._bar.stop()

    def __call__(self, progress: Progress) -> None:
        """Shows where the run is.

        Args:
          progress: from `find_tickets`.
        """
        now = time.monotonic()
        if self._first is None or progress.done < self._done:
            # What came before the first call is compilation, not speed; what has less done is new.
            self._first = (now, progress.done)
        self._done = progress.done
        seconds, steps = now - self._first[0], progress.done - self._first[1]
        speed = steps / seconds if seconds > 0 else 0.0
        # What a measurement trains besides may have more levels than the run.
        last = max(self._levels - 1, progress.level)
        text = f"{progress.arm}, level {progress.level} of {last}"
        self._bar.update(
            self._task,
            description=f"{text}{_loss(progress.metrics)}",
            completed=progress.done,
            total=progress.total,
            speed=speed,
        )
        if not self._console.is_terminal and now - self._printed > _QUIET_SECONDS:
            self._printed = now
            line = f"{progress.done / progress.total:4.0%}  {text}"
            if speed:
                left = (progress.total - progress.done) / speed
                line += f", {speed:,.0f} steps/s, {left:.0f} s left"
            self._console.print(line)


def _loss(metrics: dict[str, np.ndarray]) -> str:
    loss = metrics.get("validation_loss")
    return "" if loss is None else f", validation loss {float(np.mean(loss)):.3f}"
