"""Does rewinding to step k make tickets stable? Instability analysis and IMP with rewinding.

Claim: where training from initialisation is unstable to the order of the data, iterative magnitude
pruning that goes back to step 0 finds no matching subnetwork; going back to a step k from which
training is stable does, and a subnetwork matches only where it is stable.

Paper: Frankle et al., "Linear Mode Connectivity and the Lottery Ticket Hypothesis", ICML 2020,
arXiv 1912.05671; Frankle et al., "Stabilizing the Lottery Ticket Hypothesis", arXiv 1903.01611.

Command: `python -m experiments.rewinding`

Instability at step k is the error barrier on the line between two networks trained from the same
W_k on other data orders: the arms ticket and copy; for the dense network the arm dense at two
levels, which differ in nothing else. Below 2 % counts as stable. What must be shown first is that
the dense network is unstable at k = 0: where it is not, there is nothing that rewinding could heal,
and the claims about it are undecided. LeNet on MNIST is such a case. Batch statistics are
interpolated with the weights.

The default's network, rate and densities were found by looking at the first five replicates of the
seeds 0 and 1, where the gain of rewinding was not off zero in either; fifteen replicates were
chosen for that, of which ten had not been looked at.

Presets:
  default  5,000 embedded Fashion-MNIST images, a perceptron of eight narrow hidden layers with
           batch normalisation (deep_mlp) at a high rate; four steps k and one with moments, seven
           arms, fifteen replicates: 1,065 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    ResNet-20 on CIFAR-10 by the recipe resnet20-2020, six steps k and one with moments:
           3,680 networks, 230 million network-steps; compared at 16.8 % of the weights.
  paper_vgg_16  VGG-16 by vgg16-2020, five steps k: 4,415 networks, 275 million network-steps;
           compared at 1.5 %.

Expected on CIFAR-10 (paper, unverified): ResNet-20 is stable from step 2,000 of 63,000 on when
dense, and its tickets from step 500 on; VGG-16 from step 1,000 on, both. Report and summary name
the network beside each such number: the default's is another, and smaller.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import instability, sweeps
from experiments.common.configuration import published
from experiments.common.experiment import Experiment, run
from experiments.common.undefined import undefined_tables
from experiments.common.unstable import Unstable
from experiments.rewinding.claiming import claims
from experiments.rewinding.measuring import measure
from experiments.rewinding.searches import variants
from jaxticket.arms import DEFAULT_ARMS
from jaxticket.errors import TicketError
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Unstable):
    """What can be chosen; the text under each field is its help on the command line."""

    replicates: int = 15
    """Independent initialisations, each with its own data order."""
    arms: tuple[str, ...] = (*DEFAULT_ARMS, "copy", "dense")
    """Names from jaxticket.arms; instability is measured on ticket and copy, and on dense."""
    rewind_steps: tuple[Step, ...] = tuple(map(Step.iterations, (0, 50, 100, 200)))
    """Steps k that tickets go back to, all of them one population."""
    moments_steps: tuple[Step, ...] = (Step.iterations(200),)
    """Steps k at which going back with the optimizer's moments is compared with going without."""
    points: int = 30
    """Points on the line between two networks."""
    skip_warmup: bool = False
    """Train all levels but the first without warm-up; k must then not be inside it."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=3,
        steps=Step.iterations(30),
        evaluate_every=Step.iterations(15),
        drops=(),
        schedule="constant",
        arms=("ticket", "copy", "reinit", "dense"),
        rewind_steps=(Step.iterations(0), Step.iterations(10)),
        moments_steps=(),
        points=5,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "resnet20-2020"),
        replicates=5,
        rewind_steps=tuple(map(Step.iterations, (0, 100, 250, 500, 1_000, 2_000))),
        moments_steps=(Step.iterations(500),),
    ),
    "paper_vgg_16": dataclasses.replace(
        published(DEFAULT, "vgg16-2020", "paper_vgg_16"),
        replicates=5,
        rewind_steps=tuple(map(Step.iterations, (0, 100, 500, 1_000, 2_000))),
        moments_steps=(Step.iterations(1_000),),
    ),
}


def check(config: Config) -> None:
    """Refuses what instability cannot be measured on.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--rewind-steps", config.rewind_steps)
    if len(config.rewind_steps) < 2:
        raise TicketError(
            f"--rewind-steps: got {' '.join(map(str, config.rewind_steps))} alone, expected at "
            "least two to compare"
        )
    missing = [arm for arm in ("copy", "dense") if arm not in config.arms]
    if missing:
        raise TicketError(
            f"--arms: got no {' and no '.join(missing)}, expected both: instability is the "
            "barrier between ticket and copy, and between dense networks of two levels"
        )
    if config.levels < 3:
        raise TicketError(f"--levels: got {config.levels}, expected 3 or more: two dense networks")
    if config.points < 2:
        raise TicketError(f"--points: got {config.points}, expected at least 2")


TRIED = {
    "ticket-stable-k-200-4": (
        "at the seeds 0 and 1 with five replicates; later k were not tried at this length of "
        "training. Denser tickets are stable, as the table of instability shows."
    ),
    "k-200-dense-more-than-k-0-ticket-4": (
        "at the seeds 0 and 1 with five replicates. Sparser levels were not tried: at this one "
        "even tickets that are not stable train as well as the dense network."
    ),
}
"""What was tried of claims that failed at default size, by id; for the report."""


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: accuracy and instability against density, and pairs without a barrier.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [
        instability.table(results),
        *(sweeps.variants_by_density(results, arm) for arm in ("ticket", "reinit")),
        *undefined_tables(results),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy against density, a line for each k, and instability beside it.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    arms = [arm for arm in DEFAULT_ARMS if arm in results["arm"]]
    return {
        "rewinding": plots.variants_against_density(results, arms=arms),
        "instability": plots.instability_against_density(results),
    }


EXPERIMENT = Experiment(
    "rewinding", __doc__ or "", PRESETS, claims, draw, variants, check, tables, measure
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
