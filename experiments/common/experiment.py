"""One experiment from the command line to its verdicts: all that its module does not say."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import xarray
from rich.console import Console, RenderableType

from experiments.common.command_line import parse
from experiments.common.compilation import use_compilation_cache
from experiments.common.configuration import (
    Configuration,
    Reading,
    check_configuration,
    check_published,
)
from experiments.common.disk import check_disk, predict
from experiments.common.distributed import check_hosts, join
from experiments.common.going_on import Further, go_on
from experiments.common.preparing import load_data, prepare
from experiments.common.problem import MakeFamily, Problem, Variants, make_problem, recipe_family
from experiments.common.reopening import Source, adopt, one_of
from experiments.common.report import make_console, results_tables
from experiments.common.searching import lay_out, search_of
from experiments.common.session import complete, device_line, execute, report, thin
from experiments.common.training import Training
from experiments.common.verifying import check_verify, verify
from jaxticket import data
from jaxticket.analysis import Claim
from jaxticket.costs import Ledger
from jaxticket.errors import TicketError
from jaxticket.population import check_plan_name, use_all_cores
from jaxticket.precision import check_precision
from jaxticket.result import Result
from jaxticket.runs import RunDirectory, to_dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Experiment", "Problem", "Variants", "make_problem", "run"]


def _measure_nothing(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    del problem, result
    return results


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a module says of its experiment.

    Attributes:
      name: of the module.
      description: its docstring.
      presets: configurations by name.
      claims: `claims(problem) -> claims`, decided before any run, exact ones first.
      draw: `draw(results, result) -> figures by name`, the main one first.
      variants: `variants(problem) -> variants by name`; `None` if it sweeps nothing.
      check: `check(config)` raises a `TicketError` for what only this experiment refuses.
      tables: `tables(results) -> what is printed`.
      measure: `measure(problem, result, results) -> results` adds what needs the networks
        themselves.
      make_family: `make_family(config, dataset) -> family`, how networks are trained; that of the
        recipe unless said otherwise.
      prepare: `prepare(config, dataset) -> dataset`, what is made of the data that were chosen;
        nothing unless said otherwise.
      settle: `settle(config) -> config` decides what depends on this machine, before the run has
        its hash.
      reads: arms whose trained weights `measure` reads, of a run that is measured; `None` for all.
      beyond: `beyond(problem)`, what is trained besides the search that is read of a run; nothing
        unless said otherwise. It raises a `TicketError` for a run that cannot be measured.
    """

    name: str
    description: str
    presets: Mapping[str, Configuration]
    claims: Callable[[Problem], Sequence[Claim]]
    draw: Callable[[xarray.Dataset, Result], "dict[str, Figure]"]
    variants: Callable[[Problem], Variants] = lambda problem: None
    check: Callable[[Any], None] = lambda config: None
    tables: Callable[[xarray.Dataset], Sequence[RenderableType]] = results_tables
    measure: Callable[[Problem, Result, xarray.Dataset], xarray.Dataset] = _measure_nothing
    make_family: MakeFamily = recipe_family
    prepare: Callable[[Any, data.Dataset], data.Dataset] = lambda config, dataset: dataset
    settle: Callable[[Any], Any] = lambda config: config
    reads: tuple[str, ...] | None = None
    beyond: Callable[[Problem], Further | None] = lambda problem: None


def run(
    experiment: Experiment, arguments: list[str] | None = None, console: Console | None = None
) -> int:
    """Runs an experiment.

    Args:
      experiment: the experiment.
      arguments: the command line, `sys.argv[1:]` if `None`.
      console: where to print.

    Returns:
      The exit code.
    """
    config, source = _configure(experiment, arguments)
    console, ledger = console or make_console(), Ledger()
    with ledger.phase("data"):
        dataset = load_data(experiment, config, source)
    problem = prepare(experiment, config, dataset, source)
    claims = experiment.claims(problem)
    further = None if source is None else experiment.beyond(problem)
    directory = RunDirectory(experiment.name, config, config.out, fresh=config.fresh)

    if source is not None:
        source.map_into(directory.path)
    found = search_of(problem, source, ledger)

    def search(store: Any, on_progress: Callable[..., None]) -> Result:
        read = one_of(found(store, on_progress), config, source)
        if further is None or further.later:
            return read
        return go_on(further, read, store, on_progress, ledger)

    def measure(result: Result, training: Training) -> xarray.Dataset:
        labels, besides = np.asarray(dataset.test.labels), further and further.problem
        given = problem._replace(training=training._replace(besides=besides))
        return experiment.measure(given, result, to_dataset(result, labels))

    with contextlib.closing(directory):
        if config.verify:
            facts = {"sha256": dataset.sha256, "source": dataset.source}
            return verify(directory, search, facts, problem.plan, config.verify_seed, console)
        if complete(directory):
            thin(directory, config)
        else:
            trained = problem if source is None else further and further.problem
            if trained is not None:
                use = predict(lay_out(trained), len(problem.splits), config.keep)
                check_disk(use, directory.path, console)
            line = f"{dataset.name}, {dataset.source}; {device_line(problem.plan)}"
            console.print(line, markup=False)
            execute(
                directory,
                config,
                dataset if further is None else further.problem.dataset,
                problem.plan,
                search,
                measure,
                experiment.draw,
                claims,
                console,
                ledger,
            )
        exact_only = config.preset == "smoke"
        tables = experiment.tables
        return report(directory, tables, console, check=config.check, exact_only=exact_only)


def _configure(experiment: Experiment, arguments: list[str] | None) -> tuple[Any, Source | None]:
    """Reads and checks the command line, opens the run that it names, and makes JAX as it says."""
    program = f"python -m experiments.{experiment.name}"
    config = parse(experiment.presets, program, experiment.description, arguments)
    check_published(experiment.presets, config)
    check_verify(experiment.name, config)
    _check_keep(experiment, config)
    source = None
    if isinstance(config, Reading) and config.run is not None:
        # Reading checkpoints starts JAX, whose devices and hosts cannot be chosen any more then.
        _start(config)
        source = Source(config.run, experiment.reads)
        config = adopt(config, source)
    check_configuration(config)
    experiment.check(config)
    if source is None:
        config = experiment.settle(config)
        _start(config)
    check_precision(config.precision, _backend())
    return config, source


def _start(config: Any) -> None:
    """Makes JAX as the configuration says: its cache, its devices and its hosts."""
    check_plan_name(config.plan)
    check_hosts(config.hosts, config.plan)
    use_compilation_cache()
    use_all_cores(config.plan)
    join(config.hosts)


def _backend() -> str:
    """Starts JAX's backend."""
    try:
        return jax.default_backend()
    except (AssertionError, RuntimeError) as error:
        line = " ".join(str(error).split())[:200]
        said = f" ({line})" if line else ""
        raise TicketError(
            f"JAX: cannot start on {os.environ.get('JAX_PLATFORMS') or 'this machine'}{said}; "
            "install JAX for it (docs/scaling.md), or unset JAX_PLATFORMS"
        ) from None


def _check_keep(experiment: Experiment, config: Any) -> None:
    measures = experiment.measure is not _measure_nothing and experiment.reads != ()
    if config.keep != "all" and measures:
        raise TicketError(
            f"--keep {config.keep}: got {experiment.name}, which measures the weights of its "
            "networks, expected all"
        )
