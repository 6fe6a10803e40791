"""Are the solutions of successive levels of pruning in one basin, and how long? Barriers, jumps.

Claim: what one level of iterative pruning trains to is connected to what the next one trains to by
a straight line without a barrier, as long as both match the dense network, and no longer; pruning
20 % of the remaining weights barely lifts the loss, pruning 90 % at once lifts it far more.
Besides: successive solutions are at a small angle where independent ones are orthogonal, and the
layers' shares of the magnitude flow as neither random nor untrained pruning makes them.

Paper: Paul et al., "Unmasking the Lottery Ticket Hypothesis", arXiv 2210.03044; angles: Maene et
al., arXiv 2106.06955; the flow: Redman et al., arXiv 2110.03210 (abstract read; conventions own).

Command: `python -m experiments.levels`; `--run DIR` measures the tickets of any finished run, of
one of several searches those of --variant.

A level matches where its test accuracy after training is, in the mean over replicates, at most
--tolerance below that of the dense network; 0.2 points, stated first (1912.05671). Matching ends
after the last level that does. Pruning is global by default, since layerwise pruning at fixed rates
moves the layers' shares by those rates. Steps are taken from what each level trained, by global
magnitude (uniformly in each layer where the run prunes by layer), and the loss is that of
--examples training images. Independent networks are replicates r and r + 1 of one level, the last
with the first, so their pairs share networks. Exponents are fitted over the levels, from the first
on, at which no flow has emptied a layer: untrained, pruning by magnitude empties the first layer at
the sparsest levels. This window was chosen after a first run, whose fit over all levels had no
exponent there; that run's other verdicts were the same.

What the default found: on this set a ticket of 0.5 % of the weights, far past the last matching
level, is still connected to the level before; the paper's boundary is that of harder tasks.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, global pruning of 20 % down to
           0.5 %, five replicates: 125 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    MNIST, the recipe lenet-2019 with global pruning, 26 levels: 130 networks, 6.5 million
           network-steps. The paper's ResNet-20 and ResNet-50 are `--run` of such a run.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import lottery
from experiments.common.configuration import ReadingOne, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.common.undefined import undefined_tables
from experiments.levels import exponents, flowing, measuring, verdicts
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(ReadingOne):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 25
    """Levels, the dense one included."""
    scope: str = "global"
    """Where weights compete: layerwise or global."""
    evaluate_every: Step = Step.iterations(200)  # noqa: RUF009
    """Training between two evaluations."""
    arms: tuple[str, ...] = ("ticket",)
    """Names from jaxticket.arms; only the ticket is measured."""
    tolerance: float = 0.002
    """What still counts as matching, as a share of test examples."""
    points: int = 15
    """Points on the line between two networks."""
    jumps: tuple[float, ...] = (0.2, 0.5, 0.8, 0.9)
    """Shares of the remaining weights that are pruned at once; the first and the last are
    compared."""
    examples: int = 1_000
    """Training examples on which the loss jumps."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=3,
        width=0.1,
        steps=Step.iterations(20),
        evaluate_every=Step.iterations(20),
        points=3,
        jumps=(0.2, 0.9),
        examples=50,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"), scope="global", levels=26, points=30, examples=10_000
    ),
}


def check(config: Config) -> None:
    """Refuses what cannot be compared.

    Args:
      config: the configuration; with `--run`, as that run was made.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    where = "" if config.run is None else f"--run {config.run}: "
    if config.levels < 3 or config.replicates < 2:
        raise TicketError(
            f"{where}--levels {config.levels} --replicates {config.replicates}: expected 3 levels "
            "and 2 replicates or more: two steps of pruning, and two independent networks"
        )
    if config.points < 2:
        raise TicketError(f"--points: got {config.points}, expected at least 2")
    if config.examples < 1:
        raise TicketError(f"--examples: got {config.examples}, expected at least 1")
    if not 0 <= config.tolerance < 1:
        raise TicketError(f"--tolerance: got {config.tolerance}, expected a share such as 0.002")
    rising = all(a < b for a, b in zip((0.0, *config.jumps), (*config.jumps, 1.0), strict=True))
    if len(config.jumps) < 2 or not rising:
        raise TicketError(
            f"--jumps: got {' '.join(map(str, config.jumps))}, expected at least two rising shares "
            "between 0 and 1"
        )


_CONNECTED = (
    "nothing else was tried. Networks of two initialisations have barriers of 14 to 22 % here, so "
    "barriers tell networks apart; successive tickets stay connected past the last matching level."
)
TRIED = {
    "separated-afterwards": _CONNECTED,
    "barrier-rises-after-matching": _CONNECTED,
    "small-steps-jump-less": "nothing else was tried. The jump of 20 % is a four-hundredth of that "
    "of 90 % at the dense network, and about a sixth of it at 10 % of the weights.",
    "inits-choose-alike": "nothing else was tried. The first layer alone shares up to four times "
    "what chance would; the total does not.",
}
"""What was tried of claims that failed at default size, by id; for the report."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    few, many = problem.config.jumps[0], problem.config.jumps[-1]
    return [
        *lottery.exact_claims(),
        verdicts.no_barrier_to_itself(),
        exponents.shares_sum_to_one(),
        exponents.no_flow_grows_everywhere(),
        verdicts.connected_while_matching(),
        verdicts.separated_afterwards(),
        verdicts.barrier_rises(),
        verdicts.small_steps_jump_less(few, many),
        verdicts.angles_are_small(),
        verdicts.inits_choose_alike(),
        exponents.random_pruning_is_marginal(problem.config.scope),
        exponents.training_flows_otherwise(),
        exponents.last_layer_is_relevant(problem.config.scope),
    ]


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds barriers, angles, overlaps and jumps of the tickets, and the flow with its nulls.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `measuring.measured` and `flowing.flows` give.
    """
    tickets = measuring.tickets_of(result)
    gaps = measuring.gaps(results, problem.config.tolerance)
    found = measuring.measured(problem, result, tickets)
    return results.assign(gaps | found | flowing.flows(problem, result, tickets))


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: every level against the one before, the flow, and what is not finite.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [verdicts.by_level(results), exponents.table(results), *undefined_tables(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws barriers, jumps, angles and the flow.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "barriers": plots.barriers_between_levels(results),
        "jumps": plots.jumps_of_steps(results),
        "angles": plots.angles_over_levels(results),
        "flow": plots.flow_diagram(results),
    }


EXPERIMENT = Experiment(
    "levels",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    check=check,
    tables=tables,
    measure=measure,
    reads=("ticket",),
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
