"""Is magnitude pruning a fixed point of training? Koopman mode pruning, early and late.

Claim: the linear dynamics that a few consecutive weights follow have a mode that does not change,
training's fixed point as it is predicted at that moment; pruning the weights that are small in it
is global magnitude pruning once training has converged, and something else before.

Paper: Redman et al., "An Operator Theoretic View on Pruning Deep Neural Networks", ICLR 2022, arXiv
2110.14856 (definitions from the authors' code; what its text says beyond the abstract is
unverified).

Command: `python -m experiments.koopman`

Dense networks are trained for several lengths of time, on one trajectory: the same initialisation
and the same data. At the end of each, the last weights are decomposed into modes, and the masks of
Koopman magnitude pruning and of global magnitude pruning are compared: by their intersection over
union, and by what the pruned networks still know without any more training. Masks that agree by
chance have an intersection over union of d/(2 - d) at density d.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, six times, five replicates: 5
           networks, each also trained up to every time; seconds on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    MNIST, the recipe lenet-2019: 5 networks, 0.2 million network-steps. The paper
           has a convolutional network on MNIST and ResNet-20 on CIFAR-10: --model, --dataset.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.koopman import measuring, overlaps
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 1
    """Levels, the dense one included; only the dense network is used."""
    arms: tuple[str, ...] = ("ticket",)
    """Names from jaxticket.arms; the ticket is always trained."""
    steps: Step = Step.iterations(800)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    optimizer: str = "momentum"
    """adam, adamw, sgd, momentum, nesterov or rmsprop."""
    learning_rate: float = 0.02
    """Learning rate, before warm-up and schedule."""
    scope: str = "global"
    """Where weights compete: layerwise or global."""
    times: tuple[Step, ...] = tuple(map(Step.iterations, (12, 25, 50, 100, 400, 800)))
    """When masks are compared; the last ones at the end of training."""
    snapshots: int = 10
    """Consecutive weights that are decomposed into modes."""
    every: int = 1
    """Steps between two of them."""
    density: float = 0.1
    """Share of the weights that both masks keep."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        steps=Step.iterations(24),
        evaluate_every=Step.iterations(12),
        times=(Step.iterations(6), Step.iterations(24)),
        snapshots=4,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"),
        levels=1,
        scope="global",
        times=tuple(map(Step.iterations, (50, 100, 500, 1_000, 5_000, 50_000))),
    ),
}


def check(config: Config) -> None:
    """Refuses times and windows that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--times", config.times)
    if len(config.times) < 2:
        got = ", ".join(map(str, config.times))
        raise TicketError(f"--times: got {got} alone, expected an early and a late one")
    if config.snapshots < 2 or config.every < 1:
        raise TicketError(
            f"--snapshots {config.snapshots} --every {config.every}: expected at least 2 and 1"
        )
    if not 0 < config.density < 1:
        raise TicketError(f"--density: got {config.density}, expected a share such as 0.1")
    if config.scope != "global":
        raise TicketError(f"--scope: got {config.scope}, expected global, as the paper prunes")


TRIED = {
    "koopman-is-not-magnitude-12": (
        "nothing else was tried. The masks overlap by 88 % at step 12 and by 98 % from step 400 "
        "on: the direction is the paper's, the early difference smaller than the bound asks for."
    ),
    "koopman-as-good-as-magnitude-800": (
        "nothing else was tried. The few weights in which the masks differ cost 2.4 points where "
        "networks are not trained again; the paper trains them again (unverified)."
    ),
}
"""What was tried of claims that failed at default size, by id; for the report."""

REDMAN = "Redman et al. 2022, arXiv 2110.14856"
SAME, SOME = 0.95, 0.9
"""Above the first masks count as the same, below the second as different."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    first, *_, last = measuring.times_of(problem)
    return [
        *lottery.exact_claims(),
        overlaps.different("koopman", "magnitude", first, SOME, REDMAN),
        overlaps.same("koopman", "magnitude", last, SAME, REDMAN),
        overlaps.grows("koopman", "magnitude", first, last, REDMAN),
        overlaps.as_good("koopman", "magnitude", last, 0.01, REDMAN),
    ]


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the table of overlaps and of pruned accuracies, a column a time.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [overlaps.table(results, "koopman", "magnitude")]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws overlap and pruned accuracy over the time of training.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {"koopman": plots.overlap_over_training(results, "koopman", "magnitude")}


EXPERIMENT = Experiment(
    "koopman",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    check=check,
    tables=tables,
    measure=measuring.measure,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
