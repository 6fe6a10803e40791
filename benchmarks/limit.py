"""How near is a training step to what this machine can do? Arithmetic, traffic, share reached.

The least arithmetic of a step is its matrix products: forward, the kernel's gradient, and the
input's gradient except in the first layer (a convolution counts as the product of its patches and
its kernel). The least traffic is weights, gradients and the optimizer's moments read and written
once, masks and batch read once; activations are left out. Both rates are measured in the same
rounds as the step, under the same plan: the products of the step's own sizes, one program on each
core, and a stream over arrays as large as the step's. Two bounds follow: the greater of both times,
if they overlapped entirely, and their sum, if they did not. The share reached is the bound's time
over the step's.

Command: `python -m benchmarks.limit`
"""

import dataclasses
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console

from benchmarks.common import machine
from benchmarks.common.benchmark import make_main
from benchmarks.common.least import Least, Product, least_of, multiply, stream
from benchmarks.common.library import compile_program, library
from benchmarks.common.networks import make_networks
from benchmarks.common.options import Options
from benchmarks.common.problems import check_models, make_problem, usual_work
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.targets import verdict
from benchmarks.common.timing import Contender, interleave, spread
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket.population import Plan


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    tickets: int | None = None
    """Tickets; by network if None."""
    steps: int | None = None
    """Steps of each ticket in a timed call; by network if None."""
    large: int = 1_024
    """Side of the square matrices and 1/16384 of the stream that show the machine's own rates."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, models=("lenet_300_100",), tickets=2, steps=4, large=32)


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_models(config.models)
    check_positive(tickets=config.tickets or 1, steps=config.steps or 1, large=config.large)


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    findings.measurements.update({"limit": []})
    for name in config.models:
        findings.measurements["limit"].append(measure(name, config))
    rows = findings.measurements["limit"]
    console.print(table("what the machine does, and the least a ticket-step needs", _RATES, rows))
    console.print(table("time a ticket-step, ms, and the share reached", _SHARES, rows, _CAPTION))
    for row in rows:
        if row["model"] == "lenet_300_100":
            reached = row["share_if_overlapped"]
            findings.verdicts.append(verdict("limit.lenet_300_100", reached, machine.kind()))


_RATES = [
    Column("model", "network"),
    Column("operations", "operations", ",d"),
    Column("bytes", "bytes", ",d"),
    Column("products_rate", "GFLOP/s, its sizes", ",.1f"),
    Column("large_products_rate", "large", ",.1f"),
    Column("stream_rate", "GB/s, its size", ",.1f"),
    Column("large_stream_rate", "large", ",.1f"),
]
_SHARES = [
    Column("model", "network"),
    Column("tickets", "tickets"),
    Column("arithmetic_milliseconds", "arithmetic", ".4f"),
    Column("traffic_milliseconds", "traffic", ".4f"),
    Column("step_milliseconds", "step", ".4f"),
    Column("share_if_overlapped", "share of the greater", ".2f"),
    Column("share_if_not", "share of the sum", ".2f"),
]
_CAPTION = "medians of rounds; a step cannot take less than the greater of arithmetic and traffic"


class Rate(NamedTuple):
    """Something whose rate is measured.

    Attributes:
      contender: what is timed.
      amount: operations or bytes of one call, all devices together.
    """

    contender: Contender
    amount: float


def measure(name: str, config: Config) -> Row:
    """Measures rates and step of one network in the same rounds.

    Args:
      name: of the network.
      config: what was chosen.

    Returns:
      The row.
    """
    problem = make_problem(name, quick=config.quick)
    tickets, steps = usual_work(name, config.tickets, config.steps)
    least, plan = least_of(problem), Plan.auto(tickets)
    networks = make_networks(problem, tickets, 1.0, config.seed)
    step, _ = library(problem, networks, plan, steps, "step")
    rates = _rates(least, plan, tickets, steps, config.large)
    seconds = interleave([step, *(rate.contender for rate in rates)], config.rounds).seconds
    giga = {
        rate.contender.name: 1e-9 * rate.amount / seconds[rate.contender.name] for rate in rates
    }
    arithmetic = 1e-6 * least.operations / giga["products"]
    traffic = 1e-6 * least.bytes / giga["stream"]
    whole = 1e3 * seconds["step"] / (tickets * steps)
    greater = spread(np.maximum(arithmetic, traffic) / whole)
    return {
        "model": name,
        "tickets": tickets,
        "steps": steps,
        "operations": least.operations,
        "bytes": least.bytes,
        **{f"{key}_rate": float(np.median(values)) for key, values in giga.items()},
        "arithmetic_milliseconds": float(np.median(arithmetic)),
        "traffic_milliseconds": float(np.median(traffic)),
        "step_milliseconds": float(np.median(whole)),
        "step_milliseconds_range": [float(whole.min()), float(whole.max())],
        "share_if_overlapped": greater.median,
        "share_if_overlapped_range": [greater.least, greater.greatest],
        "share_if_not": spread((arithmetic + traffic) / whole).median,
    }


def _rates(least: Least, plan: Plan, tickets: int, steps: int, large: int) -> list[Rate]:
    """Makes what measures the rates: of the step's own sizes, and of large ones."""
    # One after the other, two tickets multiply as fast as ten; all at once, they may not.
    own = plan.devices if plan.inside == "map" else plan.padded(tickets)
    # Two arrays, together as large as weights, gradients and moments.
    floats, large_floats = 2 * least.parameters, 2**14 * large
    square = Product((large, large), (large, large), (1, 0))
    kinds = {
        # Filling the arrays, which is not counted, must not count.
        "products": (multiply(least.products), own, max(steps, 20), least.operations),
        "stream": (stream(floats), own, max(steps, 100), 12 * floats),
        "large_products": (multiply(Counter({square: 1})), plan.devices, 5, square.operations),
        "large_stream": (stream(large_floats), plan.devices, 20, 12 * large_floats),
    }
    return [
        Rate(_contender(name, function, plan, number, repeats), number * repeats * amount)
        for name, (function, number, repeats, amount) in kinds.items()
    ]


def _contender(name: str, function: Any, plan: Plan, number: int, repeats: int) -> Contender:
    """Makes a contender of a function of one ticket, run for so many of them under the plan."""
    values = np.full(number, 1e-3, np.float32)
    program = compile_program(function, plan, values, np.int32(repeats))
    return Contender(name, lambda: program.place(values), program.call, program.compile_seconds)


main = make_main("limit", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
