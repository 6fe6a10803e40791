"""Do winning tickets exist in convolutional networks, and does dropout help? Conv-2, 4 and 6.

Claim: iterative magnitude pruning finds winning tickets in Conv-2, Conv-4 and Conv-6 too, which
learn faster and reach a higher accuracy than the dense network; dropout makes the dense network
more accurate, and tickets found with it more accurate still.

Paper: Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv 1803.03635, section 3.

Command: `python -m experiments.conv`; `--model conv_4` and `--model conv_6` are runs of their own,
since networks of another shape cannot be one population.

Two cores cannot train the published networks for the published time: the default has an eighth of
their width, 28 x 28 pixels of one channel, and rates that reach 7 % of the weights in four levels.
It is to show the order of ticket and controls; the factors of the paper need its size. Whether
dropout helps it cannot show: layers of 32 units do not overfit 5,000 images in its 600 steps.

Presets:
  default  5,000 embedded Fashion-MNIST images, Conv-2 at an eighth of its width, dropout off and
           0.5, five arms, five replicates: 160 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    Conv-2 on CIFAR-10, dropout off and 0.5, 25 levels, 5 arms: 1,210 networks, 24.2
           million network-steps.
  paper_conv_4, paper_conv_6  Conv-4 and Conv-6 likewise: 1,210 networks each, 30.2 million and
           36.3 million network-steps.

Expected on CIFAR-10 (paper): Conv-2 stops 3.5 times earlier at 8.8 % and gains 3.4 points at 4.6 %,
Conv-4 3.5 times at 9.2 % and 3.5 points at 11.1 %, Conv-6 2.5 times at 15.1 % and 3.3 points at
26.4 %.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, NamedTuple

import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.command_line import run_main
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.common.report import results_tables
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.recipes.architectures import architecture
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    model: str = "conv_2"
    """Network: conv_2, conv_4, conv_6 or another of jaxticket.models with dropout."""
    width: float = 0.125
    """Multiplier of the width of all hidden layers."""
    levels: int = 4
    """Levels, the dense one included."""
    steps: Step = Step.iterations(600)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(75)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    prune_rate: float = 0.6
    """Share of the remaining weights that goes at each level, in dense layers."""
    convolution_prune_rate: float | None = 0.4
    """The same for convolutions; prune_rate if None."""
    output_prune_rate: float = 0.4
    """The same for the output layer."""
    dropouts: tuple[float, ...] = (0.0, 0.5)
    """Dropout rates of the dense layers, all of them one population."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        width=0.0625,
        replicates=2,
        levels=2,
        steps=Step.iterations(30),
        evaluate_every=Step.iterations(15),
        arms=("ticket", "reinit"),
    ),
    "paper": published(DEFAULT, "conv2-2019"),
    "paper_conv_4": published(DEFAULT, "conv4-2019", "paper_conv_4"),
    "paper_conv_6": published(DEFAULT, "conv6-2019", "paper_conv_6"),
}


def check(config: Config) -> None:
    """Refuses dropout rates that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--dropouts", config.dropouts)
    wrong = [rate for rate in config.dropouts if not 0 <= rate < 1]
    if wrong:
        raise TicketError(f"--dropouts: got {wrong[0]}, expected shares in [0, 1)")
    if not architecture(config.model).dropout:
        raise TicketError(
            f"--model {config.model}: has no dropout, expected conv_2, conv_4, conv_6 or lenet_5; "
            "experiments.deep is about the others"
        )


_SMALL = (
    "dense networks were also trained for 2,000 steps (`--levels 1 --arms ticket --steps 2000it`): "
    "those without dropout then fit nearly all training images and those with it two thirds, and "
    "their test accuracy was lower at every evaluation. At this size a dense layer has 32 units. "
    "Neither other rates of dropout nor wider networks were tried."
)
TRIED = {
    "ticket-stops-before-dense-16.4-no-dropout": (
        "300 steps in place of 600, which ended before most networks had stopped improving."
    ),
    "dropout-0.5-dense-more-than-no-dropout-dense-100": _SMALL,
    "dropout-0.5-ticket-more-than-dropout-0.5-dense-16.4": _SMALL,
    "dropout-0.5-ticket-more-than-no-dropout-ticket-16.4": _SMALL,
}
"""What was tried of claims that failed at default size, by id; for the report."""


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the dropout rates.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    return {_name(rate): Variant({"dropout": float(rate)}) for rate in problem.config.dropouts}


def _name(rate: float) -> str:
    return f"dropout {rate:g}" if rate else "no dropout"


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    source = f"{lottery.FRANKLE}, section 3"
    paper = PAPER.get(problem.config.model, Paper())
    best, fast, sparse = _levels_of_claims(problem, paper)
    plain, dropped = sweeps.Cell("no dropout"), sweeps.Cell("dropout 0.5")
    dense = lambda cell: cell._replace(dense=True)  # noqa: E731
    of_plain = (
        lottery.matches_dense(best, source)._replace(paper=paper.gain),
        lottery.beats("reinit", best, source),
        lottery.beats("shuffle", best, source),
        lottery.stops_before("ticket", 0, fast, source)._replace(paper=paper.faster),
        *([lottery.beats("reinit", sparse, source)] if sparse != best else []),
    )
    return [
        *lottery.exact_claims(),
        *(lottery.of_variant(claim, "no dropout") for claim in of_plain),
        sweeps.more(dense(dropped), dense(plain), 100, source, paper.dropout),
        sweeps.more(dropped, dense(dropped), best, source, paper.dropped_tickets),
        sweeps.more(dropped, plain, best, source),
    ]


class Paper(NamedTuple):
    """What the paper says of a network on CIFAR-10, each gain over the dense network.

    Attributes:
      best: the density, in percent, of the most accurate ticket.
      gain: of that ticket, in accuracy.
      fast: the density, in percent, of the ticket that stops earliest.
      faster: how much earlier it stops.
      dropout: what dropout gives the dense network.
      dropped_tickets: what tickets give beyond that.
    """

    best: float = 0.0
    gain: str | None = None
    fast: float = 0.0
    faster: str | None = None
    dropout: str | None = None
    dropped_tickets: str | None = None


PAPER = {
    "conv_2": Paper(4.6, "3.4 points", 8.8, "3.5 times earlier", "2.1 points", "2.3 points"),
    "conv_4": Paper(11.1, "3.5 points", 9.2, "3.5 times earlier", "3.0 points", "4.6 points"),
    "conv_6": Paper(26.4, "3.3 points", 15.1, "2.5 times earlier", "2.4 points", "4.7 points"),
}
"""Section 3 and figure 5 of the paper."""


def _levels_of_claims(problem: Problem, paper: Paper) -> tuple[float, float, float]:
    """Gives the densities of the claims: the paper's, where the run goes as far; else its own.

    Args:
      problem: what is run.
      paper: what the paper says of the network.

    Returns:
      Densities of levels of the run, in percent: at which the ticket is compared with everything,
      at which its early-stop step is, and at which it still beats other initialisations.
    """
    densities = problem.densities()
    if problem.config.preset.startswith("paper") and paper.best > densities[-1]:
        nearest = lambda percent: min(densities, key=lambda one: abs(one - percent))  # noqa: E731
        return nearest(paper.best), nearest(paper.fast), nearest(min(paper.best, paper.fast))
    middle = densities[len(densities) // 2]
    return middle, middle, densities[-1]


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [*results_tables(results), sweeps.variants_by_density(results, "ticket")]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy against density, and the paper's pair of figures for each dropout rate.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    names = [str(name) for name in results["variant"].values]
    each = {
        name.replace(" ", "_").replace(".", "_"): plots.both_against_density(
            results.sel(variant=name)
        )
        for name in names
    }
    return {
        "conv": plots.variants_against_density(results),
        "early_stop": plots.variants_against_density(results, None),
        **each,
    }


EXPERIMENT = Experiment("conv", __doc__ or "", PRESETS, claims, draw, variants, check, tables)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""

if __name__ == "__main__":
    run_main(main)
