"""One start of a run, killed at a moment or let finish."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]

HANG = 900.0
"""Seconds after which a start that neither ended nor met its moment is given up."""

_POLL = 0.0005


class Moment(NamedTuple):
    """Where a run is killed.

    Attributes:
      kind: `time`, from the start of the process; `phase <name>`, where one of the ledger's
        begins; `file <name>`, before a change to a file of the run; `there <pattern>`, once such a
        file is in the run directory.
      place: the how manieth phase or change of that kind, from 0 on.
      delay: seconds from there to the kill.
    """

    kind: str
    place: int = 0
    delay: float = 0.0

    def __str__(self) -> str:
        """Says it in the words that `--moments` reads."""
        return f"{self.kind}:{self.place}:{self.delay:.4f}"


class Attempt(NamedTuple):
    """What became of one start.

    Attributes:
      code: of the process; -9 if it was killed.
      during: the phase that it was last in.
      seconds: from its start to its end.
      timeline: seconds and what began, in order.
      output: what it printed.
    """

    code: int
    during: str
    seconds: float
    timeline: list[tuple[float, str]]
    output: str


def attempt(
    module: str,
    words: Sequence[str],
    folder: Path,
    moment: Moment | None,
    environment: Mapping[str, str],
) -> Attempt:
    """Starts a run in a process group of its own, and kills the group at a moment.

    Args:
      module: of the experiment.
      words: its options, without `--out`.
      folder: the run directory.
      moment: when; `None` to let it finish.
      environment: variables beside those of this process.

    Returns:
      What became of it.
    """
    kind, place, delay = moment or Moment("never")
    victim = [sys.executable, str(Path(__file__).with_name("victim.py"))]
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    fatal = f"{kind.removeprefix('file ')}:{place}" if kind.startswith("file ") else "-"
    reading, writing = os.pipe()
    began = time.monotonic()
    log = folder.with_name(f"{folder.name}.log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*victim, str(writing), fatal, module, *words, "--out", str(folder)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": path} | dict(environment),
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            start_new_session=True,
        )
        os.close(writing)
        try:
            lines = _watch(process, reading, folder, kind, place, delay, began)
            process.wait()
        finally:
            os.close(reading)
            _kill(process)
    timeline = [(float(line.split()[0]) - began, line.split(" ", 1)[1]) for line in lines]
    phases = [what for _, what in timeline if what.startswith("phase ")]
    return Attempt(
        process.returncode,
        phases[-1].removeprefix("phase ") if phases else "import",
        time.monotonic() - began,
        timeline,
        log.read_text(encoding="utf-8", errors="replace"),
    )


def _watch(
    process: subprocess.Popen[bytes],
    reading: int,
    folder: Path,
    kind: str,
    place: int,
    delay: float,
    began: float,
) -> list[str]:
    """Collects what is told until the process ends, and kills it when it is time to."""
    due = began + delay if kind == "time" else began + HANG
    met, content = kind == "time", b""
    while True:
        now = time.monotonic()
        if now >= due:
            _kill(process)
        polls = kind.startswith("there ") and not met
        wait = _POLL if polls else max(0.0, min(due - now, 1.0))
        if select.select([reading], [], [], wait)[0]:
            read = os.read(reading, 65536)
            if not read:
                return content.decode().splitlines()
            content += read
        if kind.startswith("phase ") and not met:
            told = [line.split(" ", 1)[1] for line in content.decode().split("\n")[:-1]]
            met = told.count(kind) > place
            due = time.monotonic() + delay if met else due
        if polls and next(folder.glob(kind.removeprefix("there ")), None) is not None:
            met, due = True, time.monotonic() + delay


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kills the whole group, which must not outlive the process that began it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
