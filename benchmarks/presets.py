"""How long would the paper presets take on this machine? Hours of training, by experiment.

What a preset trains is counted (networks and network-steps, from its configuration); what a step
costs is measured, by training its own network with its own batch size, optimizer and augmentation
for a few steps, all tickets of one call together as a run would train them. The images are random
numbers of the right size, which costs what real ones cost. Evaluation, pruning, checkpoints and
compiling come on top: `python -m benchmarks.overhead` measures their share.

Command: `python -m benchmarks.presets`
"""

import dataclasses
import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

import experiments
from benchmarks.common.benchmark import make_main
from benchmarks.common.library import library
from benchmarks.common.networks import make_networks
from benchmarks.common.options import Options
from benchmarks.common.problems import Problem, Setting
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.timing import interleave, spread
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from experiments.common.cost import cost_of
from experiments.common.experiment import Experiment
from experiments.common.listing import questions
from experiments.common.sweeps import check_known
from jaxticket.errors import unknown
from jaxticket.learners import preprocessing
from jaxticket.population import Plan
from jaxticket.recipes import make_family
from jaxticket.types import Examples

SHAPES = {"mnist": (28, 28, 1), "fashion_mnist": (28, 28, 1), "cifar10": (32, 32, 3)}
"""Sizes of the images of the data sets that papers name."""
CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    models: tuple[str, ...] = ()
    """Networks; those of all paper presets if none is named."""
    experiments: tuple[str, ...] = ()
    """Modules of experiments; all if none is named."""
    tickets: int = 4
    """Networks of a timed call."""
    steps: int = 10
    """Steps of each in a timed call."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, experiments=("lenet",), tickets=2, steps=2)


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_positive(tickets=config.tickets, steps=config.steps)
    found = chosen_experiments(config.experiments)
    check_known("model", config.models, [each.presets["paper"].model for each in found])


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the tables.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    found = chosen_experiments(config.experiments)
    rows, measured = [], {}
    for experiment in found:
        recipe: Any = experiment.presets["paper"]
        if config.models and recipe.model not in config.models:
            continue
        key = _key(recipe)
        if key not in measured:
            measured[key] = milliseconds_a_step(recipe, config)
        rows.append(_row(experiment, measured[key]))
    console.print(table("training of the paper presets on this machine", _COLUMNS, rows))
    findings.measurements["presets"] = rows


def chosen_experiments(names: tuple[str, ...]) -> list[Experiment]:
    """Imports experiments.

    Args:
      names: of modules; all if none is given.

    Returns:
      The experiments.

    Raises:
      TicketError: for a name that is none.
    """
    known = [name for name in questions(Path(experiments.__file__).parent) if name != "report"]
    for name in names:
        if name not in known:
            raise unknown("experiment", name, known)
    found = [importlib.import_module(f"experiments.{name}") for name in names or known]
    return [module.EXPERIMENT for module in found if "paper" in module.PRESETS]


def _key(recipe: Any) -> tuple[Any, ...]:
    """Names what the cost of a step depends on."""
    return (
        recipe.dataset,
        recipe.model,
        recipe.width,
        recipe.batch_size,
        recipe.optimizer,
        recipe.dropout,
        recipe.augment,
        recipe.precision,
    )


def milliseconds_a_step(recipe: Any, config: Config) -> np.ndarray:
    """Measures what a step of one network costs when several train together.

    Args:
      recipe: a configuration of an experiment.
      config: how many networks and steps a round has.

    Returns:
      `float64[rounds]`, milliseconds.
    """
    problem = make_random_problem(recipe)
    networks = make_networks(problem, config.tickets, 1.0, config.seed)
    contender, _ = library(problem, networks, Plan.auto(config.tickets), config.steps)
    seconds = interleave([contender], config.rounds, keep=False).seconds[contender.name]
    return 1e3 * seconds / (config.tickets * config.steps)


def make_random_problem(recipe: Any) -> Problem:
    """Makes the problem of a recipe on random images.

    Args:
      recipe: a configuration of an experiment.

    Returns:
      The problem; nothing is to be learned from its images.

    Raises:
      TicketError: for a data set whose size is not known here.
    """
    if recipe.dataset not in SHAPES:
        raise unknown("data set of a paper preset", recipe.dataset, SHAPES)
    shape, number = SHAPES[recipe.dataset], 8 * recipe.batch_size
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (number, *shape), np.uint8)
    labels = generator.integers(0, CLASSES, number).astype(np.int32)
    train: Any = Examples(images, labels)  # type: ignore[arg-type]
    learner = make_family(recipe, SimpleNamespace(train=train, classes=CLASSES), recipe.precision)(
        {}
    )
    setting = Setting(shape[0], shape[2], recipe.batch_size, recipe.optimizer, recipe.learning_rate)
    model: Any = None
    return Problem(
        recipe.model,
        setting,
        model,
        learner,
        model,
        preprocessing.standardized(images),
        train,
        train,
        CLASSES,
    )


_COLUMNS = [
    Column("experiment", "experiment"),
    Column("network", "network"),
    Column("batch_size", "batch"),
    Column("networks", "networks", ","),
    Column("million_steps", "million network-steps", ",.1f"),
    Column("milliseconds", "ms a network-step", ".2f"),
    Column("hours", "hours", ",.1f"),
]


def _row(experiment: Experiment, milliseconds: np.ndarray) -> Row:
    recipe: Any = experiment.presets["paper"]
    cost, step = cost_of(experiment, "paper"), spread(milliseconds)
    hours = cost.steps * step.median / 3.6e6
    return {
        "experiment": experiment.name,
        "network": recipe.model,
        "batch_size": recipe.batch_size,
        "networks": cost.networks,
        "million_steps": cost.steps / 1e6,
        "milliseconds": step.median,
        "milliseconds_range": [step.least, step.greatest],
        "hours": hours,
    }


main = make_main("presets", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
