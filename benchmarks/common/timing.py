"""Timing things against one another: in turn, round after round."""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np


class Contender(NamedTuple):
    """Something that is timed.

    Attributes:
      name: what it is called in tables and files.
      prepare: makes what `run` starts from; not timed.
      run: `run(prepared) -> outcome`: does the work and returns when it is done, not before.
      compile_seconds: what compiling took, before any timing.
    """

    name: str
    prepare: Callable[[], Any]
    run: Callable[[Any], Any]
    compile_seconds: float = 0.0


class Timings(NamedTuple):
    """What a comparison measured.

    Attributes:
      seconds: `float64[rounds]` by contender; the same round ran at almost the same time.
      outcomes: what each contender returned in the last round.
    """

    seconds: dict[str, np.ndarray]
    outcomes: dict[str, Any]


class Spread(NamedTuple):
    """A number measured several times.

    Attributes:
      median: of all rounds.
      least: of all rounds.
      greatest: of all rounds.
    """

    median: float
    least: float
    greatest: float

    def __str__(self) -> str:
        """Writes the median with its range."""
        return f"{self.median:.2f} ({self.least:.2f} to {self.greatest:.2f})"


def interleave(contenders: Sequence[Contender], rounds: int, *, keep: bool = True) -> Timings:
    """Times all contenders once in every round, each round beginning with another one.

    A machine that is slower for a while is so for all of them. Each runs once before the first
    round, so that nothing is compiled, loaded or allocated for the first time in a timed call.

    Args:
      contenders: what is timed, with different names.
      rounds: how often.
      keep: whether the last outcomes are kept, all of them at a time.

    Returns:
      The times and the last outcomes.

    Example:
      >>> pause = Contender("pause", lambda: 0.01, time.sleep)
      >>> timings = interleave([pause, Contender("nothing", lambda: None, id)], rounds=3)
      >>> bool((timings.seconds["pause"] > timings.seconds["nothing"]).all())
      True
    """
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    outcomes: dict[str, Any] = {}
    for contender in contenders:
        contender.run(contender.prepare())
    for turn in range(rounds):
        first = turn % len(contenders)
        for contender in [*contenders[first:], *contenders[:first]]:
            # The old outcome's memory is free again before the new one needs its own.
            outcomes.pop(contender.name, None)
            prepared = jax.block_until_ready(contender.prepare())
            began = time.perf_counter()
            outcome = contender.run(prepared)
            seconds[contender.name].append(time.perf_counter() - began)
            if keep:
                outcomes[contender.name] = outcome
            # Nothing of this one takes memory while the next is prepared.
            del prepared, outcome
    return Timings({name: np.array(times) for name, times in seconds.items()}, outcomes)


def spread(values: np.ndarray) -> Spread:
    """Summarises a number that was measured in every round.

    Args:
      values: `float[rounds]`.

    Returns:
      Median and range.

    Example:
      >>> print(spread(np.array([1.0, 4.0, 2.0])))
      2.00 (1.00 to 4.00)
    """
    return Spread(float(np.median(values)), float(np.min(values)), float(np.max(values)))


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> Spread:
    """Divides two times round by round, so that what both rounds suffered cancels.

    Args:
      numerator: `float[rounds]`.
      denominator: `float[rounds]`, of the same rounds.

    Returns:
      Median and range of the rounds' ratios.

    Example:
      >>> ratio(np.array([2.0, 20.0, 3.0]), np.array([1.0, 10.0, 1.0])).median
      2.0
    """
    return spread(np.asarray(numerator) / np.asarray(denominator))
