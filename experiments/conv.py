"""Do winning tickets exist in convolutional networks, and does dropout help? Conv-2, 4 and 6.

Claim: iterative magnitude pruning finds winning tickets in Conv-2, Conv-4 and Conv-6 too, which
learn faster and reach a higher accuracy than the dense network; dropout makes the dense network
more accurate, and tickets found with it more accurate still.

Paper: Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv 1803.03635, section 3.

Command: `python -m experiments.conv`; `--model conv_4` and `--model conv_6` are runs of their own,
since networks of another shape cannot be one population.

Two cores cannot train the published networks for the published time: the default has an eighth of
their width, 28 x 28 pixels of one channel, and rates that reach 8 % of the weights in five levels.
It is to show the order of ticket and controls; the factors of the paper need its size.

Presets:
  default  5,000 embedded Fashion-MNIST images, Conv-2 at an eighth of its width, dropout off and
           0.5, five replicates: 130 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    Conv-2 on CIFAR-10, dropout off and 0.5, 25 levels, 5 arms: 1,210 networks, 24.2
           million network-steps.

Expected on CIFAR-10 (paper): Conv-2 stops 3.5 times earlier at 8.8 % and gains 3.4 points at 4.6 %.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

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
from jaxticket.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    model: str = "conv_2"
    """Network: conv_2, conv_4, conv_6 or another of jaxticket.models with dropout."""
    width: float = 0.125
    """Multiplier of the width of all hidden layers."""
    levels: int = 5
    """Levels, the dense one included."""
    steps: Step = Step.iterations(300)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(60)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    prune_rate: float = 0.5
    """Share of the remaining weights that goes at each level, in dense layers."""
    convolution_prune_rate: float | None = 0.25
    """The same for convolutions; prune_rate if None."""
    output_prune_rate: float = 0.25
    """The same for the output layer."""
    arms: tuple[str, ...] = ("ticket", "reinit", "shuffle")
    """Names from jaxticket.arms; the ticket is always trained."""
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
    "paper": dataclasses.replace(
        published(DEFAULT, "conv2-2019"),
        arms=("ticket", "reinit", "shuffle", "shuffle_reinit", "oneshot"),
    ),
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
    "nothing else was tried. At this size a dense layer has 32 units and a level 300 steps: half "
    "of such layers dropped is a strong regulariser of networks that have not begun to overfit."
)
TRIED = {
    "ticket-stops-before-dense-25.6-no-dropout": (
        "nothing else was tried. Most networks still improve when their 300 steps end, so the "
        "early-stop step is the last one of both."
    ),
    "dropout-0.5-dense-more-than-no-dropout-dense-100": _SMALL,
    "dropout-0.5-ticket-more-than-dropout-0.5-dense-25.6": _SMALL,
    "dropout-0.5-ticket-more-than-no-dropout-ticket-25.6": _SMALL,
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
    del problem
    source = f"{lottery.FRANKLE}, section 3"
    plain, dropped = sweeps.Cell("no dropout"), sweeps.Cell("dropout 0.5")
    of_plain = (
        lottery.matches_dense(DENSE),
        lottery.beats("reinit", DENSE),
        lottery.beats("shuffle", DENSE),
        lottery.beats("reinit", SPARSE),
        lottery.stops_before("ticket", 0, DENSE),
    )
    return [
        *lottery.exact_claims(),
        *(lottery.of_variant(claim, "no dropout") for claim in of_plain),
        sweeps.more(
            dropped._replace(dense=True), plain._replace(dense=True), 100, source, "2.1 points"
        ),
        sweeps.more(dropped, dropped._replace(dense=True), DENSE, source, "2.3 points"),
        sweeps.more(dropped, plain, DENSE, source),
    ]


DENSE, SPARSE = 25.6, 6.7
"""Densities, in percent, that the default's levels 2 and 4 reach."""


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
    return {"conv": plots.variants_against_density(results), **each}


EXPERIMENT = Experiment("conv", __doc__ or "", PRESETS, claims, draw, variants, check, tables)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""

if __name__ == "__main__":
    run_main(main)
