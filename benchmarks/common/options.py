"""What the command lines of all benchmarks have in common."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.common.machine import DEVICES
from experiments.common.command_line import parse
from experiments.common.configuration import check_positive
from jaxticket.errors import TicketError, unknown

LEAST_ROUNDS = 5
"""A median of fewer rounds is not worth stating."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What can be chosen; the text under each field is its help on the command line."""

    models: tuple[str, ...] = ("lenet_300_100", "conv_2", "resnet_20")
    """Networks: lenet_300_100, conv_2, resnet_20."""
    rounds: int = 5
    """Timed rounds, at least five; everything compared is timed once in each."""
    device: str = "auto"
    """What JAX and PyTorch compute on: auto (an accelerator if there is one), cpu or gpu."""
    seed: int = 0
    """Initial weights, masks and order of the examples are derived from it."""
    json: Path | None = None
    """File for everything that was measured."""
    quick: bool = False
    """Tiny sizes and one round, to see that it works: the numbers mean nothing."""


Chosen = TypeVar("Chosen", bound=Options)


def parse_options(
    default: Chosen,
    quick: Callable[[Chosen], Chosen],
    program: str,
    description: str,
    arguments: Sequence[str] | None = None,
) -> Chosen:
    """Parses a benchmark's command line, over smaller defaults if it has `--quick`.

    Args:
      default: the usual configuration.
      quick: makes the small configuration from it.
      program: how it is called.
      description: shown by `--help`.
      arguments: `sys.argv[1:]` if `None`.

    Returns:
      The configuration.

    Raises:
      TicketError: for sizes that are not positive, too few rounds or an unknown device.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    small = dataclasses.replace(quick(default), quick=True, rounds=1)
    base = small if "--quick" in words else default
    chosen = parse({"default": base}, program, description, words)
    check_positive(rounds=chosen.rounds)
    if chosen.rounds < LEAST_ROUNDS and not chosen.quick:
        raise TicketError(f"--rounds: got {chosen.rounds}, expected at least {LEAST_ROUNDS}")
    if chosen.device not in DEVICES:
        raise unknown("device", chosen.device, DEVICES)
    return chosen
