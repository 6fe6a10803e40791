"""How far a search is: what is told of it, and what it has trained."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxticket.imp.setup import Setup
from jaxticket.records import Record


class Progress(NamedTuple):
    """What is told at every evaluation, and every few seconds in between.

    Attributes:
      arm: the arm of the first network in training.
      level: its level.
      done: network-steps made so far, those of an earlier call that was resumed included.
      total: network-steps of the whole run.
      metrics: the newest metrics, `float32[P]` each; of the test split only where it is measured.
    """

    arm: str
    level: int
    done: int
    total: int
    metrics: dict[str, np.ndarray]


Teller = Callable[[str, int, int, dict[str, np.ndarray]], None]


def make_teller(
    setup: Setup, records: list[Record], on_progress: Callable[[Progress], None]
) -> Teller:
    """Makes what counts network-steps for the progress callback.

    Args:
      setup: what was chosen.
      records: what was finished in an earlier call.
      on_progress: is told.

    Returns:
      `tell(arm, level, steps, metrics)`, called with the network-steps made since the last time.
    """
    lineages, whole = setup.lineages, setup.protocol.steps
    dense, once = whole * len(lineages.dense_lineages), int((whole - lineages.begins).sum())
    total = dense + len(setup.arms) * (setup.levels - 1) * once
    done = sum(
        whole - int(lineages.begins[lineages.place(name.variant, name.replicate)])
        for record in records
        for name in record.coordinates
        if name.level
    )
    done += whole * count_dense(setup, records)

    def tell(arm: str, level: int, steps: int, metrics: dict[str, np.ndarray]) -> None:
        nonlocal done
        done += steps
        on_progress(Progress(arm, level, done, total, metrics))

    return tell


def count_networks(setup: Setup, records: list[Record]) -> int:
    """Counts the networks that were trained; lineages share dense ones.

    Args:
      setup: what was chosen.
      records: the finished networks.

    Returns:
      How many.
    """
    sizes = [len(record.arms) for record in records if record.levels[0]]
    return sum(sizes) + count_dense(setup, records)


def count_dense(setup: Setup, records: list[Record]) -> int:
    """Counts the dense networks that were trained, each of which several lineages may share.

    Args:
      setup: what was chosen, for all replicates.
      records: the finished networks.

    Returns:
      How many.
    """
    lineages = setup.lineages
    begun = sum(len(record.arms) for record in records if not record.levels[0])
    return begun * len(lineages.dense_lineages) // lineages.number
