"""Do tickets work on other tasks, and do those that do share a flow? Transfer and universality.

Claim: a ticket found with one data set and optimizer is, at 5 % of the weights, nearly as good on
another one as the ticket found there, and better than a random ticket; a source whose pixels are
permuted is of less use. If iterative pruning is a renormalisation group, tasks between which
tickets transfer have like exponents: then tickets lose more the further apart the flows are.

Paper: Morcos, Yu, Paganini & Tian, "One ticket to win them all", NeurIPS 2019, arXiv 1906.02773;
Redman et al., "Universality of Winning Tickets", ICML 2022, arXiv 2110.03210. Of both the abstracts
were read; the observable and the protocol are from memory (unverified).

Command: `python -m experiments.universality`; `--run DIR` transfers the tickets of a run of this
experiment once more, to other levels or with other controls.

Tasks are made of one data set: all of it, its lower and its upper classes (both relabelled from 0,
the other outputs unused), its pixels in one random order; and other data sets, resized. All of them
are stacked, so that task, optimizer and replicate are one population. Smaller sets are repeated
up to the size of the largest, so that all networks train for as many steps. A ticket takes its mask
and its weights at the rewind step along; the output layer gets new initial weights, and keeps the
source's mask. Network r of all tasks has the same initial weights. Pruning is global, without which
the shares of the layers do not flow. Controls are `reinit`, `shuffle` and both, which is the random
ticket. The optimizers are compared on the whole set.

Presets:
  default  5,000 embedded Fashion-MNIST images and 1,250 digits, LeNet-300-100, five tasks and a
           second optimizer, six levels: 180 networks and 726 transfers; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    Fashion-MNIST and MNIST, the recipe lenet-2019 under global pruning: 600 networks, 30.0
           million network-steps, and 726 transfers, 36.3 million.

Expected: no number of the papers is for networks of this size.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, get_args

import xarray

from experiments.common import lottery, sweeps
from experiments.common.configuration import Reading, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.universality import claiming, measuring
from experiments.universality.tables import tables
from experiments.universality.tasks import FIRST, stack
from jaxticket import recipes
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError, unknown
from jaxticket.imp import Variant
from jaxticket.learners import Learner
from jaxticket.recipes import OPTIMIZERS, Step
from jaxticket.records import Result
from jaxticket.transfer import check_arms
from jaxticket.transfer.carrying import OutputMask

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Reading):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 6
    """Levels, the dense one included."""
    scope: str = "global"
    """Where weights compete: global, so that the shares of layers can change."""
    prune_rate: float = 0.45
    """Share of the remaining weights that goes at each level."""
    steps: Step = Step.iterations(400)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(100)  # noqa: RUF009
    """Between evaluations: the grid of the early-stop step."""
    arms: tuple[str, ...] = ("ticket",)
    """Names from jaxticket.arms, of the native networks; the ticket is always trained."""
    tasks: tuple[str, ...] = ("whole", "lower", "upper", "permuted", "digits")
    """Tasks: whole, lower, upper (classes) or permuted (pixels) of the data set, or the names of
    other data sets, which are resized."""
    other_optimizers: tuple[str, ...] = ("momentum",)
    """Optimizers besides --optimizer, on the whole data set."""
    other_learning_rate: float = 0.05
    """Their learning rate."""
    transfer_level: int = 5
    """Level of the tickets that are transferred."""
    transfer_arms: tuple[str, ...] = ("ticket", "reinit", "shuffle", "shuffle_reinit")
    """What is trained on the targets: the ticket and its controls."""
    renewed_mask: str = "source"
    """Mask of the output layer, whose weights are new: source, or dense."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        width=0.1,
        replicates=2,
        levels=3,
        steps=Step.iterations(20),
        evaluate_every=Step.iterations(20),
        tasks=("whole", "lower", "permuted"),
        transfer_level=2,
        transfer_arms=("ticket", "shuffle_reinit"),
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"),
        dataset="fashion_mnist",
        scope="global",
        tasks=("whole", "lower", "upper", "permuted", "mnist"),
        transfer_level=13,
    ),
}


def check(config: Config) -> None:
    """Refuses tasks, optimizers and transfers that cannot be.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--tasks", config.tasks)
    sweeps.check_some("--transfer-arms", config.transfer_arms)
    check_arms(config.transfer_arms)
    sweeps.check_known("optimizer", config.other_optimizers, tuple(OPTIMIZERS))
    if len({config.optimizer, *config.other_optimizers}) <= len(config.other_optimizers):
        raise TicketError(
            f"--other-optimizers: got {' '.join(config.other_optimizers)}, expected different ones "
            f"besides {config.optimizer}"
        )
    if config.other_optimizers and FIRST not in config.tasks:
        raise TicketError(
            f"--tasks: got no {FIRST}, expected it: optimizers are compared on it; or give no "
            "--other-optimizers"
        )
    if "ticket" not in config.transfer_arms:
        raise TicketError("--transfer-arms: got no ticket, expected it with its controls")
    if config.renewed_mask not in get_args(OutputMask):
        raise unknown("renewed mask", config.renewed_mask, get_args(OutputMask))
    if config.scope != "global":
        raise TicketError(
            f"--scope {config.scope}: the layers' shares hardly flow under it, expected global"
        )
    if not 1 <= config.transfer_level < config.levels:
        raise TicketError(
            f"--transfer-level: got {config.transfer_level}, expected 1 to {config.levels - 1}, "
            f"a pruned one of the {config.levels} levels"
        )


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the tasks, and the other optimizers on the first one.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    config: Config = problem.config
    rates = [config.learning_rate] + [config.other_learning_rate] * len(config.other_optimizers)
    cells = {name: (place, 0) for place, name in enumerate(config.tasks)}
    for place, name in enumerate(config.other_optimizers, start=1):
        cells[_with(name)] = (config.tasks.index(FIRST), place)
    return {
        name: Variant({"task": task, "optimizer": which, "learning_rate": float(rates[which])})
        for name, (task, which) in cells.items()
    }


def _with(optimizer: str) -> str:
    return f"{FIRST}, {optimizer}"


def make_family(config: Config, dataset: Any) -> Callable[[Mapping[str, Any]], Learner]:
    """Makes the learners of the recipe on all tasks, with all optimizers.

    Args:
      config: the configuration.
      dataset: the stacked tasks.

    Returns:
      `family(hyperparameters) -> Learner`.
    """
    names = (config.optimizer, *config.other_optimizers)
    return recipes.make_family(config, dataset, config.precision, optimizers=names)


MORCOS = "Morcos et al. 2019, arXiv 1906.02773 (abstract)"
NEAR, FAR = ("lower", "upper"), "permuted"


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.

    Raises:
      TicketError: for a run that has no tasks.
    """
    measuring.check_source(problem)
    names = list(problem.variants or {})
    tasks = [name for name in names if ", " not in name]
    near = [name for name in NEAR if name in tasks] or list(NEAR)
    of_optimizers = [
        claiming.across_optimizers(*pair, MORCOS)
        for name in names
        if name not in tasks
        for pair in ((FIRST, name), (name, FIRST))
    ]
    return [
        *lottery.exact_claims(),
        *claiming.exact_claims(),
        claiming.native_at_least_transferred(tasks, MORCOS),
        claiming.transferred_beats("shuffle_reinit", tasks, MORCOS),
        claiming.transferred_beats("reinit", tasks, claiming.OWN),
        claiming.transferred_beats("shuffle", tasks, claiming.OWN),
        *of_optimizers,
        claiming.permuted_transfers_worse(near, FAR, FIRST, claiming.OWN),
        claiming.permuted_first_layer_differs(near, FAR, FIRST),
        claiming.spread_between_tasks(tasks),
        claiming.loss_grows_with_distance(),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the transfer matrix, the exponents of all tasks, and loss against distance.

    Args:
      results: with what `measuring.measured` adds.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "transfer": plots.transfer_matrices(results),
        "exponents": plots.flow_exponents(results),
        "distance": plots.loss_against_distance(results),
        "accuracy": plots.variants_against_density(results),
    }


EXPERIMENT = Experiment(
    "universality",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    variants,
    check,
    tables,
    measuring.measured,
    make_family,
    stack,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
