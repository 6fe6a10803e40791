"""Is it a ticket at all? Against the dense network at its own best learning rate.

Claim: a subnetwork is a ticket only if it matches the dense network where that is at its best, not
at a rate that suits the subnetwork; and a jackpot only if, besides, another initialisation under
the same mask does not get there.

Paper: Ma et al., "Sanity Checks for Lottery Tickets: Does Your Winning Ticket Really Win the
Jackpot?", NeurIPS 2021, arXiv 2107.00166 (the definition below is from memory of it, unverified).

Command: `python -m experiments.verdict`

Every learning rate is a search of its own, all of them one population. For each network (dense,
ticket, control, density) the best rate is the one with the highest mean validation accuracy; what
is compared is test accuracy at those rates. The tolerance for matching was stated first: 0.2
points (1912.05671). A jackpot matches the dense network and beats reinit, each at its best. The
default's rates and densities were chosen by looking at the seed 0.

The paper's networks are ResNets and VGG on CIFAR: two cores show how the verdict is reached on
LeNet, not what it is there.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, Adam, six rates, five
           arms, five replicates: 630 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    MNIST, the recipe lenet-2019, five rates: 2,400 networks, 120 million network-steps.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.verdict import best
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 5
    """Levels, the dense one included."""
    evaluate_every: Step = Step.iterations(100)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    prune_rate: float = 0.4
    """Share of the remaining weights that goes at each level."""
    output_prune_rate: float = 0.2
    """The same for the output layer."""
    learning_rates: tuple[float, ...] = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3, 8e-3)
    """Learning rates, all of them one population."""
    tolerance: float = 0.002
    """What still counts as matching, as a share of test examples."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=2,
        steps=Step.iterations(40),
        evaluate_every=Step.iterations(20),
        arms=("ticket", "reinit"),
        learning_rates=(1e-3, 4e-3),
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"), learning_rates=(3e-4, 6e-4, 1.2e-3, 2.4e-3, 4.8e-3)
    ),
}


def check(config: Config) -> None:
    """Refuses rates and tolerances that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--learning-rates", config.learning_rates)
    wrong = [rate for rate in config.learning_rates if not (rate > 0 and np.isfinite(rate))]
    if wrong:
        raise TicketError(f"--learning-rates: got {wrong[0]}, expected positive numbers")
    if not 0 <= config.tolerance < 1:
        raise TicketError(f"--tolerance: got {config.tolerance}, expected a share such as 0.002")


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the learning rates, from the lowest.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    rates = sorted(problem.config.learning_rates)
    return {f"rate {rate:g}": Variant({"learning_rate": float(rate)}) for rate in rates}


DENSITIES = (21.7, 13.1)
"""In percent, at which the verdict is given."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    tolerance = problem.config.tolerance
    of_each = [
        claim
        for percent in DENSITIES
        for claim in (
            best.matches_dense(percent, tolerance),
            best.beats("reinit", percent),
            best.is_jackpot(percent, tolerance),
        )
    ]
    return [*lottery.exact_claims(), best.inside_the_grid(), *of_each]


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: rates against densities for each arm, and the best of each.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    arms = [str(arm) for arm in results["arm"].values]
    return [*(sweeps.variants_by_density(results, arm) for arm in arms), best.table(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy against density, a line for each rate, and each arm at its best.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "verdict": plots.accuracy_against_density(best.at_best_rates(results)),
        "rates": plots.variants_against_density(results),
    }


EXPERIMENT = Experiment("verdict", __doc__ or "", PRESETS, claims, draw, variants, check, tables)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
