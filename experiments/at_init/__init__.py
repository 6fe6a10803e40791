"""Can a mask be found before training? Pruning at initialisation and its sanity checks.

Claim: masks that are found at initialisation are better than random ones and worse than those of
iterative magnitude pruning; what they hold is how many weights each layer keeps, so shuffling them
within layers, or drawing other weights, does them no harm, as it does to iterative pruning's;
scores of random labels serve as well; and SynFlow, unlike SNIP pruned at once, empties no layer of
a deep and narrow network.

Paper: Frankle et al., "Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
ICLR 2021, arXiv 2009.08576; Su et al., "Sanity-Checking Pruning Methods: Random Tickets can Win
the Jackpot", NeurIPS 2020, arXiv 2009.11094; Tanaka et al., "Pruning neural networks without any
data by iteratively conserving synaptic flow", NeurIPS 2020, arXiv 2006.05467.

Command: `python -m experiments.at_init`

A variant is a source of masks, an arm a sanity check: `shuffle` permutes a mask within each layer,
`reinit` draws other weights; scores inverted, and scored on random labels, on shuffled pixels or on
examples that are drawn from half of the data, are variants of their own. All masks are made by
global scope. Iterative pruning's levels are the densities at which all others prune at once, before
training. The deep and narrow network is only pruned, not trained. 2009.08576 works with
convolutional networks on CIFAR-10 and ImageNet; here is a perceptron on small images. Nothing was
tried before the first default run.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, twelve sources of masks, three arms,
           eight prunings, five replicates: 1,445 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    CIFAR-10, the recipe resnet20-2020 with its 20 levels: 2,705 networks, 169 million
           network-steps.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.at_init import collapse
from experiments.at_init.claiming import MILD, claims
from experiments.at_init.sources import AT_START, CORRUPTED, FOUND, ITERATIVE, variants
from experiments.common import sweeps
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from jaxticket import criteria
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 9
    """Levels, the dense one included."""
    steps: Step = Step.iterations(240)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(40)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    scope: str = "global"
    """Where weights compete: layerwise or global."""
    prune_rate: float = 0.4
    """Share of the remaining weights that goes at each level."""
    empty_layers: bool = True
    """Let a layer lose its last weight; the run ends if it would."""
    arms: tuple[str, ...] = ("ticket", "shuffle", "reinit")
    """Names from jaxticket.arms; the ticket is always trained."""
    sources: tuple[str, ...] = (*AT_START, *CORRUPTED)
    """What masks at initialisation are made from, beside iterative pruning."""
    emptied_by: tuple[str, ...] = collapse.CRITERIA
    """Criteria that also prune a deep, narrow network, where the layers they empty are counted."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=3,
        steps=Step.iterations(20),
        evaluate_every=Step.iterations(10),
        sources=("snip",),
        emptied_by=("snip",),
    ),
    "paper": published(DEFAULT, "resnet20-2020"),
}


def check(config: Config) -> None:
    """Refuses sources that do not exist.

    Args:
      config: the configuration.

    Raises:
      TicketError: with the nearest names.
    """
    sweeps.check_some("--sources", config.sources)
    sweeps.check_known("source", config.sources, (*AT_START, *CORRUPTED))
    sweeps.check_some("--emptied-by", config.emptied_by)
    sweeps.check_known("criterion", config.emptied_by, tuple(criteria.CRITERIA))


_MILD = (
    "nothing else was tried. At 4.7 % random pruning still reaches 77.0 %, with a wide spread over "
    "replicates; at 1.7 % it falls to 49.5 % and all three criteria are far above it."
)
TRIED = {
    "snip-ticket-more-than-random-ticket-4.7": _MILD,
    "grasp-ticket-more-than-random-ticket-4.7": f"{_MILD} GraSP gains from being shuffled.",
    "synflow-ticket-more-than-random-ticket-4.7": _MILD,
}
"""What was tried of claims that failed at default size, by id; for the report."""


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds how many layers each criterion empties in a deep and narrow network.

    Args:
      problem: what is run.
      result: unused.
      results: the curves.

    Returns:
      The results with `emptied` (criterion, compression, replicate).
    """
    del result
    return results.assign(emptied=collapse.emptied(problem, problem.config.emptied_by))


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: sources against densities, against arms, and the layers they empty.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [
        sweeps.variants_by_density(results, "ticket"),
        sweeps.variants_by_arm(results, MILD),
        collapse.table(results),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy against density: the published sources by arm, and all sources.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    shown = [n for n in (ITERATIVE, *FOUND, "random") if n in results["variant"].values]
    return {
        "at_init": plots.variants_against_density(results.sel(variant=shown)),
        "sources": plots.variants_against_density(results, arms=["ticket"]),
    }


EXPERIMENT = Experiment(
    "at_init", __doc__ or "", PRESETS, claims, draw, variants, check, tables, measure
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
