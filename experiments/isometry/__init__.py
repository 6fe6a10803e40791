"""Does pruning break dynamical isometry, and is that why large rates fine-tune better? OrthP.

Claim: pruning neurons collapses the singular values of the network's input-output Jacobian;
fine-tuning at a large learning rate brings them back faster than at a small one, and that is why
it is more accurate; once orthogonalisation (OrthP) has restored them, small and large rates are
about as good as each other.

Paper: Wang, Qin, Bai & Fu, "Dynamical Isometry: The Missing Ingredient for Neural Network Pruning",
arXiv 2105.05916.

Command: `python -m experiments.isometry`; `--model mlp_7` is a run of its own, with ReLUs, for
which nothing is exact.

Neurons of the lowest L1 norm go from every hidden layer at once, with all their weights, and what
is left goes on from its trained weights. "Large" repeats the schedule of training, which begins at
--learning-rate and drops; "small" goes on at its last rate. OrthP replaces each remaining matrix by
its polar factor; the paper's code takes a QR decomposition (unverified). The first two replicates
of seed 0 were looked at when the length of training was chosen; the gap without OrthP is as wide as
it is since fine-tuning is short, and narrows the longer it lasts. The paper's networks on CIFAR and
ImageNet are beyond two cores: the default shows its mechanism, on the network it begins with.

Presets:
  default  5,000 embedded Fashion-MNIST images, MLP-7-Linear, 80 % and 90 % of all neurons pruned,
           two rates, with and without OrthP, five replicates: 45 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    MNIST, 90 epochs of batch 100 (unverified): 45 networks, 2.2 million network-steps.

Expected on MNIST (paper, unverified): with MLP-7-Linear mean singular values of exactly 1 after
OrthP, and rates of 0.01 and 0.001 equally good from there.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.configuration import Configuration
from experiments.common.experiment import Experiment, Problem, run
from experiments.isometry import claiming, propagation
from experiments.isometry.searches import GAINS, variants
from jaxticket.allocate.rates import check_rate
from jaxticket.analysis import Claim
from jaxticket.errors import unknown
from jaxticket.recipes import Step
from jaxticket.result import Result
from jaxticket.rewind import rewind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    model: str = "linear_mlp_7"
    """Network: linear_mlp_7 or mlp_7."""
    levels: int = 2
    """Levels, the dense one included."""
    steps: Step = Step.iterations(600)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    batch_size: int = 100
    """Examples a step."""
    optimizer: str = "momentum"
    """adam, adamw, sgd, momentum, nesterov or rmsprop."""
    learning_rate: float = 0.01
    """Learning rate, before warm-up and schedule."""
    schedule: str = "step"
    """Of the learning rate: step (at the drops) or cosine (to zero at the end)."""
    drops: tuple[Step, ...] = (Step.iterations(400),)
    """When the learning rate drops under the step schedule, such as 80ep 120ep."""
    evaluate_every: Step = Step.iterations(100)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    arms: tuple[str, ...] = ("ticket",)
    """Names from jaxticket.arms; the ticket is always trained."""
    shares: tuple[float, ...] = (0.8, 0.9)
    """Shares of the neurons of every hidden layer that go at a level."""
    examples: int = 200
    """Test examples whose Jacobians are taken."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        steps=Step.iterations(20),
        drops=(Step.iterations(10),),
        evaluate_every=Step.iterations(20),
        shares=(0.8,),
        examples=10,
    ),
    "paper": dataclasses.replace(
        DEFAULT,
        preset="paper",
        dataset="mnist",
        steps=Step.epochs(90),
        drops=(Step.epochs(60),),
        evaluate_every=Step.epochs(5),
    ),
}


def check(config: Config) -> None:
    """Refuses networks and shares that cannot be, and schedules without a last rate.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--shares", config.shares)
    for share in config.shares:
        check_rate("--shares", share)
    if config.model not in GAINS:
        raise unknown("model of this experiment", config.model, GAINS)
    if config.schedule != "step":
        raise unknown("schedule of this experiment", config.schedule, ("step",))
    propagation.check_examples(config.examples)


WANG = "Wang et al. 2021, arXiv 2105.05916"


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    config: Config = problem.config
    linear = config.model == "linear_mlp_7"
    of_each = [
        claim for share in config.shares for claim in claiming.of_share(problem, share, WANG)
    ]
    exact = [claiming.isometries(WANG), *([claiming.exactly_one(WANG)] if linear else [])]
    return [*lottery.exact_claims(), *exact, *of_each]


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds the singular values of networks that are dense, pruned, restarted and trained again.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `propagation.measured` gives.
    """
    chosen = {name: variant.action or rewind for name, variant in variants(problem).items()}
    gain = GAINS[problem.config.model]
    return results.assign(propagation.measured(problem, result, chosen, gain))


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: accuracy after training, and mean singular values by stage.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [
        sweeps.variants_by_density(results, "ticket", "end"),
        *propagation.tables(results),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the spectra by stage, and accuracy over training.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "spectra": plots.jacobian_spectra(results),
        "accuracy": plots.variants_against_density(results, step="end"),
    }


EXPERIMENT = Experiment(
    "isometry", __doc__ or "", PRESETS, claims, draw, variants, check, tables, measure
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
