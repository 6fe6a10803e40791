"""Do tickets win because they train to the same solution again? Repelling them from it.

Claim: successive rounds of iterative magnitude pruning train to solutions at a small angle, those
of searches that begin each round anew to nearly orthogonal ones; a term of the loss that repels a
network from all earlier solutions takes the ticket's advantage away and leaves networks that were
begun anew as they were; one that attracts keeps the ticket.

Paper: Maene, Li & Moens, "Towards Understanding Iterative Magnitude Pruning: Why Lottery Tickets
Win", arXiv 2106.06955.

Command: `python -m experiments.regurgitation`; `--run DIR` reads the tickets of a finished run, of
one of several searches those of --variant, and trains the other searches from its dense networks.

Two searches, that of tickets and one whose every round starts from a new initialisation (reinit),
each at every strength λ_r of the term in `jaxticket.learners.repulsion`; all prune what they
trained themselves, and share their dense networks. Reinit is here a search of its own and not the
control on the ticket's masks, since what repels it must be its own earlier solutions. Angles are
d = 2∠/π over the weights that both rounds keep; barriers are those of the test error. Without an
advantage of the ticket at strength 0 there is nothing to take away, and what depends on it is
undecided. What is trained with the term no other run holds, nor the search that is begun anew at
every round: of a finished run, whose rounds must start from the rewound weights and prune what they
trained, the dense networks and the search of tickets at strength 0 are read, and all other searches
are trained as that one was.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, Adam, two searches at three
           strengths, 40 % a level down to 2.9 %, five replicates: 215 networks; minutes on two
           cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    LeNet on MNIST, 25 epochs of batch 60, Adam at 1.2e-3 (the rest as in lenet-2019, which
           is unverified for this paper): 455 networks, 10.4 million network-steps.

Expected (paper; numbers unverified): repelled tickets as accurate as reinit, on LeNet too.
"""

import functools
import itertools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.experiment import Experiment, Problem, run
from experiments.regurgitation import successive
from experiments.regurgitation.advantage import (
    Search,
    advantage_falls,
    if_advantage,
    no_better,
)
from experiments.regurgitation.choices import DEFAULT, PRESETS, check
from experiments.regurgitation.searches import beyond, variants
from jaxticket.analysis import Claim
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAENE = "Maene et al. 2021, arXiv 2106.06955"
TOLERANCE = 0.005
"""Below this difference of accuracies two count as equal, stated beforehand."""


_STAYS = (
    "nothing else was tried. Repulsion makes successive solutions orthogonal and takes more than "
    "half of the ticket's advantage away; {} points of it stay, and barriers stay below 2 %."
)
TRIED = {
    f"ticket-strength-2-no-better-than-reinit-strength-2-{percent:g}": _STAYS.format(points)
    for percent, points in zip(DEFAULT.percents, (0.7, 1.0), strict=True)
}
"""What was tried of claims that failed at default size, by id; for the report."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    return [
        *lottery.exact_claims(),
        successive.first_masks_alike(),
        *itertools.chain.from_iterable(map(_at, problem.config.percents)),
        successive.below("angle", ("ticket", 0), ("reinit", 0), MAENE),
        successive.nearly_orthogonal(("reinit", 0), MAENE),
        successive.below("angle", ("ticket", 0), ("ticket", 2), MAENE),
        successive.below("angle", ("ticket", -1), ("ticket", 0), MAENE),
        successive.below("barrier", ("ticket", 0), ("reinit", 0), MAENE),
        successive.below("barrier", ("ticket", 0), ("ticket", 2), MAENE),
    ]


def _at(percent: float) -> list[Claim]:
    cell = lambda search, strength: Search(successive.name(search, strength))  # noqa: E731
    ticket, repelled, attracted = (cell("ticket", strength) for strength in (0, 2, -1))
    reinitialised, repelled_reinit = (cell("reinit", strength) for strength in (0, 2))
    undecided_without = functools.partial(
        if_advantage, ticket=ticket, control=reinitialised, percent=percent
    )
    return [
        sweeps.more(ticket, reinitialised, percent, MAENE),
        undecided_without(
            advantage_falls(ticket, reinitialised, repelled, repelled_reinit, percent, MAENE)
        ),
        undecided_without(no_better(repelled, repelled_reinit, percent, TOLERANCE, MAENE)),
        sweeps.unchanged(repelled_reinit, reinitialised, percent, 2 * TOLERANCE, MAENE),
        undecided_without(sweeps.as_good(attracted, ticket, percent, TOLERANCE, MAENE)),
    ]


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds angles and barriers between successive solutions.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `successive.measured` gives.
    """
    return successive.measured(problem, result, results)


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: accuracy, angles and barriers against density.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [sweeps.variants_by_density(results, "ticket"), *successive.tables(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy against density for each strength, and what lies between solutions.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "regurgitation": plots.strengths_against_density(results),
        "successive": plots.successive_against_density(results),
    }


EXPERIMENT = Experiment(
    "regurgitation",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    variants,
    check,
    tables,
    measure,
    reads=("ticket",),
    beyond=beyond,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
