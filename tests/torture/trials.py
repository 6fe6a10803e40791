"""Which moments a run is killed at, and one run that is killed at several of them."""

import signal
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .comparing import compare
from .killing import HANG, Attempt, Moment, attempt

THERE = (
    "checkpoints/*orbax-checkpoint-tmp*",
    ".checkpoints-partway.npz.partial",
    ".results.nc.partial",
    "figures/.*.partial",
    ".summary.json.partial",
)
"""Files that are there only while something is being written."""

_LATER = 0.05
"""Seconds after such a file has come, at most, that the run is killed."""


class Trial(NamedTuple):
    """One run that was killed, started again, and at last let finish.

    Attributes:
      kills: the moments that were met, and the phase that the run was in.
      left: the moments that its starts ended before.
      faults: what it lost, a line each.
      last: its last start; a whole course if there was no kill.
    """

    kills: list[tuple[Moment, str]]
    left: list[Moment]
    faults: list[str]
    last: Attempt


def trial(
    module: str,
    words: Sequence[str],
    moments: Sequence[Moment],
    whole: Path,
    folder: Path,
    environment: Mapping[str, str],
) -> Trial:
    """Kills one run at one moment after the other, the same command in between, and compares.

    Args:
      module: of the experiment.
      words: its options, without `--out`.
      moments: where each start is killed.
      whole: the directory of a run that was left alone.
      folder: the directory of this one, new.
      environment: variables beside those of this process.

    Returns:
      What became of it.
    """
    kills: list[tuple[Moment, str]] = []
    for place, moment in enumerate([*moments, None]):
        found = attempt(module, words, folder, moment, environment)
        if found.code == -signal.SIGKILL and moment is not None and found.seconds < HANG:
            kills.append((moment, found.during))
            continue
        left = list(moments[place:])
        return Trial(kills, left, _faults(found) or compare(whole, folder), found)
    raise AssertionError("a start without a moment is not killed")


def _faults(found: Attempt) -> list[str]:
    if found.code == 0 and "Traceback" not in found.output:
        return []
    lines = [line for line in found.output.splitlines() if line.strip()]
    return [f"the same command ended with {found.code}: {lines[-1] if lines else 'silence'}"]


def draw_moments(
    random: np.random.Generator, whole: Attempt, number: int, *, targeted: float = 0.5
) -> list[Moment]:
    """Draws moments from the course of a run that was left alone.

    Args:
      random: of the draw.
      whole: that run.
      number: how many.
      targeted: the share that is aimed at a phase or a file, each kind as often as the others;
        the rest is uniform over the run's time.

    Returns:
      The moments, in random order.
    """
    aimed = int(number * targeted)
    moments = [
        Moment("time", 0, float(random.uniform(0, whole.seconds))) for _ in range(number - aimed)
    ]
    kinds = _kinds(whole)
    names = list(kinds)
    random.shuffle(names)
    for index in range(aimed):
        name = names[index % len(names)]
        place = int(random.integers(len(kinds[name])))
        moments.append(Moment(name, place, float(random.uniform(0, kinds[name][place]))))
    return [moments[place] for place in random.permutation(number)]


def when(whole: Attempt, moment: Moment) -> float:
    """Says when a run that is left alone comes to a moment; its end, where that is not known.

    What one start has finished the next one does not come to again, so early moments come first.

    Args:
      whole: that run.
      moment: the moment.

    Returns:
      Seconds from its start.
    """
    if moment.kind == "time":
        return moment.delay
    met = [at for at, what in whole.timeline if what == moment.kind][moment.place :]
    return met[0] + moment.delay if met else whole.seconds


def _kinds(whole: Attempt) -> dict[str, list[float]]:
    """Lists, by kind of moment, how long the run stayed in each."""
    kinds: dict[str, list[float]] = {}
    phases = [(at, what) for at, what in whole.timeline if what.startswith("phase ")]
    ends = [at for at, _ in phases[1:]] + [whole.seconds]
    for (at, what), end in zip(phases, ends, strict=True):
        kinds.setdefault(what, []).append(end - at)
    kinds.pop("phase other", None)
    files = Counter(what for _, what in whole.timeline if what.startswith("file "))
    kinds |= {what: [0.0] * number for what, number in files.items()}
    partway = "file checkpoints-partway.npz" in files
    return kinds | {
        f"there {pattern}": [_LATER] for pattern in THERE if partway or "partway" not in pattern
    }
