"""Which networks are linearly connected, and does it say which are good? Barriers and ensembles.

Claim: networks trained from one step k on other data orders are connected by a line without a
barrier where k is late enough, tickets at an earlier k and a lower density than reinitialised and
shuffled ones; the barrier goes with what accuracy is lost; and a ticket trains back to the network
that it was pruned from, so that ensembles of tickets gain little.

Paper: Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020,
arXiv 1912.05671; Evci et al., "Gradient Flow in Sparse Neural Networks and How Lottery Tickets
Win", AAAI 2022, arXiv 2010.03533; Ainsworth et al., "Git Re-Basin", ICLR 2023, arXiv 2209.04836;
Garipov et al., "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs", NeurIPS 2018, arXiv
1802.10026.

Command: `python -m experiments.connectivity`; `--run DIR` measures the networks of a finished run.

What `rewinding` measures of tickets is measured here of their controls too: of each there are two
that differ in the order of their data alone, ticket and copy, reinit and reinit_copy, shuffle and
shuffle_copy. Reinitialised networks begin from new weights whatever k is, and train for as many
steps as the ticket of that k. The network that a ticket was pruned from is the trained one of the
level before, with all the weights that it had; Evci et al. take the pruned solution itself
(unverified), which after steps as large as these has nothing left to be compared with. Dense
networks of other initialisations are also compared after their units were permuted (weight
matching), and along a curve whose middle is trained. The network and its training are those of
`rewinding`, where dense training is unstable at k = 0, without which nothing is shown.

Presets:
  default  5,000 embedded Fashion-MNIST images, eight narrow hidden layers with batch normalisation
           (deep_mlp) at a high rate; three steps k, seven arms, six replicates: 258 networks;
           minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    ResNet-20 on CIFAR-10 by the recipe resnet20-2020, three steps k: COST.

Expected on CIFAR-10 (paper, unverified): ResNet-20 is stable from step 2,000 of 63,000 on when
dense, its tickets from step 500 on, reinitialised and shuffled ones at no step.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import sweeps
from experiments.common.configuration import Reading, check_positive, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.connectivity import copies, dense, tables, verdicts
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Reading):
    """What can be chosen; the text under each field is its help on the command line."""

    model: str = "deep_mlp"
    """Network; a name from jaxticket.models."""
    replicates: int = 6
    """Independent initialisations, each with its own data order."""
    levels: int = 3
    """Levels, the dense one included."""
    steps: Step = Step.iterations(1_000)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    batch_size: int = 32
    """Examples a step."""
    evaluate_every: Step = Step.iterations(250)  # noqa: RUF009
    """Between evaluations: the grid of the early-stop step."""
    augment: tuple[str, ...] = ("flip",)
    """Augmentations in their order, such as flip crop=4."""
    optimizer: str = "momentum"
    """adam, adamw, sgd, momentum, nesterov or rmsprop."""
    learning_rate: float = 0.2
    """Learning rate, before warm-up and schedule."""
    weight_decay: float = 1e-3
    """Added to the gradient times the weights (L2); decoupled for adamw."""
    schedule: str = "step"
    """Of the learning rate: constant, step (at the drops) or cosine (to zero at the end)."""
    drops: tuple[Step, ...] = (Step.iterations(650), Step.iterations(880))
    """When the learning rate drops under the step schedule, such as 80ep 120ep."""
    scope: str = "global"
    """Where weights compete: layerwise or global."""
    prune_rate: float = 0.8
    """Share of the remaining weights that goes at each level."""
    arms: tuple[str, ...] = copies.ARMS
    """Names from jaxticket.arms; two of a kind, which differ in the order of their data."""
    rewind_steps: tuple[Step, ...] = tuple(map(Step.iterations, (0, 100, 200)))
    """Steps k that tickets go back to, all of them one population."""
    points: int = 30
    """Points on the way between two networks."""
    percent: float = 4.0
    """Density, in percent, at which tickets and controls are compared."""
    statistics_examples: int = 500
    """Training examples that batch statistics are recomputed from, where they are."""
    statistics_passes: int = 3
    """How often networks go through them."""
    curve_steps: int = 300
    """Steps that the middle of a curve is trained for, by momentum."""
    curve_learning_rate: float = 0.05
    """Its learning rate."""
    matrix_replicates: int = 4
    """Replicates whose levels are compared with each other, at the last step k."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        model="lenet_300_100",
        width=0.05,
        replicates=2,
        steps=Step.iterations(24),
        evaluate_every=Step.iterations(12),
        drops=(),
        schedule="constant",
        rewind_steps=(Step.iterations(0), Step.iterations(12)),
        prune_rate=0.5,
        percent=25.0,
        points=4,
        statistics_examples=64,
        statistics_passes=1,
        curve_steps=4,
        matrix_replicates=1,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "resnet20-2020"),
        rewind_steps=tuple(map(Step.iterations, (0, 500, 2_000))),
        arms=copies.ARMS,
        percent=16.8,
        statistics_examples=5_000,
        curve_steps=5_000,
    ),
}


def check(config: Config) -> None:
    """Refuses what connectivity cannot be measured on.

    Args:
      config: the configuration, or that of a run with how it is to be measured.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    check_positive(
        statistics_passes=config.statistics_passes,
        curve_steps=config.curve_steps,
        matrix_replicates=config.matrix_replicates,
    )
    if config.points < 2:
        raise TicketError(f"--points: got {config.points}, expected at least 2")
    if not 0 < config.percent <= 100:
        raise TicketError(f"--percent: got {config.percent:g}, expected above 0 to 100")
    if config.statistics_examples < config.batch_size:
        raise TicketError(
            f"--statistics-examples: got {config.statistics_examples}, expected at least a batch "
            f"of {config.batch_size}"
        )
    if config.run is None:
        _check_own(config)


def _check_own(config: Config) -> None:
    sweeps.check_some("--rewind-steps", config.rewind_steps)
    missing = [arm for arm in copies.ARMS if arm not in config.arms]
    if missing:
        raise TicketError(
            f"--arms: got no {', no '.join(missing)}, expected all of {' '.join(copies.ARMS)}: of "
            "each two that differ in the order of their data"
        )
    if config.levels < 3 or config.replicates < 2:
        raise TicketError(
            f"--levels {config.levels} --replicates {config.replicates}: expected 3 and 2 or more, "
            "for two dense networks of each initialisation and two initialisations"
        )


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the steps k.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    config: Config = problem.config
    steps = sorted({step.at(problem.steps_an_epoch) for step in config.rewind_steps})
    if len(steps) < len(config.rewind_steps):
        raise TicketError(
            f"--rewind-steps: got {', '.join(map(str, config.rewind_steps))}, which are the steps "
            f"{steps}, expected different ones"
        )
    return {f"k = {step:,}": Variant(rewind_step=step) for step in steps}


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    return verdicts.claims(problem.config.percent)


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds barriers and predictions of all pairs.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `copies.measured` and `dense.measured` give.
    """
    pairs = copies.measured(problem, result, results)
    last = result.variants[int(pairs["begin"][1].argmax())]
    return results.assign(pairs | dense.measured(problem, result, last))


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws barriers: along lines, against k, between all networks, and against lost accuracy.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "connectivity": plots.barrier_against_step(results),
        "curves": plots.barrier_curves(results),
        "matrix": plots.barrier_heat_map(results),
        "gap": plots.barrier_against_gap(results),
    }


def _tables(results: xarray.Dataset) -> list[RenderableType]:
    return tables.tables(results)


EXPERIMENT = Experiment(
    "connectivity", __doc__ or "", PRESETS, claims, draw, variants, check, _tables, measure
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
