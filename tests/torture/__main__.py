"""Is anything lost, whenever a run is killed? `python -m tests.torture --kills 100`.

A run is left alone first, and its course is noted. Then runs of the same command are killed with
SIGKILL, half of them at random times, half at phases and files that are drawn from that course;
each is started again, killed again, at last let finish, and compared bit by bit. Options that are
none of this command's go to the experiment.
"""

import dataclasses
import secrets
import shlex
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from .comparing import compare
from .killing import Attempt, Moment, attempt
from .trials import Trial, draw_moments, trial, when


@dataclasses.dataclass(frozen=True)
class Options:
    """What can be chosen."""

    kills: int = 100
    """How often."""
    seed: int | None = None
    """Of the moments; drawn and printed if None."""
    experiment: str = "lenet"
    """Which one is run: python -m experiments lists them."""
    preset: str = "smoke"
    """Of the experiment."""
    kills_in_a_run: int = 4
    """After how many kills a run is let finish and compared."""
    moments: tuple[str, ...] = ()
    """Kills one run at these instead, as a failure printed them."""
    folder: Path | None = None
    """Where runs and compiled programs go; a temporary folder if None."""


class Torture:
    """A run that was left alone, and those that are killed and compared with it."""

    def __init__(self, options: Options, words: list[str]) -> None:
        """Prepares.

        Args:
          options: what was chosen.
          words: options of the experiment.
        """
        self.options, self.console = options, Console()
        self.seed = secrets.randbelow(2**32) if options.seed is None else options.seed
        self.trials: list[Trial] = []
        self.missed = 0
        self._random = np.random.default_rng(self.seed)
        self._module = f"experiments.{options.experiment}"
        # Networks in training are kept at every evaluation, so that there is something to lose.
        self._words = ["--preset", options.preset, "--keep-every", "0", *words]
        self._folder = options.folder or Path(tempfile.mkdtemp(prefix="torture-"))
        self._folder.mkdir(parents=True, exist_ok=True)

    @property
    def kills(self) -> int:
        """How often a run was killed until now."""
        return sum(len(found.kills) for found in self.trials)

    def leave_alone(self) -> Attempt | None:
        """Runs twice without a kill: the first run compiles, and both must be the same.

        Returns:
          The course of the second one; `None` if they differ or fail.
        """
        places = [self._folder / f"whole_{number}" for number in range(2)]
        runs = [
            attempt(self._module, self._words, place, None, self._compiled("compiled"))
            for place in places
        ]
        faults = [line for run in runs if run.code for line in [run.output]] or compare(*places)
        for line in faults:
            self.console.print(f"left alone: {line}", markup=False)
        return None if faults else runs[1]

    def kill(self, whole: Attempt) -> None:
        """Kills runs until it was done often enough, at all moments that can be met.

        Args:
          whole: the course of a run that was left alone.
        """
        given = [_read(text) for text in self.options.moments]
        number, size = len(given) or self.options.kills, len(given) or self.options.kills_in_a_run
        waiting = given or draw_moments(self._random, whole, number)
        while waiting and self.kills < number:
            chosen, waiting = waiting[:size], waiting[size:]
            if not given:
                chosen.sort(key=lambda moment: when(whole, moment))
            found = self._try(chosen)
            left = found.left
            if not given and left and found.kills:
                # That start had ended before; the first start of a new run may meet them.
                waiting = [*left, *waiting]
            elif not given and left:
                # The machine may have become quicker than it was when the course was noted.
                self.missed, whole = self.missed + 1, found.last
                waiting = [*left[1:], *waiting, *draw_moments(self._random, whole, 1)]

    def _try(self, moments: list[Moment]) -> Trial:
        place = self._folder / f"killed_{len(self.trials)}"
        # With nothing compiled before, there is time to be killed in.
        cold = any(moment.kind == "phase compile" for moment in moments)
        compiled = self._compiled(f"{place.name}.compiled" if cold else "compiled")
        whole = self._folder / "whole_0"
        found = trial(self._module, self._words, moments, whole, place, compiled)
        self.trials.append(found)
        said = "; ".join(found.faults) or "nothing lost"
        self.console.print(f"{place}: {len(found.kills)} kills, {said}", markup=False)
        if found.faults:
            self._explain(found)
        return found

    def _explain(self, found: Trial) -> None:
        command = ["python", "-m", "tests.torture", "--experiment", self.options.experiment]
        command += ["--preset", self.options.preset, "--seed", str(self.seed)]
        command += [*self._words[4:], "--moments", *(str(moment) for moment, _ in found.kills)]
        self.console.print(f"again: {shlex.join(command)}", markup=False, soft_wrap=True)

    def _compiled(self, name: str) -> dict[str, str]:
        return {"JAX_COMPILATION_CACHE_DIR": str(self._folder / name)}


def main() -> int:
    """Runs everything and prints the table.

    Returns:
      0 if nothing was lost, 1 if something was.
    """
    options, words = tyro.cli(Options, return_unknown_args=True, description=__doc__)
    began, torture = time.monotonic(), Torture(options, words)
    whole = torture.leave_alone()
    if whole is None:
        return 1
    torture.kill(whole)
    torture.console.print(_table(torture.trials))
    lost = sum(bool(found.faults) for found in torture.trials)
    torture.console.print(
        f"seed {torture.seed}: {torture.kills} kills in {len(torture.trials)} runs, {lost} of them "
        f"lost something; {torture.missed} moments were not met; left alone a run takes "
        f"{whole.seconds:.0f} s; {time.monotonic() - began:.0f} s in all"
    )
    return 1 if lost else 0


def _read(text: str) -> Moment:
    kind, place, delay = text.rsplit(":", 2)
    return Moment(kind, int(place), float(delay))


def _table(trials: list[Trial]) -> Table:
    """Makes the table of kinds of moments; at random times, by what the run was doing."""
    made, survived = Counter[str](), Counter[str]()
    for found in trials:
        for moment, during in found.kills:
            name = f"any time, during {during}" if moment.kind == "time" else moment.kind
            made[name] += 1
            survived[name] += not found.faults
    table = Table(title="killed with SIGKILL", box=box.SIMPLE_HEAD)
    for name, side in (("moment", "left"), ("kills", "right"), ("survived", "right")):
        table.add_column(name, justify="right" if side == "right" else "left")
    for name in sorted(made):
        table.add_row(name, str(made[name]), str(survived[name]))
    table.add_section()
    table.add_row("all", str(made.total()), str(survived.total()))
    return table


if __name__ == "__main__":
    sys.exit(main())
