"""One experiment from the command line to its verdicts: all that its module does not say."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import xarray
from rich.console import Console, RenderableType

from experiments.common.command_line import parse
from experiments.common.compilation import use_compilation_cache
from experiments.common.configuration import Configuration, check_configuration
from experiments.common.distributed import join
from experiments.common.progress import ProgressDisplay
from experiments.common.report import make_console, results_tables
from experiments.common.session import complete, device_line, execute, report
from jaxticket import criteria, data, find_tickets, prune
from jaxticket.analysis import Claim
from jaxticket.arms import check_arms
from jaxticket.costs import Ledger
from jaxticket.imp import DEFAULT, Variant, check_variants
from jaxticket.imp.variants import make_schedules
from jaxticket.masks import ones
from jaxticket.population import Plan, use_all_cores
from jaxticket.precision import check_precision
from jaxticket.protocol import Protocol
from jaxticket.recipes import make_allocation, make_family, make_protocol, make_prunable
from jaxticket.recipes.searching import steps_an_epoch
from jaxticket.records import Result
from jaxticket.runs import CheckpointStore, RunDirectory, to_dataset

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Problem(NamedTuple):
    """A configuration, made ready to run on its data.

    Attributes:
      config: the configuration.
      dataset: the data.
      family: the learner of a network with given hyperparameters.
      protocol: how long networks train.
      shapes: of one network's params.
      steps_an_epoch: by which a `Step` is read.
      plan: how populations run.
    """

    config: Any
    dataset: data.Dataset
    family: Callable[[Any], Any]
    protocol: Protocol
    shapes: Any
    steps_an_epoch: int
    plan: Plan

    def allocation(self, **changes: Any) -> Any:
        """Makes the allocation of the configuration with some fields changed."""
        return make_allocation(dataclasses.replace(self.config, **changes), self.shapes)

    @property
    def splits(self) -> dict[str, Any]:
        """The data by split."""
        dataset = self.dataset
        return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


Variants = Mapping[str, Variant] | None


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
      make_family: `make_family(config, dataset) -> family`, the learner of a network with given
        hyperparameters.
    """

    name: str
    description: str
    presets: Mapping[str, Configuration]
    claims: Callable[[Problem], Sequence[Claim]]
    draw: Callable[[xarray.Dataset, Result], "dict[str, Figure]"]
    variants: Callable[[Problem], Variants] = lambda problem: None
    check: Callable[[Any], None] = lambda config: None
    tables: Callable[[xarray.Dataset], list[RenderableType]] = results_tables
    measure: Callable[[Problem, Result, xarray.Dataset], xarray.Dataset] = (
        lambda problem, result, results: results
    )
    make_family: Callable[[Any, data.Dataset], Callable[[Any], Any]] = lambda config, dataset: (
        make_family(config, dataset, config.precision)
    )


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
    program = f"python -m experiments.{experiment.name}"
    config = parse(experiment.presets, program, experiment.description, arguments)
    check_configuration(config)
    experiment.check(config)
    use_compilation_cache()
    use_all_cores(config.plan)
    join(config.hosts)
    check_precision(config.precision, jax.default_backend())
    console, ledger = console or make_console(), Ledger()
    with ledger.phase("data"):
        dataset = data.load(config.dataset, path=config.data_path, download=config.download)
    problem = make_problem(config, dataset, experiment.make_family(config, dataset))
    variants = _checked(experiment.variants(problem), problem)
    swept = any(one.hyperparameters is not None for one in (variants or {}).values())
    number = config.replicates * len(check_arms(config.arms)) * max(1, len(variants or ()))
    problem = problem._replace(plan=Plan.by_name(config.plan, number))
    claims = experiment.claims(problem)
    directory = RunDirectory(experiment.name, config, config.out, fresh=config.fresh)

    def search(store: CheckpointStore, progress: ProgressDisplay) -> Result:
        return find_tickets(
            problem.family if swept else problem.family({}),
            problem.splits,
            jax.random.key(config.seed),
            problem.protocol,
            problem.allocation(),
            levels=config.levels,
            replicates=config.replicates,
            criterion=criteria.by_name(config.criterion),
            prunable=make_prunable(config),
            arms=config.arms,
            rewind_step=config.rewind_step.at(problem.steps_an_epoch),
            rewind_moments=config.rewind_moments,
            variants=variants,
            plan=problem.plan,
            streaming=config.streaming,
            store=store,
            ledger=ledger,
            on_progress=progress,
        )

    def measure(result: Result) -> xarray.Dataset:
        return experiment.measure(problem, result, to_dataset(result))

    if not complete(directory):
        console.print(
            f"{dataset.name}, {dataset.source}; {device_line(problem.plan)}", markup=False
        )
        execute(
            directory,
            config,
            dataset,
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


def _checked(variants: Variants, problem: Problem) -> Variants:
    """Checks a sweep before anything is written."""
    config = problem.config
    default = dataclasses.replace(
        DEFAULT,
        allocation=problem.allocation(),
        rewind_step=config.rewind_step.at(problem.steps_an_epoch),
        rewind_moments=config.rewind_moments,
    )
    dense = ones(problem.shapes, make_prunable(config))
    chosen = check_variants(variants or {}, default, problem.protocol)
    make_schedules(chosen, dense, config.levels)
    return variants


def make_problem(
    config: Configuration, dataset: data.Dataset, family: Callable[[Any], Any] | None = None
) -> Problem:
    """Makes a configuration ready to run on its data, and checks that both fit.

    Args:
      config: the configuration, checked.
      dataset: the data.
      family: the learner of a network; that of the recipe if `None`.

    Returns:
      The problem, its plan that of one network.

    Raises:
      TicketError: for a network, a batch size or a schedule that does not fit.
    """
    examples = len(dataset.train.labels)
    protocol = make_protocol(config, examples, config.evaluate_every)
    family = family or make_family(config, dataset, config.precision)
    shapes = jax.eval_shape(family({}).init, jax.random.key(0)).params
    problem = Problem(
        config=config,
        dataset=dataset,
        family=family,
        protocol=protocol,
        shapes=shapes,
        steps_an_epoch=steps_an_epoch(config, examples),
        plan=Plan("map"),
    )
    protocol.boundaries(config.rewind_step.at(problem.steps_an_epoch))
    prune.schedule(problem.allocation(), ones(shapes, make_prunable(config)), config.levels)
    return problem
