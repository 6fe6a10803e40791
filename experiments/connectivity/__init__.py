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
matching), and along a curve whose middle is trained.

A network between two others has the batch statistics that --statistics says. By default they are
interpolated as its weights are: 1912.05671 defines the barrier by E(αW₁ + (1 − α)W₂), where W is
all that a network has (that the paper means its statistics too is from memory), and of that barrier
2 % counts as stable. Recomputed ones belong to the weights alone, and give other barriers; kept
ones are those of the nearer end. Sparse pairs, the matrix and the dense kinds are measured by one
choice, so that they can be compared, and every statement about barriers names it. A curve is
measured with recomputed statistics whatever was chosen, since its middle was trained and has none
between those of its ends, and so is what it is compared with; of dense pairs the table has all
three. What two networks say of the same examples is said by trained networks, with their own
statistics. The network and its training are those of `rewinding`, where dense training is unstable
at k = 0, without which nothing is shown.

Presets:
  default  5,000 embedded Fashion-MNIST images, eight narrow hidden layers with batch normalisation
           (deep_mlp) at a high rate; three steps k, seven arms, six replicates: 258 networks;
           minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    ResNet-20 on CIFAR-10 by the recipe resnet20-2020, three steps k: 1,896
           networks, 118 million network-steps.

Expected on CIFAR-10 (paper, unverified): ResNet-20 is stable from step 2,000 of 63,000 on when
dense, its tickets from step 500 on, reinitialised and shuffled ones at no step.
"""

import functools
from typing import TYPE_CHECKING

import xarray

from experiments.common.experiment import Experiment, Problem, run
from experiments.connectivity import copies, dense, statistics, verdicts
from experiments.connectivity.choices import PRESETS, Config, check
from experiments.connectivity.tables import tables
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    return verdicts.claims(problem.config.percent, problem.config.statistics)


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds barriers and predictions of all pairs.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `copies.measured` and `dense.measured` give.
    """
    by = statistics.measuring(problem, result)
    pairs = copies.measured(problem, result, results, by)
    last = result.variants[int(pairs["begin"][1].argmax())]
    return results.assign(pairs | dense.measured(problem, result, last, by))


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


EXPERIMENT = Experiment(
    "connectivity",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    variants,
    check,
    tables,
    measure,
    reads=copies.ARMS,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
