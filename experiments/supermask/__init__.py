"""Can a network be good whose weights are never trained? Masks learned by edge-popup.

Claim: in a network of random weights there are subnetworks that classify well without any
training of the weights, and the search for them is a training of scores. The best keep about
half: everything and nothing are as good as guessing. Weights of one magnitude (signed constant)
serve as well as Kaiming's, and wider networks better than narrow ones.

Paper: Ramanujan et al., "What's Hidden in a Randomly Weighted Neural Network?", CVPR 2020, arXiv
1911.13299; Zhou et al., "Deconstructing Lottery Tickets", NeurIPS 2019, arXiv 1905.01067.

Command: `python -m experiments.supermask`

Every (weights, share) is a variant, and its scores are the params, so that all of them are one
population of dense networks. Signed constants have the signs of the Kaiming weights of the same
replicate. Other widths are other shapes and so populations of their own; they are not
checkpointed. What is known without learning a mask stands beside: one that large_final_same_sign
makes of a trained network, over its initial weights (see also `experiments.deconstructing`).

Sanity checks, without any training: every learned mask shuffled within each layer, over other
weights of the same kind, and made of the lowest scores instead of the highest. A mask that was
learned over weights should be good for nothing without them, and nowhere else.

Did the data matter? Masks that keep half are learned once more on spoiled data (--spoiled): random
labels, the pixels of every image shuffled in an order of its own, half of the examples. They begin
with the same weights and scores, are one population, and are evaluated on the true test examples;
what is random in the data is the same for all replicates. They are not checkpointed. Half of the
examples may cost one point. The claims of all checks were stated before any run of them.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, two kinds of weights, eight shares,
           five replicates: 80 networks, 30 of other widths, 30 of spoiled data and 15 trained ones;
           minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    CIFAR-10, Conv-6 (epochs, rate and batch are unverified): 120 networks, 4.2 million
           network-steps, and 40 of other widths, 30 of spoiled data and 15 trained ones.

Expected on ImageNet (paper): ResNet-50 with 30 % of its weights kept has 68.6 % over signed
constants and 61.7 % over Kaiming normal weights; on MNIST 86 % untrained with
large_final_same_sign.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import xarray
from rich.console import RenderableType

from experiments.common import sweeps
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, run
from experiments.common.spoiling import SPOILED
from experiments.supermask import checks, learned, spoiled, supermasks
from experiments.supermask.claiming import claims
from experiments.supermask.measuring import measure
from jaxticket.errors import TicketError
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    width: float = 0.5
    """Multiplier of the width of all hidden layers."""
    levels: int = 1
    """Always 1: masks are learned, not pruned."""
    arms: tuple[str, ...] = ("ticket",)
    """The only one: there is no level to control."""
    steps: Step = Step.iterations(400)  # noqa: RUF009
    """Training of the scores, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(100)  # noqa: RUF009
    """Training between two evaluations."""
    optimizer: str = "momentum"
    """Of the scores: adam, adamw, sgd, momentum, nesterov or rmsprop."""
    learning_rate: float = 1.0
    """Of the scores, before warm-up and schedule."""
    schedule: str = "cosine"
    """Of the learning rate: constant, step (at the drops) or cosine (to zero at the end)."""
    densities: tuple[float, ...] = (0.002, 0.03, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
    """Shares of each layer that masks keep, all of them one population."""
    widths: tuple[float, ...] = (0.125, 0.25, 1.0)
    """Other widths, at which masks keep half; compared with each other and with --width."""
    trained_steps: Step = Step.iterations(240)  # noqa: RUF009
    """Training, by Adam at 2e-3, of the network that large_final_same_sign is asked about."""
    spoiled: tuple[str, ...] = tuple(SPOILED)
    """Data on which masks that keep half are learned once more: random labels, shuffled pixels or
    half."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        width=0.1,
        replicates=2,
        steps=Step.iterations(20),
        evaluate_every=Step.iterations(10),
        densities=(0.05, 0.5, 1.0),
        widths=(),
        trained_steps=Step.iterations(20),
        spoiled=("labels", "half"),
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "conv6-2019"),
        levels=1,
        optimizer="momentum",
        learning_rate=0.1,
        weight_decay=1e-4,
        schedule="cosine",
        batch_size=128,
        steps=Step.epochs(100),
        densities=(0.002, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
        widths=(0.25, 0.5, 1.5, 2.0),
        trained_steps=Step.iterations(30_000),
    ),
}


def check(config: Config) -> None:
    """Refuses shares, widths and spoiled data that cannot be, and levels.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--densities", config.densities)
    wrong = [density for density in config.densities if not 0 < density <= 1]
    if wrong:
        raise TicketError(f"--densities: got {wrong[0]}, expected shares in (0, 1]")
    sweeps.check_some("--widths", (config.width, *config.widths))
    narrow = [width for width in config.widths if not (width > 0 and np.isfinite(width))]
    if narrow:
        raise TicketError(f"--widths: got {narrow[0]}, expected positive numbers")
    if config.spoiled:
        sweeps.check_some("--spoiled", config.spoiled)
    sweeps.check_known("spoiled data", config.spoiled, tuple(SPOILED))
    if config.levels != 1 or config.arms != ("ticket",):
        raise TicketError(
            f"--levels {config.levels} --arms {' '.join(config.arms)}: expected 1 and ticket, "
            "since masks are learned, not pruned"
        )


TRIED = {
    "signed-constant-50-more-than-90": (
        "the fall after the peak is there (81.6 % to 80.4 %) and within the spread of five "
        "replicates; nothing else was tried. Learning rates 0.1, 1 and 10 of momentum and 0.01 of "
        "Adam were compared before, at 300 steps and a share of a half: 1 was best or level."
    ),
}
"""What was tried of claims that failed at default size, by id; for the report."""


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: kinds of weights by share and width, masks of a trained network, checks.

    Args:
      results: as `measure` gives them.

    Returns:
      Rich tables.
    """
    return [*supermasks.tables(results), checks.table(results), *spoiled.tables(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy by share and by width.

    Args:
      results: as `measure` gives them.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {"supermask": plots.accuracy_against_share(results)}


EXPERIMENT = Experiment(
    "supermask",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    learned.variants,
    check,
    tables,
    measure,
    learned.make_family,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
