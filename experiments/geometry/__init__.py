"""Why do tickets win? Why this initialisation, why small weights, why iteratively.

Claim: tickets trained from their own initialisation end in the basin of the network that they were
pruned from, other initialisations do not; removing the smallest weights leaves the network in its
basin, removing others does not; one pruning to the same density leaves it, many small ones do not.

Paper: Saleem et al., "Insights into the Lottery Ticket Hypothesis and Iterative Magnitude Pruning",
arXiv 2403.15022, of which only the abstract was read: what it asks is asked here, and none of its
numbers is expected. The local angular dimension is that of Paul et al., arXiv 2210.03044.

Command: `python -m experiments.geometry`; `--run DIR` measures the tickets of a finished run.

Each question is answered by barriers, angles and jumps of the training loss with their intervals.
Curvature and volume of all stages (initial, just pruned, trained; ticket and controls, whose new
initial weights are drawn again by the keys of the search) are open measurements: nothing is claimed
of their order. In so many dimensions a volume is that of the
largest radius drawn, which its effective sample size says; what is compared is the median radius.
The share that the local dimension predicts stands beside the share of weights that can go at once
while the loss rises by less than ε without retraining, which is less than the theory speaks of. All
of it is measured on the first training examples, batch statistics running; of a run of several
searches that is read with --run, one is measured, by --variant. The claims were written down before
the first default run, and nothing was changed after it.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, 6 levels, 4 arms, 5 replicates:
           105 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    the protocol of lenet-2019 on MNIST, since that of the paper is not known to us: 385
           networks, 19.2 million network-steps, geometry not counted.
"""

import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import lottery
from experiments.common.experiment import Experiment, Problem, run
from experiments.common.report import results_tables
from experiments.geometry import basins, jumps, paths, questions, tables
from experiments.geometry.configuration import PRESETS, check
from jaxticket.analysis import Claim
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    del problem
    exact = [*lottery.exact_claims(), questions.smallest_are_the_tickets()]
    return [*exact, *questions.questions()]


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds jumps, barriers, angles, curvature, volumes, shares and the plane.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `jumps`, `paths` and `basins` measure.
    """
    found = basins.measured(problem, result)
    nodes, weights = (found[name][1][basins.STAGES.index("ticket")] for name in NODES)
    return results.assign(found).assign(
        {
            **jumps.jumps(problem, result),
            **jumps.good_shares(problem, result, nodes, weights),
            **paths.paths(problem, result),
            **basins.plane(problem, result),
        }
    )


NODES = ("node", "node_weight")
"""Eigenvalues and their weights in a quadrature."""


def make_tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: accuracy, then what geometry measures.

    Args:
      results: all of them.

    Returns:
      Rich tables.
    """
    return [*results_tables(results), *tables.tables(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the three answers, the stages, the spectra, the radii and the plane.

    Args:
      results: all of them.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "geometry": plots.jumps_and_barriers(results),
        "stages": plots.stages_against_density(results),
        "spectra": plots.hessian_spectra(results),
        "radii": plots.radius_histogram(results),
        "plane": plots.loss_plane(results),
    }


EXPERIMENT = Experiment(
    "geometry",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    check=check,
    tables=make_tables,
    measure=measure,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
