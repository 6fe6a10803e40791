"""What does a ticket cost beyond unmasked steps? Masks, and the rest of an IMP run.

Masks: the library's step against its own where nothing is prunable, against the same step written
by hand without masks, and with the least masking that keeps pruned weights at zero, all under the
same plan, in the same rounds.

The rest: the search of `experiments.lenet` (LeNet-300-100, five arms, checkpoints) is run as a
whole once a round, with fewer levels. Its ledger gives the seconds by phase. All but compiling grow
with the number of networks, so the default run's are those, multiplied by its number of networks
over the measured one, and compiling once. The time of the ticket's later levels is set against that
of its earlier ones, the first two, in which everything is compiled, left out.

Command: `python -m benchmarks.overhead`
"""

import dataclasses

import jax
import numpy as np
from rich.console import Console

from benchmarks.by_hand.jax_scan import by_hand
from benchmarks.common import machine
from benchmarks.common.benchmark import make_main
from benchmarks.common.library import library
from benchmarks.common.networks import make_networks
from benchmarks.common.options import Options
from benchmarks.common.problems import check_models, make_problem, usual_work
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.search import Measured, default_search, run_search
from benchmarks.common.targets import verdict
from benchmarks.common.timing import Contender, interleave, ratio, spread
from experiments import lenet
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket.arms import DEFAULT_ARMS, check_arms
from jaxticket.costs import PHASES
from jaxticket.errors import TicketError
from jaxticket.population import Plan

COMPILED_LEVELS = 2
"""Levels in which something is compiled for the first time: training, then pruning."""


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    tickets: int | None = None
    """Tickets of the masked and unmasked step; by network if None."""
    steps: int | None = None
    """Steps of each ticket in a timed call; by network if None."""
    density: float = 0.2
    """Share of the weights that the random masks keep."""
    levels: int = 8
    """Levels of the search that is run as a whole; at least four."""
    arms: tuple[str, ...] = DEFAULT_ARMS
    """Its arms."""
    search_steps: int = 600
    """Training steps at each of its levels; the default run's, to compare with it."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    small = {"models": ("lenet_300_100",), "tickets": 2, "steps": 4}
    return dataclasses.replace(config, **small, levels=4, arms=("ticket",), search_steps=4)


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_models(config.models)
    check_arms(config.arms)
    check_positive(
        tickets=config.tickets or 1, steps=config.steps or 1, search_steps=config.search_steps
    )
    if config.levels < COMPILED_LEVELS + 2:
        raise TicketError(f"--levels: got {config.levels}, expected at least {COMPILED_LEVELS + 2}")


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    add_masks(config, findings, console)
    add_search(config, findings, console)


def add_masks(config: Config, findings: Findings, console: Console) -> None:
    """Compares masked with unmasked steps on every network.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where the table goes.
    """
    rows = findings.measurements.setdefault("masks", [])
    for name in config.models:
        problem = make_problem(name, quick=config.quick)
        tickets, steps = usual_work(name, config.tickets, config.steps)
        networks = make_networks(problem, tickets, config.density, config.seed)
        plan = Plan.auto(tickets)
        ours, _ = library(problem, networks, plan, steps)
        nothing = networks._replace(masks=jax.tree.map(lambda leaf: None, networks.masks))
        unpruned, _ = library(problem, nothing, plan, steps, "jaxticket, nothing prunable")
        sides = [ours, unpruned] + [
            by_hand(problem, networks, plan, steps, masked=masked) for masked in (False, True)
        ]
        seconds = interleave(sides, config.rounds).seconds
        found = [_mask_row(name, side, seconds, tickets, steps) for side in sides]
        rows += found
        gain = next(row["ratio"] for row in found if row["step"] == "unmasked by hand")
        findings.verdicts.append(verdict("overhead.masks", gain, machine.kind(), name))
    console.print(table("masked and unmasked steps, same plan", _MASK_COLUMNS, rows))


_MASK_COLUMNS = [
    Column("model", "network"),
    Column("step", "step"),
    Column("tickets", "tickets"),
    Column("milliseconds", "ms a ticket-step", ".3f"),
    Column("ratio_text", "time over the library's"),
]


def _mask_row(
    name: str, side: Contender, seconds: dict[str, np.ndarray], tickets: int, steps: int
) -> Row:
    over = ratio(seconds[side.name], seconds["jaxticket"])
    return {
        "model": name,
        "step": side.name,
        "tickets": tickets,
        "steps": steps,
        "milliseconds": float(np.median(1e3 * seconds[side.name] / (tickets * steps))),
        "ratio": over.median,
        "ratio_range": [over.least, over.greatest],
        "ratio_text": str(over),
    }


def add_search(config: Config, findings: Findings, console: Console) -> None:
    """Runs whole searches and adds their phases and levels.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where the tables go.
    """
    search = default_search(config.search_steps, len(config.arms), quick=config.quick)
    rounds = [run_search(search, config.levels, config.arms) for _ in range(config.rounds)]
    rows = findings.measurements["phases"] = _phase_rows(config, rounds)
    share = next((row["default_share"] for row in rows if row["phase"] == "train"), None)
    findings.verdicts.append(verdict("overhead.training", share, machine.kind()))
    title = f"seconds of a search with {config.levels} levels, {len(config.arms)} arms"
    console.print(table(title, _PHASE_COLUMNS, rows, _CAPTION))

    seconds = np.array([measured.levels for measured in rounds])
    later = seconds[:, COMPILED_LEVELS:]
    half = later.shape[1] // 2
    first, last = np.median(later[:, :half], axis=1), np.median(later[:, -half:], axis=1)
    findings.verdicts.append(verdict("overhead.levels", ratio(first, last).median, machine.kind()))
    rows = findings.measurements["levels"] = [
        {
            "level": level,
            "seconds": times.median,
            "seconds_range": [times.least, times.greatest],
            "note": "compiles" if level < COMPILED_LEVELS else "",
        }
        for level, times in enumerate(map(spread, seconds.T))
    ]
    columns = [Column("level", "level"), Column("seconds", "seconds", ".3f"), Column("note", "")]
    console.print(table("levels of the ticket", columns, rows))


_CAPTION = (
    f"the default run has {lenet.DEFAULT.levels} levels and {len(lenet.DEFAULT.arms)} arms of "
    f"{lenet.DEFAULT.replicates} replicates"
)
_PHASE_COLUMNS = [
    Column("phase", "phase"),
    Column("seconds", "seconds", ".2f"),
    Column("default_seconds", "in the default run", ".2f"),
    Column("default_share", "share of it", ".2%"),
]


def _phase_rows(config: Config, rounds: list[Measured]) -> list[Row]:
    """Sums up the phases, and scales them to the default run's number of networks."""
    names = [name for name in PHASES if name in rounds[0].phases]
    seconds = {
        name: float(np.median([measured.phases.get(name, 0.0) for measured in rounds]))
        for name in names
    }
    networks = _networks(lenet.DEFAULT) / _networks(config)
    scaled = {name: seconds[name] * (1 if name == "compile" else networks) for name in names}
    whole = sum(scaled.values())
    return [
        {
            "phase": name,
            "seconds": seconds[name],
            "default_seconds": scaled[name],
            "default_share": scaled[name] / whole,
        }
        for name in names
    ]


def _networks(config: Config | lenet.Config) -> int:
    """Counts a replicate's networks: the dense one, and every arm at every other level."""
    return 1 + (config.levels - 1) * len(config.arms)


main = make_main("overhead", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
