"""How fast is training? Beside PyTorch, and beside JAX without the library.

The same tickets (initial weights, masks, optimizer, batches in the same order) are trained by the
library under `Plan.auto`, by a hand-written JAX scan, and by a lean PyTorch loop: eager with
its defaults, eager tuned (fused optimizer, channels last), and tuned and compiled. The others train
one ticket after the other. Compiling is not timed with the steps. Before the first round the
PyTorch twin must give the same logits to 1e-4, and after the last all must have the same test
accuracy within noise, the same loss within 5 %, and pruned weights of zero; else exit code 1.

Command: `python -m benchmarks.peers` (PyTorch: `pip install -e '.[benchmarks]'`)
"""

import dataclasses
import importlib.util
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from benchmarks.by_hand.jax_scan import jax_scan
from benchmarks.common import machine
from benchmarks.common.benchmark import make_main
from benchmarks.common.library import library, states_of
from benchmarks.common.networks import batch_indices, make_judge, make_networks
from benchmarks.common.options import Options
from benchmarks.common.problems import Problem, check_models, make_problem, usual_work
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.targets import Verdict, verdict
from benchmarks.common.timing import Contender, Timings, interleave, ratio, spread
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket.population import Plan, to_host
from jaxticket.trainer import Networks

SAME_LOGITS = 1e-4
"""How far the two networks' logits may be apart before training."""

SAME_LOSS = 0.05
"""How far test losses may be apart after training, relative to the library's."""


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    tickets: int | None = None
    """Tickets; by network if None."""
    steps: int | None = None
    """Steps of each ticket in a timed call; by network if None."""
    density: float = 0.2
    """Share of the weights that the random masks keep."""
    compile: bool = True
    """Measure torch.compile too."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, models=("lenet_300_100",), tickets=2, steps=4, compile=False)


class Side(NamedTuple):
    """One contender and how its outcome becomes params and model states on the host."""

    contender: Contender
    trained: Callable[[Any], tuple[Any, Any]]


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_models(config.models)
    check_positive(tickets=config.tickets or 1, steps=config.steps or 1)


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    findings.measurements.update({"peers": []})
    for name in config.models:
        compare(name, config, findings, console)


def compare(name: str, config: Config, findings: Findings, console: Console) -> None:
    """Compares all sides on one network and adds what it finds.

    Args:
      name: of the network.
      config: what was chosen.
      findings: appended to.
      console: where the table goes.
    """
    problem = make_problem(name, quick=config.quick)
    tickets, steps = usual_work(name, config.tickets, config.steps)
    networks = make_networks(problem, tickets, config.density, config.seed)
    indices = batch_indices(problem, networks, steps)
    sides = _sides(problem, networks, indices, config, findings)
    contenders = [side.contender for side in sides]
    timings = interleave(contenders, config.rounds)
    trained = {
        side.contender.name: side.trained(timings.outcomes[side.contender.name]) for side in sides
    }
    rows = _rows(problem, networks, contenders, timings, trained, tickets * steps)
    findings.measurements["peers"] += rows
    findings.faults.extend(_disagreements(rows, tickets * len(problem.test.labels)))
    findings.faults.extend(
        f"{name}, {side}: pruned weights are not zero after training"
        for side, (params, _) in trained.items()
        if not _pruned_are_zero(params, networks.masks)
    )
    findings.verdicts.append(_verdict(name, rows))
    title = f"{name}: {tickets} tickets, {steps} steps, batch {problem.setting.batch_size}"
    console.print(table(title, _COLUMNS, rows, "ratios: median of rounds (least to greatest)"))


_COLUMNS = [
    Column("contender", "trained by"),
    Column("milliseconds", "ms a ticket-step", ".3f"),
    Column("ticket_steps_a_second", "ticket-steps/s", ",.1f"),
    Column("ratio_text", "time over jaxticket's"),
    Column("compile_seconds", "compile s", ".1f"),
    Column("loss", "test loss", ".4f"),
    Column("accuracy", "test accuracy", ".4f"),
]


def _sides(
    problem: Problem, networks: Networks, indices: np.ndarray, config: Config, findings: Findings
) -> list[Side]:
    tickets, steps = indices.shape[:2]

    def of_library(outcome: Any) -> tuple[Any, Any]:
        states = states_of(outcome, tickets)
        return states.params, states.model_state

    def of_scan(outcome: Any) -> tuple[Any, Any]:
        params, model_state, _ = jax.tree.map(lambda *leaves: np.stack(leaves), *to_host(outcome))
        return params, model_state

    ours, _ = library(problem, networks, Plan.auto(tickets), steps)
    sides = [Side(ours, of_library), Side(jax_scan(problem, networks, indices), of_scan)]
    if importlib.util.find_spec("torch") is None:
        findings.not_measured.append(f"{problem.name} in PyTorch: it is not installed")
        return sides
    return sides + _torch_sides(problem, networks, indices, config, findings)


def _torch_sides(
    problem: Problem, networks: Networks, indices: np.ndarray, config: Config, findings: Findings
) -> list[Side]:
    from benchmarks.by_hand import torch_loop

    if jax.default_backend() != "cpu" and torch_loop.device() == "cpu":
        reason = "this PyTorch cannot use the accelerator that JAX uses"
        findings.not_measured.append(f"{problem.name} in PyTorch: {reason}")
        return []
    difference = torch_loop.greatest_difference(problem, networks, indices)
    if not difference <= SAME_LOGITS:
        findings.faults.append(
            f"{problem.name}: logits of the PyTorch twin differ by {difference:.2g}, "
            f"expected {SAME_LOGITS}"
        )
        return []
    kinds = [{"tuned": False}, {"tuned": True}]
    kinds += [{"tuned": True, "compiled": True}] if config.compile else []
    sides = []
    for kind in kinds:
        try:
            contender = torch_loop.torch_loop(problem, networks, indices, **kind)
        # Whatever a compiler that needs another compiler raises, the rest is still worth measuring.
        except Exception as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            findings.not_measured.append(f"{problem.name} in PyTorch, {kind}: {reason[0][:200]}")
            continue
        sides.append(Side(contender, lambda out: torch_loop.trained_trees(networks, out)))
    return sides


def _rows(
    problem: Problem,
    networks: Networks,
    contenders: list[Contender],
    timings: Timings,
    trained: dict[str, tuple[Any, Any]],
    ticket_steps: int,
) -> list[Row]:
    rows, judge = [], make_judge(problem)
    ours = timings.seconds[contenders[0].name]
    for contender in contenders:
        seconds = timings.seconds[contender.name]
        milliseconds = spread(1e3 * seconds / ticket_steps)
        over = ratio(seconds, ours)
        metrics = judge(*trained[contender.name], networks.masks)
        rows.append(
            {
                "model": problem.name,
                "contender": contender.name,
                "tickets": networks.keys.shape[0],
                "steps": ticket_steps // networks.keys.shape[0],
                "milliseconds": milliseconds.median,
                "milliseconds_range": [milliseconds.least, milliseconds.greatest],
                "ticket_steps_a_second": 1e3 / milliseconds.median,
                "ratio": over.median,
                "ratio_range": [over.least, over.greatest],
                "ratio_text": str(over),
                "compile_seconds": contender.compile_seconds,
                "loss": float(np.mean(metrics["loss"])),
                "accuracy": float(np.mean(metrics["accuracy"])),
            }
        )
    return rows


def _disagreements(rows: list[Row], examples: int) -> list[str]:
    """Finds the contenders that did not learn what the library learned."""
    ours, *others = rows
    share = ours["accuracy"]
    # Three standard errors of the difference of two such shares, and one example.
    noise = 3 * np.sqrt(2 * share * (1 - share) / examples) + 1 / examples
    return [
        f"{row['model']}, {row['contender']}: test accuracy {row['accuracy']:.4f} and loss "
        f"{row['loss']:.4f}, where jaxticket has {share:.4f} and {ours['loss']:.4f}"
        for row in others
        if not abs(row["accuracy"] - share) <= noise
        or not abs(row["loss"] - ours["loss"]) <= SAME_LOSS * abs(ours["loss"])
    ]


def _pruned_are_zero(params: Any, mask: Any) -> bool:
    zero = lambda leaf, kept: kept is None or not np.any(leaf[~kept])  # noqa: E731
    return jax.tree.all(jax.tree.map(zero, params, mask))


def _verdict(name: str, rows: list[Row]) -> Verdict:
    eager = next((row["ratio"] for row in rows if row["contender"] == "pytorch eager"), None)
    return verdict(f"peers.{name}", eager, machine.kind())


main = make_main("peers", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
