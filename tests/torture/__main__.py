"""Is anything lost, whenever a run is killed? `python -m tests.torture --kills 100`.

A run is left alone first, and its course is noted. Then runs of the same command are killed with
SIGKILL, half of them at random times, half at phases and files that are drawn from that course;
each is started again, killed again, at last let finish, and compared bit by bit. Options that are
none of this command's go to the experiment.
"""

import dataclasses
import secrets
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

from tests.torture.comparing import compare
from tests.torture.killing import Moment, attempt
from tests.torture.trials import Trial, draw_moments, trial


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


def main() -> int:
    """Runs everything and prints the table.

    Returns:
      0 if nothing was lost, 1 if something was.
    """
    options, words = tyro.cli(Options, return_unknown_args=True, description=__doc__)
    console = Console()
    words = ["--preset", options.preset, "--keep-every", "0", *words]
    module = f"experiments.{options.experiment}"
    folder = options.folder or Path(tempfile.mkdtemp(prefix="torture-"))
    folder.mkdir(parents=True, exist_ok=True)
    compiled = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    began = time.monotonic()
    # The first one compiles; the second one's course is that of later starts, and it must not
    # differ from the first.
    runs = [attempt(module, words, folder / f"whole_{n}", None, compiled) for n in range(2)]
    for run in runs:
        if run.code:
            console.print(run.output, markup=False)
            return 1
    faults = compare(folder / "whole_0", folder / "whole_1")
    if faults:
        console.print(f"two runs that were left alone differ: {'; '.join(faults)}", markup=False)
        return 1
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    random = np.random.default_rng(seed)
    given = [_read(text) for text in options.moments]
    waiting = given or draw_moments(random, runs[1], options.kills)
    trials: list[Trial] = []
    done, missed = 0, 0
    while waiting and done < (len(given) or options.kills):
        size = len(given) or options.kills_in_a_run
        chosen, waiting = waiting[:size], waiting[size:]
        cold = any(moment.kind == "phase compile" for moment in chosen)
        place = folder / f"killed_{len(trials)}"
        own = {"JAX_COMPILATION_CACHE_DIR": f"{place}.compiled"} if cold else compiled
        found = trial(module, words, chosen, folder / "whole_0", place, own)
        trials.append(found)
        done += len(found.kills)
        console.print(
            f"run {len(trials)}: {len(found.kills)} kills, "
            f"{'; '.join(found.faults) or 'nothing lost'} ({done} of {options.kills})",
            markup=False,
        )
        if found.faults:
            again = " ".join(f"'{moment}'" for moment, _ in found.kills)
            console.print(
                f"seed {seed}; again: python -m tests.torture --experiment {options.experiment} "
                f"--preset {options.preset} --moments {again}; left in {place}",
                markup=False,
            )
        if found.left and not given:
            # The run had ended before: the first one of them is not met in this way at all.
            missed += not found.kills
            waiting = [*(found.left if found.kills else found.left[1:]), *waiting]
            waiting += draw_moments(random, runs[1], 0 if found.kills else 1)
    console.print(_table(trials))
    lost = sum(bool(found.faults) for found in trials)
    console.print(
        f"seed {seed}: {done} kills in {len(trials)} runs, {lost} runs lost something; {missed} "
        f"moments were not met; {time.monotonic() - began:.0f} s"
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
