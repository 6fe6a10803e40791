"""One run from configuration to verdicts: directory, store, search, results, figures."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import jax
import xarray
from rich.console import Console, RenderableType

from experiments.common.accounting import describe_costs, draw_up
from experiments.common.command_line import FAILED
from experiments.common.completeness import earlier_account, read_summary, set_damaged_aside
from experiments.common.drawing import describe_undrawn, save_figures
from experiments.common.importing import import_meanwhile
from experiments.common.interruption import Interruption
from experiments.common.progress import ProgressDisplay
from experiments.common.report import claims_table
from experiments.common.training import Training
from experiments.common.troubles import (
    describe_diverged,
    describe_useless,
    diverged_networks,
    useless_networks,
)
from experiments.common.undefined import undefined_pairs
from jaxticket.analysis import Claim, judge
from jaxticket.costs import Ledger
from jaxticket.data import Dataset
from jaxticket.imp import Progress
from jaxticket.population import Plan, hosts
from jaxticket.records import Store
from jaxticket.result import Result
from jaxticket.runs import (
    CheckpointStore,
    RunDirectory,
    as_json,
    read_results,
    write_json,
    write_results,
)
from jaxticket.runs.partway import PartwayFile

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Search = Callable[[Store, Callable[[Progress], None]], Result]
Measure = Callable[[Result, Training], xarray.Dataset]
Draw = Callable[[xarray.Dataset, Result], "dict[str, Figure]"]
Tables = Callable[[xarray.Dataset], Sequence[RenderableType]]


def complete(directory: RunDirectory) -> bool:
    """Says whether a run has ended and left all its files, none of them damaged.

    Args:
      directory: its directory.

    Returns:
      True if only the report is left to print.

    Raises:
      TicketError: if one is damaged and cannot be made again.
    """
    return hosts.once(lambda: set_damaged_aside(directory))


def execute(
    directory: RunDirectory,
    config: Any,
    dataset: Dataset,
    plan: Plan,
    search: Search,
    measure: Measure,
    draw: Draw,
    claims: Sequence[Claim],
    console: Console,
    ledger: Ledger,
) -> None:
    """Searches, resuming what is there, and writes results, figures and the summary, last.

    Of several processes all search, and the first one writes. Figures that cannot be drawn are
    named in the summary, which is written all the same.

    Args:
      directory: where everything goes.
      config: the configuration, a dataclass with `levels` and `keep`.
      dataset: what is trained on.
      plan: how populations run.
      search: finds the tickets, given a store and a progress callback.
      measure: makes the results, on all processes, since it may compute on all devices; it is told
        how to train what it measures besides.
      draw: makes the figures by name, the main one first.
      claims: what to judge.
      console: where progress is shown.
      ledger: of the run, which `search` counts in.
    """
    import_meanwhile()
    facts = {"name": dataset.name, "source": dataset.source, "sha256": dataset.sha256}
    hosts.check_same("data", dataset.sha256)
    hosts.check_same("plan", str(plan))
    hosts.check_same("--keep", config.keep)
    identity = {"run": directory.name, "data": dataset.sha256}
    measures = PartwayFile(directory.measures_partway)
    directory.record_environment(data=facts | {"split": dataset.split}, plan=str(plan))
    with (
        ledger,
        Interruption().caught() as interruption,
        CheckpointStore(
            directory.checkpoints, identity, run=directory.path, keep=config.keep
        ) as store,
        ProgressDisplay(console, config.levels) as display,
    ):

        def on_progress(progress: Progress) -> None:
            display(progress)
            interruption.check(progress)

        result = search(store, on_progress)
        with ledger.phase("report"):
            results = measure(result, Training(store, measures, on_progress, ledger))

    # What the machine can do is measured on all devices too.
    costs = draw_up(ledger, plan)

    def write() -> None:
        with ledger.phase("report"):
            write_results(directory.results, results, directory.name)
            verdicts = judge(claims, results)
            figures = save_figures(directory.figures, lambda: draw(results, result))
        earlier = earlier_account(directory, costs)
        content = {
            "experiment": directory.experiment,
            "config": as_json(config),
            "seconds": round(sum(ledger.seconds.values()), 1),
            "costs": costs,
            "claims": verdicts,
            "diverged": diverged_networks(results),
            **useless_networks(results),
            "undefined": undefined_pairs(results),
            **figures,
        } | earlier
        write_json(directory.summary, content, directory.name)

    hosts.once(write)
    # A kill before the summary stands would cost all that was trained for it.
    measures.clear()


def thin(directory: RunDirectory, config: Any) -> None:
    """Drops what a complete run need not keep any more.

    Args:
      directory: its directory.
      config: the configuration, a dataclass with `keep`.
    """
    if config.keep != "all":
        CheckpointStore(directory.checkpoints, keep=config.keep).close()


def report(
    directory: RunDirectory, tables: Tables, console: Console, *, check: bool, exact_only: bool
) -> int:
    """Prints what a complete run found, and decides the exit code.

    Args:
      directory: of a complete run.
      tables: makes what is printed of the results.
      console: where to print.
      check: whether a claim that does not hold fails the run.
      exact_only: whether only the exact claims are asserted, as at smoke size.

    Returns:
      0, or 1 if a network diverged or a checked claim does not hold.
    """
    return hosts.once(lambda: _report(directory, tables, console, check, exact_only))


def _report(
    directory: RunDirectory, tables: Tables, console: Console, check: bool, exact_only: bool
) -> int:
    results = read_results(directory.results, directory.name)
    summary = read_summary(directory.summary, directory.name)
    for table in tables(results):
        console.print(table)
    console.print(claims_table(summary["claims"]))
    for line in describe_costs(summary["costs"]):
        console.print(line, markup=False, highlight=False)
    console.print(f"{summary['seconds']:.0f} s; results, figures and verdicts: {directory.path}")
    useless = {kind: summary.get(kind, []) for kind in ("collapsed", "untrained")}
    for line in describe_useless(useless):
        console.print(line, markup=False, highlight=False)
    asserted = [claim for claim in summary["claims"] if claim["exact"] or not exact_only]
    broken = [claim["id"] for claim in asserted if not claim["holds"]]
    code = 0
    if summary["diverged"]:
        _complain(describe_diverged(summary["diverged"]))
        code = FAILED
    if "undrawn" in summary:
        _complain(describe_undrawn(summary["undrawn"], directory.summary))
        code = FAILED
    if check and broken:
        _complain(f"--check: {len(broken)} of {len(asserted)} claims fail: {', '.join(broken)}")
        code = FAILED
    elif check:
        kind = "exact claims" if exact_only else "claims"
        console.print(f"--check: all {len(asserted)} {kind} hold")
    return code


def device_line(plan: Plan) -> str:
    """Says what a run computes with.

    Args:
      plan: how populations run.

    Returns:
      One line.
    """
    return f"jax {jax.__version__}; plan: {plan}"


def _complain(message: str) -> None:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"error: {message}", markup=False)
