"""One experiment from the command line to its verdicts: all that its module does not say."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import jax
import xarray
from rich.console import Console, RenderableType

from experiments.common.command_line import parse
from experiments.common.compilation import use_compilation_cache
from experiments.common.configuration import Configuration, check_configuration
from experiments.common.disk import check_disk, lay_out, predict
from experiments.common.distributed import join
from experiments.common.reopening import Source, adopt, open_source
from experiments.common.report import make_console, results_tables
from experiments.common.session import complete, device_line, execute, report, thin
from experiments.common.verifying import check_verify, verify
from jaxticket import criteria, data, find_tickets, prune, recipes
from jaxticket.analysis import Claim
from jaxticket.arms import check_arms
from jaxticket.costs import Ledger
from jaxticket.errors import TicketError
from jaxticket.imp import DEFAULT, Progress, Pruning, Scoring, Variant, check_variants
from jaxticket.imp.variants import make_schedules
from jaxticket.masks import ones
from jaxticket.population import Plan, use_all_cores
from jaxticket.precision import check_precision
from jaxticket.protocol import Protocol
from jaxticket.recipes import make_allocation, make_protocol, make_prunable
from jaxticket.recipes.searching import steps_an_epoch
from jaxticket.records import Result, Store
from jaxticket.runs import RunDirectory, to_dataset

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
      variants: of the sweep that is run, or of the run that is read; `None` without one.
    """

    config: Any
    dataset: data.Dataset
    family: Callable[[Any], Any]
    protocol: Protocol
    shapes: Any
    steps_an_epoch: int
    plan: Plan
    variants: "Variants" = None

    def allocation(self, **changes: Any) -> Any:
        """Makes the allocation of the configuration with some fields changed."""
        return make_allocation(dataclasses.replace(self.config, **changes), self.shapes)

    @property
    def splits(self) -> dict[str, Any]:
        """The data by split."""
        dataset = self.dataset
        return {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}


Variants = Mapping[str, Variant] | None


def _recipe_family(config: Any, dataset: data.Dataset) -> Callable[[Any], Any]:
    return recipes.make_family(config, dataset, config.precision)


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
    """

    name: str
    description: str
    presets: Mapping[str, Configuration]
    claims: Callable[[Problem], Sequence[Claim]]
    draw: Callable[[xarray.Dataset, Result], "dict[str, Figure]"]
    variants: Callable[[Problem], Variants] = lambda problem: None
    check: Callable[[Any], None] = lambda config: None
    tables: Callable[[xarray.Dataset], list[RenderableType]] = results_tables
    measure: Callable[[Problem, Result, xarray.Dataset], xarray.Dataset] = _measure_nothing
    make_family: Callable[[Any, data.Dataset], Callable[[Any], Any]] = _recipe_family
    prepare: Callable[[Any, data.Dataset], data.Dataset] = lambda config, dataset: dataset


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
    check_verify(experiment.name, config)
    if config.keep != "all" and experiment.measure is not _measure_nothing:
        raise TicketError(
            f"--keep {config.keep}: got {experiment.name}, which measures the weights of its "
            "networks, expected all"
        )
    source = open_source(config)
    if source is not None:
        config = adopt(config, source)
    check_configuration(config)
    experiment.check(config)
    use_compilation_cache()
    use_all_cores(config.plan)
    join(config.hosts)
    check_precision(config.precision, jax.default_backend())
    console, ledger = console or make_console(), Ledger()
    with ledger.phase("data"):
        dataset = data.load(config.dataset, path=config.data_path, download=config.download)
        owner = experiment if source is None else source.experiment
        dataset = owner.prepare(config if source is None else source.config, dataset)
    problem, variants = _prepare(experiment, config, dataset, source)
    swept = any(one.hyperparameters is not None for one in (variants or {}).values())
    number = config.replicates * len(check_arms(config.arms)) * max(1, len(variants or ()))
    problem = problem._replace(plan=Plan.by_name(config.plan, number))
    claims = experiment.claims(problem)
    directory = RunDirectory(experiment.name, config, config.out, fresh=config.fresh)

    def search(store: Store, on_progress: Callable[[Progress], None]) -> Result:
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
            pruning=cast(Pruning, config.pruning),
            scoring=Scoring(config.scoring_examples),
            empty_layers=config.empty_layers,
            variants=variants,
            plan=problem.plan,
            streaming=config.streaming,
            store=source or store,
            ledger=ledger,
            on_progress=on_progress,
            keep_every=config.keep_every,
        )

    def measure(result: Result) -> xarray.Dataset:
        return experiment.measure(problem, result, to_dataset(result))

    with contextlib.closing(directory):
        if config.verify:
            facts = {"sha256": dataset.sha256, "source": dataset.source}
            return verify(directory, search, facts, problem.plan, config.verify_seed, console)
        if complete(directory):
            thin(directory, config)
        else:
            if source is None:
                use = predict(lay_out(problem), len(problem.splits), config.keep)
                check_disk(use, directory.path, console)
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


def _prepare(
    experiment: Experiment, config: Any, dataset: data.Dataset, source: Source | None
) -> tuple[Problem, Variants]:
    """Makes the problem and its sweep: the experiment's own, or those of the run that it reads."""
    if source is None:
        problem = make_problem(config, dataset, experiment.make_family)
        variants = _checked(experiment.variants(problem), problem)
        return problem._replace(variants=variants), variants
    source.check_data(dataset.sha256)
    made = make_problem(source.config, dataset, source.experiment.make_family)
    variants = _checked(source.experiment.variants(made), made)
    return made._replace(config=config, variants=variants), variants


def _checked(variants: Variants, problem: Problem) -> Variants:
    """Checks a sweep before anything is written."""
    config = problem.config
    default = dataclasses.replace(
        DEFAULT,
        allocation=problem.allocation(),
        rewind_step=config.rewind_step.at(problem.steps_an_epoch),
        rewind_moments=config.rewind_moments,
        pruning=cast(Pruning, config.pruning),
        scoring=Scoring(config.scoring_examples),
    )
    dense = ones(problem.shapes, make_prunable(config))
    chosen = check_variants(variants or {}, default, problem.protocol)
    make_schedules(chosen, dense, config.levels, empty_layers=config.empty_layers)
    return variants


def make_problem(
    config: Configuration,
    dataset: data.Dataset,
    make_family: Callable[[Any, data.Dataset], Callable[[Any], Any]] = _recipe_family,
) -> Problem:
    """Makes a configuration ready to run on its data, and checks that both fit.

    Args:
      config: the configuration, checked.
      dataset: the data.
      make_family: of the experiment.

    Returns:
      The problem, its plan that of one network.

    Raises:
      TicketError: for a network, a batch size or a schedule that does not fit.
    """
    examples = len(dataset.train.labels)
    protocol = make_protocol(config, examples, config.evaluate_every)
    family = make_family(config, dataset)
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
    dense = ones(shapes, make_prunable(config))
    prune.schedule(problem.allocation(), dense, config.levels, empty_layers=config.empty_layers)
    return problem
