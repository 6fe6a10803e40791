"""Do winning tickets exist? LeNet-300-100 and iterative magnitude pruning, with controls.

Claim: dense networks contain sparse subnetworks that, trained alone from their original
initialisation, learn at least as fast and reach at least the same accuracy; from another
initialisation, or with the same mask shuffled, they do not.

Paper: Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv 1803.03635, section 2.

Command: `python -m experiments.lenet`

Presets:
  default  5,000 embedded Fashion-MNIST images, 16 levels, 5 arms, 5 replicates; minutes on two
           cores. No paper number exists for this set: the claims are about differences.
  smoke    digits, 3 levels, 2 replicates; seconds; only the exact claims mean anything.
  paper    the published protocol: MNIST, 50,000 steps of batch 60, Adam 1.2e-3, Gaussian
           Glorot, 20 levels: 480 networks, 24.0 million ticket-steps, evaluation not counted.

Expected on MNIST (paper): the ticket beats dense by 0.3 points and more at 13.5 %, stops 38 %
earlier at 21 %, and is back at dense accuracy at 3.6 %; reinit falls below dense at 21.1 %.
"""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import tyro
import xarray
from rich.console import Console

from experiments.common import lottery
from experiments.common.command_line import parse, run_main
from experiments.common.compilation import use_compilation_cache
from experiments.common.distributed import Hosts, check_hosts, join
from experiments.common.progress import ProgressDisplay
from experiments.common.report import make_console
from experiments.common.session import complete, device_line, execute, report
from experiments.common.training import check_positive, make_allocation, make_optimizer
from jaxticket import criteria, data, find_tickets, masks, prune
from jaxticket.arms import DEFAULT_ARMS, check_arms
from jaxticket.costs import Ledger
from jaxticket.errors import TicketError
from jaxticket.learners import preprocessing, supervised
from jaxticket.learners.base import Learner
from jaxticket.population import Plan, check_plan_name, use_all_cores
from jaxticket.precision import check_precision, in_precision
from jaxticket.protocol import Protocol
from jaxticket.records import Result
from jaxticket.runs import CheckpointStore, RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure


NOT_SCIENCE = {"science": False}
"""Marks fields that do not change the results, so that they stay out of the run's hash."""


@dataclasses.dataclass(frozen=True)
class Config:
    """What can be chosen; the text under each field is its help on the command line."""

    dataset: str = "fashion_mnist_5k"
    """fashion_mnist_5k, digits, fashion_mnist, mnist, or any TFDS image classification set."""
    data_path: Path | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Folder that holds the data set's files; the usual places if None."""
    download: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Allow the network for the data set."""
    replicates: int = 5
    """Independent initialisations, each with its own data order."""
    levels: int = 16
    """Levels, the dense one included; level 15 has 3.6 % of the weights."""
    steps: int = 600
    """Training steps at each level."""
    batch_size: int = 60
    """Examples a step."""
    evaluate_every: int = 40
    """Steps between evaluations: the grid of the early-stop step."""
    optimizer: str = "adam"
    """adam, adamw, sgd, momentum or rmsprop."""
    learning_rate: float = 2e-3
    """Constant learning rate."""
    initializer: str = "glorot_normal"
    """Of the kernels, by its name in jaxticket.models.mlp; biases start at zero."""
    inputs: str = "standardized"
    """How pixels enter: standardized (by the training pixels) or unit_interval."""
    criterion: str = "magnitude"
    """What a weight is worth; a name from jaxticket.criteria, also behind inverse_."""
    prune_rate: float = 0.2
    """Share of the remaining weights that goes at each level."""
    output_prune_rate: float = 0.1
    """The same for the output layer; not used under global scope."""
    scope: str = "layerwise"
    """Where weights compete: layerwise or global."""
    rewind_step: int = 0
    """Training step that tickets go back to."""
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
    mesh_chunked on all."""
    streaming: bool | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Feed the training set from the host; decided by its size if None. Changes no result."""
    out: Path | None = dataclasses.field(default=None, metadata=NOT_SCIENCE)
    """Run directory; runs/lenet/<hash of the configuration> if None."""
    fresh: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Discard what the run directory holds."""
    preset: str = dataclasses.field(default="default", metadata=NOT_SCIENCE)
    """Where the defaults come from: default, smoke or paper."""
    check: bool = dataclasses.field(default=False, metadata=NOT_SCIENCE)
    """Exit with 1 if a claim does not hold (at smoke size: an exact one)."""
    hosts: tyro.conf.OmitArgPrefixes[Hosts] = dataclasses.field(
        default=Hosts(), metadata=NOT_SCIENCE
    )


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=3,
        steps=60,
        evaluate_every=20,
    ),
    "paper": dataclasses.replace(
        DEFAULT,
        preset="paper",
        dataset="mnist",
        levels=20,
        steps=50_000,
        evaluate_every=100,
        learning_rate=1.2e-3,
        inputs="unit_interval",
    ),
}


def claims(counts: tuple[Any, ...]) -> list[Any]:
    """Lists what a run must show; decided before any run.

    Args:
      counts: the schedule.

    Returns:
      The claims, exact ones first.
    """
    return [
        lottery.density_schedule(counts),
        lottery.exact_zeros(),
        lottery.nested_masks(),
        lottery.matches_dense(13.5),
        lottery.beats("reinit", 13.5),
        lottery.beats("reinit", 3.6),
        lottery.beats("shuffle", 13.5),
        lottery.beats("shuffle", 3.6),
        lottery.falls_below_later(3),
        lottery.stops_before("ticket", 0, 21.1),
        lottery.stops_before("reinit", None, 21.1),
        lottery.beats_oneshot(5.0),
    ]


def check_config(config: Config) -> None:
    """Checks everything that can be checked before data are read or anything is written.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    check_positive(
        replicates=config.replicates,
        levels=config.levels,
        steps=config.steps,
        batch_size=config.batch_size,
        evaluate_every=config.evaluate_every,
    )
    check_arms(config.arms)
    check_plan_name(config.plan)
    check_precision(config.precision)
    check_hosts(config.hosts, config.plan)
    criteria.by_name(config.criterion)
    make_optimizer(config.optimizer, config.learning_rate)
    make_allocation(config.scope, config.prune_rate, config.output_prune_rate)
    preprocessing.check_name(config.inputs)
    Protocol(config.steps, config.batch_size, config.evaluate_every).boundaries(config.rewind_step)
    if not 0 <= config.seed < 2**32:
        raise TicketError(f"--seed: got {config.seed}, expected 0 to {2**32 - 1}")


def make_learner(config: Config, dataset: data.Dataset) -> Learner:
    """Makes the learner: LeNet-300-100 for the data's shape, cross-entropy, the optimizer.

    Args:
      config: the configuration.
      dataset: gives input shape, classes and, if asked for, pixel mean and deviation.

    Returns:
      The learner.
    """
    from jaxticket import models

    model = models.lenet_300_100(
        tuple(dataset.train.images.shape[1:]), dataset.classes, initializer=config.initializer
    )
    return supervised(
        in_precision(model, config.precision),
        make_optimizer(config.optimizer, config.learning_rate),
        preprocess=preprocessing.by_name(config.inputs, np.asarray(dataset.train.images)),
    )


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the paper's figures.

    Args:
      results: all curves.
      result: masks, for the picture of the first layer.

    Returns:
      Figures by file name.
    """
    from jaxticket import plots

    return {
        "tickets": plots.both_against_density(results),
        "accuracy": plots.accuracy_against_density(results),
        "early_stop": plots.early_stop_against_density(results),
        "learning_curves": plots.learning_curves(results),
        "layer_densities": plots.layer_densities(results),
        "first_layer_masks": _draw_masks(results, result),
    }


def _draw_masks(results: xarray.Dataset, result: Result) -> "Figure":
    from jaxticket import plots

    levels = sorted({0, result.levels // 3, 2 * result.levels // 3, result.levels - 1})
    pictures = {
        f"{100 * results['density'].values[level]:.1f} %": result.network("ticket", level, 0).mask[
            "hidden_0"
        ]["kernel"]
        for level in levels
    }
    pixels = next(iter(pictures.values())).shape[0]
    side = int(np.sqrt(pixels))
    return plots.mask_images(pictures, (side, side) if side**2 == pixels else (pixels, 1))


def main(arguments: list[str] | None = None, console: Console | None = None) -> int:
    """Runs the experiment.

    Args:
      arguments: the command line, `sys.argv[1:]` if `None`.
      console: where to print.

    Returns:
      The exit code.
    """
    config = parse(PRESETS, "python -m experiments.lenet", __doc__ or "", arguments)
    check_config(config)
    use_compilation_cache()
    use_all_cores(config.plan)
    join(config.hosts)
    check_precision(config.precision, jax.default_backend())
    console, ledger = console or make_console(), Ledger()
    with ledger.phase("data"):
        dataset = data.load(config.dataset, path=config.data_path, download=config.download)
    protocol = Protocol(config.steps, config.batch_size, config.evaluate_every)
    protocol.steps_an_epoch(len(dataset.train.labels))
    learner = make_learner(config, dataset)
    allocation = make_allocation(config.scope, config.prune_rate, config.output_prune_rate)
    shapes = jax.eval_shape(learner.init, jax.random.key(0)).params
    counts = prune.schedule(allocation, masks.ones(shapes), config.levels)
    plan = Plan.by_name(config.plan, config.replicates * len(config.arms))
    directory = RunDirectory("lenet", config, config.out, fresh=config.fresh)

    def search(store: CheckpointStore, progress: ProgressDisplay) -> Result:
        splits = {"train": dataset.train, "validation": dataset.validation, "test": dataset.test}
        return find_tickets(
            learner,
            splits,
            jax.random.key(config.seed),
            protocol,
            allocation,
            levels=config.levels,
            replicates=config.replicates,
            criterion=criteria.by_name(config.criterion),
            arms=config.arms,
            rewind_step=config.rewind_step,
            rewind_moments=config.rewind_moments,
            plan=plan,
            streaming=config.streaming,
            store=store,
            ledger=ledger,
            on_progress=progress,
        )

    if not complete(directory):
        console.print(f"{dataset.name}, {dataset.source}; {device_line(plan)}", markup=False)
        execute(directory, config, dataset, plan, search, draw, claims(counts), console, ledger)
    return report(directory, console, check=config.check, exact_only=config.preset == "smoke")


if __name__ == "__main__":
    run_main(main)
