"""Can a sparse network be trained from scratch if its mask changes on the way? SET and RigL.

Claim: a network that is sparse from its first step on, with a random mask, trains to a higher
accuracy if it now and then drops its smallest weights and grows others, and more so if those are
grown where the gradient is largest (RigL) than at random (SET).

Paper: Evci et al., "Rigging the Lottery: Making All Tickets Winners", ICML 2020, arXiv 1911.11134;
SET: Mocanu et al., Nature Communications 2018, arXiv 1707.04780.

Command: `python -m experiments.dynamic`

Every rule at every density is a member of one population; within a replicate all begin with the
same weights and, at a density, with the same mask. Equal cost means equal density in every layer
and equally many steps. RigL pays more than that: at each change it needs one dense gradient, which
the table counts as a machine would that computes with kept weights only: 1 + u (2 d + 1) / (3 d T)
of the static network's arithmetic, with u changes in T steps at density d, a backward pass taken
as two forward ones, and arithmetic as proportional to weights. On dense hardware it is 1 + u / T.

Sanity checks: the last mask of every network whose mask changed is held fixed and trained from the
first weights, the same permuted within each layer, and with other initial weights. If training was
what found it, its places are worth something; the first weights, which it was not found by, are
not. These claims were stated before any run of them.

A first default run, of 1,000 steps and with the same density in every layer, was followed by this
one, as long again and with Erdős–Rényi densities, as the paper has them; `TRIED` has its numbers.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, Adam, three rules at two
           densities, five replicates: 30 networks, and 65 of fixed masks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    CIFAR-10, a residual network of 20 layers and double width in the place of the paper's
           of 22, 97,500 steps (all numbers unverified): 30 networks, 2.9 million network-steps,
           and 65 of fixed masks, 6.3 million.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import sweeps
from experiments.common.configuration import Configuration
from experiments.common.experiment import Experiment, Problem, run
from experiments.dynamic import arithmetic, changing, fixed
from experiments.dynamic.claiming import claims
from experiments.dynamic.rules import RULES, allocation, make_family, variants
from jaxticket import masks, recipes
from jaxticket.errors import TicketError
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 1
    """Levels, the first one included; masks change during training, so only 1."""
    replicates: int = 5
    """Independent initialisations, each with its own data order."""
    steps: Step = Step.iterations(2_000)  # noqa: RUF009
    """Training, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(200)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    arms: tuple[str, ...] = ("ticket",)
    """Only ticket: there are no controls of a mask that changes."""
    rules: tuple[str, ...] = RULES
    """How masks change: static, set or rigl."""
    densities: tuple[float, ...] = (0.05, 0.02)
    """Shares of the weights that are kept, all of them one population."""
    change_every: int = 50
    """Steps between changes of the mask."""
    change_until: float = 0.75
    """Share of training after which masks stay."""
    fraction: float = 0.3
    """Share of the kept weights that the first change would move; it falls along a cosine."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        steps=Step.iterations(60),
        evaluate_every=Step.iterations(20),
        rules=("static", "rigl"),
        densities=(0.2, 0.1),
        change_every=10,
    ),
    "paper": dataclasses.replace(
        DEFAULT,
        preset="paper",
        dataset="cifar10",
        model="resnet_20",
        width=2.0,
        augment=("flip", "crop=4"),
        replicates=5,
        steps=Step.iterations(97_500),
        evaluate_every=Step.iterations(3_900),
        batch_size=128,
        optimizer="momentum",
        learning_rate=0.1,
        weight_decay=5e-4,
        schedule="step",
        drops=tuple(map(Step.iterations, (30_030, 60_060, 90_090))),
        drop_factor=0.2,
        densities=(0.1, 0.05),
        change_every=100,
    ),
}


def check(config: Config) -> None:
    """Refuses rules, densities and times that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    if config.levels != 1 or config.arms != ("ticket",):
        raise TicketError(
            f"--levels {config.levels} --arms {' '.join(config.arms)}: expected one level of the "
            "arm ticket, since masks change during training and not between trainings"
        )
    sweeps.check_some("--rules", config.rules)
    sweeps.check_some("--densities", config.densities)
    sweeps.check_known("rule", config.rules, RULES)
    wrong = [density for density in config.densities if not 0 < density < 1]
    if wrong:
        raise TicketError(f"--densities: got {wrong[0]}, expected shares between 0 and 1")
    if not 0 < config.change_until <= 1:
        raise TicketError(f"--change-until: got {config.change_until}, expected a share up to 1")


_TRIED = (
    "a first run, of 1,000 steps with the same density in every layer: RigL was 0.6 points below "
    "SET at 5 % and 0.3 below at 2 %, 0.1 points above static at 5 % and 12.7 above at 2 %, where "
    "20 weights of the output layer were left. With Erdős–Rényi densities a static mask leaves "
    "little to gain on these images."
)
TRIED = {
    "rigl-ticket-after-training-as-good-as-set-ticket-after-training-5": _TRIED,
    "rigl-ticket-after-training-more-than-static-ticket-after-training-5": _TRIED,
    "rigl-ticket-after-training-as-good-as-set-ticket-after-training-2": _TRIED,
    "rigl-ticket-after-training-more-than-static-ticket-after-training-2": _TRIED,
}
"""What was tried of claims that failed at default size, by id; for the report."""


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Reads the masks that training ended with, and makes densities the levels of a rule.

    Args:
      problem: what was run.
      result: the networks.
      results: all curves, a variant for each rule at each density.

    Returns:
      The results with a variant for each rule and a level for each density; see
      `changing.by_density`. Besides, `arithmetic` (variant, level), the static network's being 1;
      and `fixed_accuracy` (rule, level, control, replicate), see `fixed.trained`.
    """
    config = problem.config
    dense = masks.ones(problem.shapes, recipes.make_prunable(config))
    counts = [allocation(density).schedule(dense, 2)[1] for density in config.densities]
    results = changing.by_density(result, results, list(config.rules), counts)
    cost = arithmetic.by_rule(config, problem.protocol.steps, results["density"].values)
    results = results.assign(arithmetic=(("variant", "level"), cost))
    if set(config.rules) <= {fixed.STILL}:
        return results
    return results.assign(fixed_accuracy=fixed.trained(problem, result))


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: accuracy of rules after training and at early stop, checks, and cost.

    Args:
      results: from `measure`.

    Returns:
      Rich tables.
    """
    checks = [fixed.table(results)] if "fixed_accuracy" in results else []
    return [
        sweeps.variants_by_density(results, "ticket", "end"),
        sweeps.variants_by_density(results, "ticket"),
        *checks,
        arithmetic.table(results),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy after training against density, a line for each rule.

    Args:
      results: from `measure`.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {"dynamic": plots.variants_against_density(results, step="end")}


EXPERIMENT = Experiment(
    "dynamic",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    variants,
    check,
    tables,
    measure,
    make_family,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
