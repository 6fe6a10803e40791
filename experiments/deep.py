"""Which learning rate, warm-up and scope find tickets in deep networks? ResNet-20 and VGG.

Claim: in deeper networks iterative magnitude pruning to step 0 finds winning tickets at low
learning rates but not at high ones; a warm-up of the rate helps; and pruning globally finds
smaller tickets than pruning every layer by the same share.

Paper: Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv 1803.03635, section 4.

Command: `python -m experiments.deep`; `--model vgg_11 --dataset fashion_mnist_5k` is a run of its
own, since networks of another shape cannot be one population, and VGG needs 16 x 16 pixels.

Every combination of learning rate, warm-up and scope is a search, all of them one population; dense
networks of the same rate and warm-up are trained once. Two cores cannot train ResNet-20 for 30,000
steps of batch 128 on 32 x 32 pixels: the default is the network at half its width on 8 x 8 digits,
for 120 steps. That can show whether tickets exist at each rate, not what the paper's networks do.

Presets:
  default  digits, ResNet-20 at half its width, two rates, with and without warm-up, both scopes,
           five arms, five replicates: 420 networks; minutes on two cores.
  smoke    digits, a deep perceptron, seconds; only the exact claims mean anything.
  paper    ResNet-20 on CIFAR-10 by the recipe resnet18-2019 (so the paper calls it):
           5,730 networks, 172 million network-steps.
  paper_vgg_19  VGG-19 by vgg19-2019: 3,820 networks, 430 million network-steps.

Expected on CIFAR-10 (paper, unverified): of ResNet-18 no tickets at 0.1; at 0.01 tickets reach
89.5 %; at 0.03 with 20,000 steps of warm-up 90.5 %, which is the dense network's accuracy at 0.1.
Of VGG-19 tickets are no better than reinit at 0.1, within a point of dense down to 3.5 % of the
weights at 0.01, and there down to 1.5 % at 0.1 with 10,000 steps of warm-up. Report and summary
name network and data beside each such number: the default's are others, and smaller.
"""

import dataclasses
import functools
import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.command_line import run_main
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.common.warming import without_warmup
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError, unknown
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCOPES = ("global", "layerwise")


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    model: str = "resnet_20"
    """Network: resnet_18, resnet_20, resnet_32, resnet_56, vgg_11, vgg_16 or vgg_19."""
    width: float = 0.5
    """Multiplier of the width of all hidden layers."""
    dataset: str = "digits"
    """digits, fashion_mnist_5k, fashion_mnist, cifar10_jpeg, cifar10, or any TFDS set of labelled
    images."""
    levels: int = 3
    """Levels, the dense one included."""
    steps: Step = Step.iterations(120)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    optimizer: str = "momentum"
    """adam, adamw, sgd, momentum, nesterov or rmsprop."""
    weight_decay: float = 1e-4
    """Added to the gradient times the weights (L2); decoupled for adamw."""
    prune_rate: float = 0.7
    """Share of the remaining weights that goes at each level, under both scopes."""
    output_prune_rate: float = 0.0
    """The same for the output layer; 0 keeps it dense."""
    learning_rates: tuple[float, ...] = (0.01, 0.1)
    """Learning rates, all of them one population."""
    warmups: tuple[Step, ...] = (Step.iterations(0), Step.iterations(60))
    """Warm-ups, likewise."""
    scopes: tuple[str, ...] = SCOPES
    """Where weights compete, likewise: global, layerwise."""
    skip_warmup: bool = False
    """Train all levels but the first without warm-up; a rewind step must then not be inside it."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        model="deep_mlp",
        replicates=2,
        levels=2,
        steps=Step.iterations(10),
        evaluate_every=Step.iterations(10),
        arms=("ticket", "reinit"),
        warmups=(Step.iterations(0), Step.iterations(5)),
        learning_rates=(0.1,),
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "resnet18-2019"),
        learning_rates=(0.01, 0.03, 0.1),
        warmups=(Step.iterations(0), Step.iterations(20_000)),
    ),
    "paper_vgg_19": dataclasses.replace(
        published(DEFAULT, "vgg19-2019", "paper_vgg_19"),
        learning_rates=(0.01, 0.1),
        warmups=(Step.iterations(0), Step.iterations(10_000)),
    ),
}


def check(config: Config) -> None:
    """Refuses sweeps that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    for name in ("learning_rates", "warmups", "scopes"):
        sweeps.check_some(f"--{name.replace('_', '-')}", getattr(config, name))
    wrong = [rate for rate in config.learning_rates if not (rate > 0 and np.isfinite(rate))]
    if wrong:
        raise TicketError(f"--learning-rates: got {wrong[0]}, expected positive numbers")
    for scope in config.scopes:
        if scope not in SCOPES:
            raise unknown("scope", scope, SCOPES)


_EASY = (
    "fewer controls, to the same end; neither other rates, lengths of training nor data sets were "
    "tried. On digits of 8 x 8 pixels another initialisation of the ticket's mask does as well or "
    "better after 120 steps, at either rate."
)
TRIED = {
    "0.01-global-ticket-more-than-0.01-global-reinit-9": _EASY,
    "0.01-global-ticket-gains-more-than-0.1-global-ticket-9": _EASY,
    "0.1-warm-up-60-global-ticket-gains-more-than-0.1-global-ticket-9": _EASY,
}
"""What was tried of claims that failed at default size, by id; for the report."""


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the combinations of learning rate, warm-up and scope.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    config: Config = problem.config
    warmups = [warmup.at(problem.steps_an_epoch) for warmup in config.warmups]
    late = [warmup for warmup in warmups if warmup > problem.protocol.steps]
    if late:
        raise TicketError(
            f"--warmups: got {late[0]} steps, expected at most the {problem.protocol.steps} of "
            "training"
        )
    allocations = {scope: problem.allocation(scope=scope) for scope in config.scopes}
    chosen = {
        _name(rate, warmup, scope): Variant(
            {"learning_rate": float(rate), "warmup": warmup}, allocations[scope]
        )
        for rate, warmup, scope in itertools.product(
            sorted(config.learning_rates), sorted(warmups), config.scopes
        )
    }
    return without_warmup(problem, chosen)


def _name(rate: float, warmup: int, scope: str) -> str:
    warm = f", warm-up {warmup:,}" if warmup else ""
    return f"{rate:g}{warm}, {scope}"


CLAIMED = {"paper": (41.0, 21.0, 0.03), "paper_vgg_19": (6.87, 3.52, 0.1)}
"""Where the paper finds tickets, by preset: the densities, in percent, at which they match and at
which arms part, and the rate that a warm-up helps. ResNet at 0.1 fails with warm-up too."""


class Paper(NamedTuple):
    """What the paper says of a network on CIFAR-10, by others' account of it.

    Attributes:
      low: of tickets at a low rate.
      high: of tickets at a high one.
      warm: of tickets at a rate with a warm-up.
    """

    low: str
    high: str
    warm: str


PAPER = {
    "resnet": Paper(
        "89.5 % at 41.7 to 21.9 % of the weights, dense 90.5 % at rate 0.1; ResNet-18 on CIFAR-10, "
        "unverified",
        "no tickets at rate 0.1, ResNet-18 on CIFAR-10, unverified",
        "90.5 % at 27.1 % of the weights and better than reinit down to 11.8 % (rate 0.03); "
        "ResNet-18 on CIFAR-10, unverified",
    ),
    "vgg": Paper(
        "within 1 point down to 3.5 % of the weights, VGG-19 on CIFAR-10, unverified",
        "ticket as reinit at rate 0.1, VGG-19 on CIFAR-10, unverified",
        "works down to 1.5 % of the weights (rate 0.1), VGG-19 on CIFAR-10, unverified",
    ),
}
"""Section 4 of the paper, by the kind of network."""

LAYERWISE = "within 1 point down to 3.5 % against 6.9 %, VGG-19 on CIFAR-10, unverified"
"""What the paper says of global against layerwise pruning, of this network alone."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    config, source = problem.config, f"{lottery.FRANKLE}, section 4"
    rates = sorted(config.learning_rates)
    warmups = sorted(warmup.at(problem.steps_an_epoch) for warmup in config.warmups)
    low, high = (sweeps.Cell(_name(rate, 0, "global")) for rate in (rates[0], rates[-1]))
    mild, sparse, rate = CLAIMED.get(config.preset, (30.0, 9.0, rates[-1]))
    paper = PAPER["vgg" if config.model.startswith("vgg") else "resnet"]
    warm = sweeps.Cell(_name(rate, warmups[-1], "global"))
    same_rate = sweeps.Cell(_name(rate, 0, "global"))
    layerwise = sweeps.Cell(_name(rates[0], 0, "layerwise"))
    reinit = lambda cell: cell._replace(arm="reinit")  # noqa: E731
    dense = lambda cell: cell._replace(dense=True)  # noqa: E731
    return [
        *lottery.exact_claims(),
        sweeps.as_good(low, dense(low), mild, 0.005, source, paper.low),
        sweeps.more(low, reinit(low), sparse, source),
        sweeps.gains_more(low, reinit(low), high, reinit(high), sparse, source, paper.high),
        sweeps.gains_more(
            *(warm, reinit(warm), same_rate, reinit(same_rate)), sparse, source, paper.warm
        ),
        sweeps.more(low, layerwise, sparse, source, LAYERWISE),
    ]


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: combinations against densities for each arm.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [sweeps.variants_by_density(results, str(arm)) for arm in results["arm"].values]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy against density, a line for each combination.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "deep": plots.variants_against_density(results),
        "early_stop": plots.variants_against_density(results, None),
    }


EXPERIMENT = Experiment("deep", __doc__ or "", PRESETS, claims, draw, variants, check, tables)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""

if __name__ == "__main__":
    run_main(main)
