"""What every experiment lets one choose: a recipe, and how much of it is run, where and how."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar, get_args

import tyro

from experiments.common.distributed import Hosts, check_hosts
from jaxticket import criteria
from jaxticket.arms import DEFAULT_ARMS, check_arms
from jaxticket.errors import TicketError, unknown
from jaxticket.imp import Pruning
from jaxticket.population import check_plan_name
from jaxticket.precision import check_precision
from jaxticket.recipes import Recipe, Step, by_name, check_recipe
from jaxticket.runs.thinning import Keep

NOT_SCIENCE = {"science": False}
"""Marks fields that do not change the results, so that they stay out of the run's hash."""


@dataclasses.dataclass(frozen=True)
class Configuration(Recipe):
    """What can be chosen; the text under each field is its help on the command line."""

    dataset: str = "fashion_mnist_5k"
    """fashion_mnist_5k, digits, fashion_mnist, mnist, cifar10_jpeg, or any TFDS set of labelled
    images."""
    data_path: Path | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Folder that holds the data set's files; the usual places if None."""
    download: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Download the data set if it is not on this machine."""
    replicates: int = 5
    """Independent initialisations, each with its own data order."""
    levels: int = 16
    """Levels, the dense one included."""
    evaluate_every: Step = Step.iterations(40)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    test_curves: bool = False
    """Measure the test set at every evaluation too, and not only where results are read: where a
    network begins, at its early-stop step and at its end."""
    criterion: str = "magnitude"
    """What a weight is worth: magnitude, snip ... or inverse_snip; all are in docs/masks.md."""
    pruning: str = "iterative"
    """When masks are made: iterative, level after level; oneshot, from the trained dense network;
    or at_start, before any training from the rewind step on."""
    scoring_examples: int = 100
    """Training examples that a criterion such as snip scores with, as many of each class."""
    empty_layers: bool = False
    """Allow pruning to empty a layer; otherwise such a run is refused."""
    rewind_moments: bool = False
    """Rewind the optimizer's moments too."""
    arms: tuple[str, ...] = DEFAULT_ARMS
    """Names from jaxticket.arms; the ticket is always trained."""
    seed: int = 0
    """Everything random is derived from it by name."""
    precision: str = "float32"
    """In what networks compute: float32, tf32 (NVIDIA GPUs) or bfloat16; weights are float32."""
    plan: str = dataclasses.field(default="auto", metadata=NOT_SCIENCE)
    """How networks run here: auto; map, vmap or chunked on one device; mesh, mesh_vmap or
    mesh_chunked on all; mesh_batch, networks one by one, batches shared out over all."""
    streaming: bool | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Feed the training set from the host; decided by its size if None. Changes no result."""
    out: Path | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Run directory; runs/<experiment>/<hash of the configuration> if None."""
    fresh: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Discard what the run directory holds."""
    preset: str = dataclasses.field(default="default", metadata=NOT_SCIENCE)
    """Where the defaults come from: default, smoke or paper."""
    check: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Exit with 1 if a claim does not hold (at smoke size: an exact one)."""
    keep: Keep = dataclasses.field(default="all", metadata=NOT_SCIENCE)
    """Whose trained weights stay on disk: all; tickets, none of the controls'; ends, the dense
    networks' and the newest tickets'. Masks and curves always stay."""
    verify: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Train one finished network of the run directory again, drawn at random, and exit with 1 if a
    bit of it differs."""
    verify_seed: int | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Which network --verify draws; drawn anew and printed if None."""
    keep_every: float = dataclasses.field(default=60.0, metadata=NOT_SCIENCE)
    """Seconds of training that a kill may cost."""
    hosts: tyro.conf.OmitArgPrefixes[Hosts] = dataclasses.field(
        default=Hosts(), metadata=NOT_SCIENCE
    )


@dataclasses.dataclass(frozen=True)
class Reading(Configuration):
    """What can be chosen where the tickets of a finished run can be measured."""

    run: Path | None = None
    """Finished run whose tickets are measured, instead of making them: its network, data, training
    and arms then replace what is chosen here."""
    task_paths: tuple[str, ...] = dataclasses.field(default=(), metadata=NOT_SCIENCE)
    """Folders of the other data sets of tasks, such as mnist=/data/mnist; the usual places if not
    said."""


@dataclasses.dataclass(frozen=True)
class ReadingOne(Reading):
    """The same, where what is measured is one search."""

    variant: str = ""
    """Of a run that holds several searches, the name of the one that is measured; the first if
    empty."""


Config = TypeVar("Config", bound=Configuration)


def published(config: Config, name: str, preset: str = "paper") -> Config:
    """Puts a published recipe, its data set and its levels into a configuration.

    Args:
      config: the configuration.
      name: of a recipe in `jaxticket.recipes.RECIPES`.
      preset: what the preset is called.

    Returns:
      The configuration, as that preset.
    """
    paper = by_name(name)
    fields = dataclasses.fields(paper.recipe)
    numbers = {field.name: getattr(paper.recipe, field.name) for field in fields}
    return dataclasses.replace(
        config,
        preset=preset,
        dataset=paper.dataset,
        levels=paper.levels,
        evaluate_every=paper.evaluate_every,
        **numbers,
    )


def check_configuration(config: Configuration) -> None:
    """Checks everything that can be checked before data are read or anything is written.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    check_positive(
        replicates=config.replicates,
        levels=config.levels,
        scoring_examples=config.scoring_examples,
    )
    check_recipe(config)
    check_arms(config.arms)
    check_plan_name(config.plan)
    check_precision(config.precision)
    check_hosts(config.hosts, config.plan)
    criteria.by_name(config.criterion)
    if config.pruning not in get_args(Pruning):
        raise unknown("pruning", config.pruning, get_args(Pruning))
    if not 0 <= config.seed < 2**32:
        raise TicketError(f"--seed: got {config.seed}, expected 0 to {2**32 - 1}")
    if not config.keep_every >= 0:
        raise TicketError(f"--keep-every: got {config.keep_every}, expected seconds, 0 or more")


def check_published(presets: Mapping[str, Configuration], config: Configuration) -> None:
    """Refuses a published protocol for a network that it was not published for.

    Args:
      presets: of the experiment, by name.
      config: what was chosen.

    Raises:
      TicketError: naming the preset of that network, if there is one.
    """
    network = presets[config.preset].model
    if not config.preset.startswith("paper") or config.model == network:
        return
    other = [n for n, p in presets.items() if n.startswith("paper") and p.model == config.model]
    fix = f"--preset {other[0]}" if other else "the numbers one by one, with another preset"
    raise TicketError(
        f"--model {config.model}: got it with --preset {config.preset}, whose steps, rates and "
        f"pruning were published for {network}; give {fix}"
    )


def check_positive(**sizes: int) -> None:
    """Checks sizes that must be at least 1, all at once.

    Args:
      **sizes: values by option name.

    Raises:
      TicketError: naming every offender.

    Example:
      >>> check_positive(levels=16, replicates=5)
    """
    wrong = [f"--{n.replace('_', '-')}: got {v}" for n, v in sizes.items() if v < 1]
    if wrong:
        raise TicketError(f"{', '.join(wrong)}, expected at least 1")
