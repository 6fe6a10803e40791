"""Is it a ticket at all? Against the dense network at its own best learning rate.

Claim: a subnetwork is a ticket only if it matches the dense network where that is at its best, not
at a rate that suits the subnetwork; and a jackpot only if, besides, another initialisation under
the same mask does not get there.

Paper: Ma et al., "Sanity Checks for Lottery Tickets: Does Your Winning Ticket Really Win the
Jackpot?", NeurIPS 2021, arXiv 2107.00166 (the definition below is from memory of it, unverified).

Command: `python -m experiments.verdict`; `--run DIR` judges the masks of any finished run, of one
of several searches those of --variant. `--criterion` and `--pruning` judge those of any other
search, such as `--criterion snip --pruning at_start`.

Every learning rate is a search of its own, all of them one population. For each network (dense,
ticket, control, density) the best rate is the one with the highest mean validation accuracy; what
is compared is test accuracy at those rates. The tolerance for matching was stated first: 0.2
points (1912.05671). A jackpot matches the dense network and beats reinit, each at its best. The
default's rates and densities were chosen by looking at the seed 0.

Of a run that is read --judged-levels are judged, the last one unless said otherwise; of masks that
change while a network trains the last mask. The dense network, the ticket and its controls reinit,
shuffle and both are trained as the run's networks at every learning rate, from the weights that the
dense network has at the rewind step; these networks are not checkpointed.

Did the data matter? The same search is made on spoiled data (--spoiled): random labels, the pixels
of every image shuffled in an order of its own, half of the examples. Its masks are trained on the
true data from the true weights at the rewind step, at the dense network's best rate, where the
search of a sweep was made too. What is random in the data is the same for all replicates.

The paper's networks are ResNets and VGG on CIFAR: two cores show how the verdict is reached on
LeNet, not what it is there. None of its numbers was read; those shown are of 1803.03635, whose
LeNet on MNIST has one learning rate.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, Adam, six rates, five
           arms, five replicates: 630 networks, and 105 of spoiled data; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    MNIST, the recipe lenet-2019, five rates: 2,400 networks, 120 million network-steps,
           and what spoiled data add.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.configuration import ReadingOne, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.common.spoiling import HALF_COSTS, SPOILED
from experiments.verdict import best, measuring, spoiled
from experiments.verdict.sources import DENSITIES, changes_in_training, judged_levels
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(ReadingOne):
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
    judged_levels: tuple[int, ...] = ()
    """Levels of a finished run whose masks are judged; its last one if none is said."""
    spoiled: tuple[str, ...] = tuple(SPOILED)
    """Data on which the search is made once more: random labels, shuffled pixels or half."""


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
        spoiled=("labels", "half"),
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
    for option, given in (("spoiled", config.spoiled), ("judged-levels", config.judged_levels)):
        if given:
            sweeps.check_some(f"--{option}", given)
    sweeps.check_known("spoiled data", config.spoiled, tuple(SPOILED))
    if config.judged_levels and config.run is None:
        raise TicketError(
            f"--judged-levels: got {config.judged_levels[0]}, which is a level of a finished run; "
            "name that run by --run"
        )


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the learning rates, from the lowest.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    rates = sorted(problem.config.learning_rates)
    return {f"rate {rate:g}": Variant({"learning_rate": float(rate)}) for rate in rates}


PAPER = {
    "ticket-matches-dense-at-best-13.1": "0.3 points and more at 13.5 %, MNIST, one rate "
    "(1803.03635)",
    "ticket-beats-reinit-at-best-21.7": "about 0.5 points at 21 %, MNIST, one rate (1803.03635)",
}
"""Numbers of 1803.03635, section 2, by claim: no other was read, and its rate is not swept."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    config: Config = problem.config
    where = _where(problem)
    of_each = [
        claim
        for at in where
        for claim in (
            best.matches_dense(at, config.tolerance),
            best.beats("reinit", at),
            best.is_jackpot(at, config.tolerance),
            best.beats("shuffle", at),
        )
    ]
    of_data = [
        best.as_good_from(name, at, HALF_COSTS) if name == "half" else best.beats_spoiled(name, at)
        for at in where
        for name in config.spoiled
    ]
    exact = [lottery.density_schedule(), lottery.exact_zeros()]
    # Masks that are not made level after level need not be nested.
    nested = config.run is None and config.pruning == "iterative"
    exact += [lottery.nested_masks()] if nested else []
    claims = [*exact, best.inside_the_grid(), *of_each, *of_data]
    own = PAPER if config.run is None else {}
    return [claim._replace(paper=own.get(claim.id)) for claim in claims]


def _where(problem: Problem) -> list[best.At]:
    if problem.config.run is None:
        return [best.at_percent(percent) for percent in DENSITIES]
    if changes_in_training(problem):
        return [best.at_level(1, "last-mask", "of the last mask")]
    levels = enumerate(judged_levels(problem), start=1)
    return [best.at_level(n, f"level-{level}", f"at level {level}") for n, level in levels]


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: rates against densities for each arm, and the best of each.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    arms = [str(arm) for arm in results["arm"].values]
    of_data = [spoiled.table(results)] if "spoiled_accuracy" in results else []
    every = [sweeps.variants_by_density(results, arm) for arm in arms]
    return [*every, best.table(results), *of_data]


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


EXPERIMENT = Experiment(
    "verdict",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    variants,
    check,
    tables,
    measuring.measured,
    reads=(),
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
