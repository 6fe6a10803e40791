"""What does a ticket cost when many train together? Time, memory, every strategy.

Every strategy trains 1, 2, 4 ... tickets; all of them, at all sizes, are timed in the same rounds.
A strategy is a plan of `Plan.by_name`: one network after the other (map), all at once (vmap) or in
batches (chunked), on one device or on all (mesh). `auto` is what `Plan.auto` chooses; where that is
one of the others, it is the same program and is not timed again. Memory is what the compiler plans
for arguments, results and temporary arrays on all devices. A population that would not fit is not
run. All sizes of all networks take the better part of an hour on two cores: `--models`, `--tickets`
and `--strategies` choose.

Command: `python -m benchmarks.scaling --figure scaling.png`
"""

import dataclasses
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console

from benchmarks.common import machine
from benchmarks.common.benchmark import make_main
from benchmarks.common.library import library
from benchmarks.common.networks import make_networks
from benchmarks.common.options import Options
from benchmarks.common.problems import WORK, Problem, check_models, make_problem
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.targets import Verdict, verdict
from benchmarks.common.timing import Contender, Timings, interleave, spread
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket.errors import TicketError
from jaxticket.population import PLANS, Plan, check_plan_name
from jaxticket.population.memory import SHARE, device_memory, readable
from jaxticket.trainer import Networks

POWERS = tuple(2**power for power in range(11))
"""1 to 1,024 tickets."""

AUTO_AT = (1, 4, 16)
"""Tickets at which `auto` is held against the best fixed strategy."""

DIFFERENT = 16
"""Networks that differ; more tickets than that are the same over again."""

FLAT_UP_TO = 256
"""Tickets up to which the time per ticket must not rise."""


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    tickets: tuple[int, ...] | None = None
    """Sizes of the population; if None 1, 2, 4 ... 1024 for LeNet and on an accelerator, and 1, 4,
    16 for convolutions on a CPU."""
    steps: int | None = None
    """Steps of each ticket in a timed call; by network if None (LeNet: an evaluation interval)."""
    strategies: tuple[str, ...] = tuple(name for name in PLANS if name != "auto")
    """Fixed strategies that `auto` is held against."""
    figure: Path | None = None
    """PNG file of time and memory against the number of tickets."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(
        config, models=("lenet_300_100",), tickets=(1, 4), steps=2, strategies=("map", "mesh")
    )


class Case(NamedTuple):
    """One strategy at one size.

    Attributes:
      strategy: its name.
      tickets: how many train.
      chosen: whether `auto` chooses it.
      contender: what is timed, `None` if it does not fit.
      bytes: memory that it needs.
    """

    strategy: str
    tickets: int
    chosen: bool
    contender: Contender | None
    bytes: int


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_models(config.models)
    check_positive(tickets=min(config.tickets or (1,)), steps=config.steps or 1)
    if config.figure is not None and config.figure.suffix != ".png":
        raise TicketError(f"--figure: got {config.figure}, expected a file that ends in .png")
    for name in config.strategies:
        check_plan_name(name)


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    findings.measurements.update({"scaling": []})
    for name in config.models:
        rows = measure(name, config, findings)
        findings.measurements["scaling"] += rows
        findings.verdicts.extend(_verdicts(name, rows))
        console.print(table(f"{name}, {_steps(name, config)} steps a call", _COLUMNS, rows))
    if config.figure is not None:
        from benchmarks.common.figure import draw
        from jaxticket import plots

        figure = draw(findings.measurements["scaling"])
        plots.save({config.figure.stem: figure}, config.figure.parent)


_COLUMNS = [
    Column("tickets", "tickets", ",d"),
    Column("strategy", "strategy"),
    Column("milliseconds", "ms a ticket-step", ".3f"),
    Column("range_text", "least to greatest"),
    Column("mebibytes", "MiB", ",.0f"),
    Column("mebibytes_a_ticket", "MiB a ticket", ",.1f"),
    Column("compile_seconds", "compile s", ".1f"),
    Column("chosen", "auto"),
]


def strategies(names: tuple[str, ...], tickets: int) -> dict[str, Plan]:
    """Lists the fixed strategies that differ on this machine for so many tickets.

    Args:
      names: among these, names of plans.
      tickets: how many train.

    Returns:
      Plans by the name that a command line gives.
    """
    plans = {name: Plan.by_name(name) for name in names}
    if jax.device_count() == 1:
        plans = {name: plan for name, plan in plans.items() if not name.startswith("mesh")}
    # Batches that hold everything are what vmap is.
    return {
        name: plan
        for name, plan in plans.items()
        if plan.batch is None or plan.batch < plan.padded(tickets) // plan.devices
    }


def measure(name: str, config: Config, findings: Findings) -> list[Row]:
    """Measures all strategies at all sizes on one network.

    Args:
      name: of the network.
      config: what was chosen.
      findings: `not_measured` is appended to.

    Returns:
      One row a strategy and size; `chosen` marks what `auto` takes.
    """
    problem = make_problem(name, quick=config.quick)
    on_cpu = jax.default_backend() == "cpu"
    usual = (1, 4, 16) if on_cpu and name != "lenet_300_100" else POWERS
    steps = _steps(name, config)
    sizes = config.tickets or usual
    networks = make_networks(problem, min(max(sizes), DIFFERENT), 1.0, config.seed)
    cases = [
        case for tickets in sizes for case in _cases(problem, networks, tickets, steps, config)
    ]
    fitting = [case.contender for case in cases if case.contender is not None]
    for case in cases:
        if case.contender is None:
            findings.not_measured.append(
                f"{name}, {case.tickets} tickets, {case.strategy}: it needs "
                f"{readable(case.bytes)}, which is not free"
            )
    timings = interleave(fitting, config.rounds, keep=False)
    return [_row(name, case, steps, timings) for case in cases if case.contender is not None]


def _steps(name: str, config: Config) -> int:
    # The default run evaluates LeNet every 40 steps: that is how long a compiled call is there.
    return config.steps or (40 if name == "lenet_300_100" else WORK[name].steps)


def _cases(
    problem: Problem, networks: Networks, tickets: int, steps: int, config: Config
) -> list[Case]:
    """Compiles all strategies at one size, and `auto` if it is none of them."""
    plans = strategies(config.strategies, tickets)
    chosen = _chosen(plans, tickets)
    if chosen == "auto":
        plans["auto"] = Plan.auto(tickets)
    cases = []
    for name, plan in plans.items():
        label = f"{name}, {tickets}"
        contender, needed = library(problem, networks, plan, steps, label, tickets)
        free = device_memory(plan).free
        fits = free is None or needed <= SHARE * free * plan.all_devices
        cases.append(Case(name, tickets, name == chosen, contender if fits else None, needed))
    return cases


def _chosen(plans: dict[str, Plan], tickets: int) -> str:
    """Names the strategy that `auto` chooses for so many tickets: a fixed one, or its own."""
    auto = Plan.auto(tickets)
    reason = {"reason": auto.reason}
    found = (n for n, plan in plans.items() if dataclasses.replace(plan, **reason) == auto)
    return next(found, "auto")


def _row(name: str, case: Case, steps: int, timings: Timings) -> Row:
    assert case.contender is not None
    milliseconds = 1e3 * timings.seconds[case.contender.name] / (case.tickets * steps)
    found = spread(milliseconds)
    return {
        "model": name,
        "strategy": case.strategy,
        "tickets": case.tickets,
        "steps": steps,
        "milliseconds": found.median,
        "milliseconds_rounds": milliseconds.tolist(),
        "range_text": f"{found.least:.3f} to {found.greatest:.3f}",
        "mebibytes": case.bytes / 2**20,
        "mebibytes_a_ticket": case.bytes / 2**20 / case.tickets,
        "compile_seconds": case.contender.compile_seconds,
        "chosen": "*" if case.chosen else None,
    }


def _verdicts(name: str, rows: list[Row]) -> list[Verdict]:
    """Judges `auto` against the best fixed strategy, and how flat its time per ticket is."""
    of_auto = {
        row["tickets"]: np.array(row["milliseconds_rounds"]) for row in rows if row["chosen"]
    }
    gains = []
    for tickets in AUTO_AT:
        at = [np.array(r["milliseconds_rounds"]) for r in rows if r["tickets"] == tickets]
        if tickets in of_auto:
            gains.append(min(float(np.median(times / of_auto[tickets])) for times in at))
    judged = [verdict("scaling.auto", min(gains, default=None), machine.kind(), name)]
    if name == "lenet_300_100":
        sizes = sorted(size for size in of_auto if size <= FLAT_UP_TO)
        flat = [
            min(float(np.median(of_auto[fewer] / of_auto[size])) for fewer in sizes[:place])
            for place, size in enumerate(sizes)
            if place
        ]
        judged.append(verdict("scaling.flat", min(flat, default=None), machine.kind()))
    return judged


main = make_main("scaling", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
