"""The ratios that are stated, by the machine they are stated for: all in one table."""

from typing import Any, NamedTuple

TWO_CORES, GPU = "cpu x 2", "gpu"
"""Machines, as `benchmarks.common.machine.kind` names them."""


class Target(NamedTuple):
    """A ratio that a benchmark must reach.

    Attributes:
      statement: what is divided by what.
      least: the least ratio by machine; elsewhere it is measured and not judged.
    """

    statement: str
    least: dict[str, float]


TARGETS = {
    "peers.lenet_300_100": Target(
        "LeNet-300-100: ticket-steps a second over the PyTorch eager loop",
        {TWO_CORES: 4.0, GPU: 100.0},
    ),
    "peers.conv_2": Target(
        "Conv-2: ticket-steps a second over the PyTorch eager loop", {TWO_CORES: 0.9}
    ),
    "peers.resnet_20": Target(
        "ResNet-20: ticket-steps a second over the PyTorch eager loop",
        {TWO_CORES: 0.9, GPU: 8.0},
    ),
    "limit.lenet_300_100": Target(
        "LeNet-300-100: the least time that arithmetic or traffic takes over the step's time",
        {TWO_CORES: 0.5},
    ),
    "scaling.auto": Target(
        "the best fixed strategy's time over that of auto, the least of 1, 4 and 16 tickets",
        {TWO_CORES: 1 / 1.05},
    ),
    # A tenth for noise: flat is meant.
    "scaling.flat": Target(
        "LeNet-300-100: the best time per ticket of fewer tickets over the time per ticket, the "
        "least from 1 to 256 tickets",
        {TWO_CORES: 0.9},
    ),
    "compaction.inference": Target(
        "half the units: the masked network's inference over the compacted one's, the least of "
        "all networks",
        {TWO_CORES: 1.3},
    ),
    "compaction.training": Target(
        "half the units: the masked network's training step over the compacted one's, the least "
        "of all networks",
        {TWO_CORES: 1.3},
    ),
    # Nothing is stated: sparse products lose on dense hardware until few weights are left.
    "compaction.sparse": Target(
        "an unstructured mask: the dense product's time over that of BCOO, the greatest of all "
        "densities",
        {},
    ),
    # Allocators keep what was freed in pieces: as much as of one group is meant.
    "memory.groups": Target(
        "a search's memory with one group of replicates over that with several groups",
        {TWO_CORES: 0.8},
    ),
    "memory.expected": Target(
        "what is expected of the memory of a replicate in training over what it takes",
        {TWO_CORES: 0.8},
    ),
    "overhead.masks": Target(
        "the same step unmasked by hand over the library's masked step", {TWO_CORES: 1 / 1.05}
    ),
    "overhead.training": Target(
        "the seconds of training over all seconds of the default IMP run", {TWO_CORES: 0.9}
    ),
    "overhead.levels": Target(
        "time of the first levels over that of the last levels", {TWO_CORES: 0.9}
    ),
}
"""All targets by benchmark and subject."""


class Verdict(NamedTuple):
    """A target and what was measured.

    Attributes:
      target: a key of `TARGETS`, perhaps with a colon and the case it was measured on.
      statement: the target's.
      measured: the ratio, `None` if it was not measured.
      least: the ratio that is stated for this machine, `None` if none is.
      holds: whether it is reached, `None` if it was not measured or nothing is stated.
    """

    target: str
    statement: str
    measured: float | None
    least: float | None
    holds: bool | None


def verdict(target: str, measured: float | None, machine: str, case: str = "") -> Verdict:
    """Judges a measurement.

    Args:
      target: a key of `TARGETS`.
      measured: the ratio.
      machine: from `benchmarks.common.machine.kind`.
      case: what it was measured on, where a target has several.

    Returns:
      The verdict.

    Example:
      >>> verdict("peers.conv_2", 0.8, "cpu x 2").holds
      False
    """
    stated = TARGETS[target]
    least = stated.least.get(machine)
    holds = None if least is None or measured is None else measured >= least
    name = f"{target}: {case}" if case else target
    return Verdict(name, stated.statement, measured, least, holds)


def as_json(verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """Gives verdicts as JSON-like dicts."""
    return [each._asdict() for each in verdicts]
