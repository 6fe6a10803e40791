"""Which parts of a ticket matter: zeros, signs, the mask alone? Deconstructing lottery tickets.

Claim: what matters of a ticket's initialisation is the sign of its weights; what matters of its
mask is to keep what ends large; pruning to zero is right because training moves those weights
towards zero anyway; and a mask alone, over weights that were never trained, can be far better
than chance (a supermask).

Paper: Zhou et al., "Deconstructing Lottery Tickets: Zeros, Signs, and the Supermask", NeurIPS 2019,
arXiv 1905.01067.

Command: `python -m experiments.deconstructing`

A variant is a mask criterion, an arm what becomes of the kept weights (mask-1 action) and of the
pruned ones (mask-0 action); all of them at every density are one population. The mask-0 actions are
zero, freeze_init, freeze_init_zero_mask (zero where training made a weight smaller, else frozen)
and freeze_init_zero_all (kept weights that training made smaller begin at zero, too). The default
varies one action at a time, as the paper does; the preset crossed trains every mask-1 action with
every mask-0 action under every criterion, and asks whether what holds of zeros holds under all of
them. The first evaluation of a network is its accuracy before any training: that of the supermask,
where weights are rewound.
The paper's numbers are of LeNet on MNIST; here the differences are claimed, not the numbers.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, ten criteria, thirteen arms, two
           prunings, five replicates: 1,305 networks; minutes on two cores.
  smoke    digits, two criteria, seconds; only the exact claims mean anything.
  paper    MNIST, LeNet-300-100, 20 levels at the published rates: 12,355 networks, 618 million
           network-steps.
  crossed  as the default, every pair of actions: 28 arms and the controls, 3,105 networks; more
           than twice the default's time, or `--criteria large_final` for a tenth of it.
  paper_crossed  as paper, every pair of actions: 29,455 networks, 1,473 million network-steps.

Two cores show the order of criteria and actions on one small network; the paper's convolutional
networks, and how far supermasks go there, they do not.

Expected on MNIST (paper): 86 % untrained with large_final_same_sign.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import xarray
from rich.console import RenderableType

from experiments.common import lottery, sweeps
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.deconstructing import actions
from jaxticket import criteria
from jaxticket.analysis import Claim
from jaxticket.imp import Variant
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CRITERIA = {
    "large_final": "magnitude",
    "small_final": "inverse_magnitude",
    "large_init": "magnitude_at_initialization",
    "small_init": "inverse_magnitude_at_initialization",
    "large_init_large_final": "large_initial_large_final",
    "small_init_small_final": "small_initial_small_final",
    "magnitude_increase": "magnitude_increase",
    "movement": "movement",
    "large_final_same_sign": "large_final_same_sign",
    "random": "random",
}
"""The paper's names of mask criteria, and this library's."""


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 3
    """Levels, the dense one included."""
    steps: Step = Step.iterations(240)  # noqa: RUF009
    """Training at each level, in iterations (600it) or epochs (160ep)."""
    evaluate_every: Step = Step.iterations(60)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    prune_rate: float = 0.7
    """Share of the remaining weights that goes at each level, in hidden layers."""
    output_prune_rate: float = 0.45
    """The same for the output layer."""
    arms: tuple[str, ...] = actions.LINES
    """Names from jaxticket.arms; the ticket is always trained."""
    criteria: tuple[str, ...] = tuple(CRITERIA)
    """Mask criteria by the paper's names, or by their names in jaxticket.criteria."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=2,
        steps=Step.iterations(40),
        evaluate_every=Step.iterations(20),
        arms=("ticket", "signed_constant", "frozen"),
        criteria=("large_final", "large_final_same_sign"),
    ),
    "paper": published(DEFAULT, "lenet-2019"),
    "crossed": dataclasses.replace(DEFAULT, preset="crossed", arms=actions.ALL),
    "paper_crossed": dataclasses.replace(
        published(DEFAULT, "lenet-2019", "paper_crossed"), arms=actions.ALL
    ),
}


def check(config: Config) -> None:
    """Refuses criteria that do not exist.

    Args:
      config: the configuration.

    Raises:
      TicketError: with the nearest names.
    """
    sweeps.check_some("--criteria", config.criteria)
    for name in config.criteria:
        criteria.by_name(CRITERIA.get(name, name))


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists the criteria.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    chosen: tuple[str, ...] = problem.config.criteria
    return {name: Variant(criterion=criteria.by_name(CRITERIA.get(name, name))) for name in chosen}


ZHOU = "Zhou et al. 2019, arXiv 1905.01067"
MILD, SPARSE = 30.1, 9.1
"""Densities, in percent, at which masks are compared untrained, and everything trained."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    trained = lambda variant, arm="ticket": sweeps.Cell(variant, arm)  # noqa: E731
    untrained = lambda variant: sweeps.Cell(variant, "ticket", "start")  # noqa: E731
    chance = 1 / problem.dataset.classes
    supermask, same, plain = f"{ZHOU}, section 5", "large_final_same_sign", "large_final"
    masks, signs, zeros = (f"{ZHOU}, section {n}" for n in (2, 3, 4))
    return [
        *lottery.exact_claims(),
        sweeps.more(untrained(same), untrained(plain), MILD, supermask, "86 % on MNIST"),
        sweeps.more_than(untrained(plain), chance, MILD, supermask),
        sweeps.near(untrained("random"), chance, MILD, 0.05, supermask),
        sweeps.as_good(trained("magnitude_increase"), trained(plain), SPARSE, 0.01, masks),
        sweeps.more(trained(plain), trained("small_final"), SPARSE, masks),
        sweeps.more(trained("random"), trained("small_final"), SPARSE, masks),
        sweeps.more(trained(plain), trained("random"), SPARSE, masks),
        sweeps.as_good(trained(plain, "signed_constant"), trained(plain), SPARSE, 0.01, signs),
        sweeps.as_good(trained(plain, "signed_reinit"), trained(plain), SPARSE, 0.01, signs),
        sweeps.more(trained(plain, "signed_reinit"), trained(plain, "reinit"), SPARSE, signs),
        sweeps.more(
            trained(plain, "signed_constant"),
            trained(plain, "random_signed_constant"),
            SPARSE,
            signs,
        ),
        sweeps.more(trained(plain), trained(plain, "frozen"), SPARSE, zeros),
        sweeps.as_good(trained(plain, "frozen_unless_shrunk"), trained(plain), SPARSE, 0.0, zeros),
        sweeps.as_good(
            trained(plain, "frozen_unless_shrunk_all"),
            trained(plain, "frozen_unless_shrunk"),
            SPARSE,
            actions.EQUAL,
            f"{zeros} (unverified)",
        ),
        *actions.claims(problem, plain, SPARSE),
    ]


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: criteria against arms at one density, actions crossed, before training.

    Args:
      results: all curves.

    Returns:
      Rich tables.
    """
    return [
        sweeps.variants_by_arm(actions.of_lines(results), SPARSE),
        *actions.tables(results, SPARSE),
        *actions.tables(results, MILD, "start"),
        sweeps.variants_by_density(results, "ticket", "start"),
        sweeps.variants_by_density(results, "ticket"),
    ]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws trained and untrained accuracy of all criteria and arms, and the cross if there is one.

    Args:
      results: all curves.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    chosen = [v for v in ("large_final", "random") if v in results["variant"]]
    few = actions.of_lines(results).sel(variant=chosen or results["variant"].values[:2])
    titles = {paper: f"{paper}\n({own})" for paper, own in CRITERIA.items() if own != paper}
    return {
        **actions.draw(results, MILD, SPARSE, titles),
        "supermasks": plots.variants_against_density(results, arms=["ticket"], step="start"),
        "criteria": plots.variants_against_density(results, arms=["ticket"]),
        "actions": plots.variants_against_density(few),
    }


EXPERIMENT = Experiment(
    "deconstructing", __doc__ or "", PRESETS, claims, draw, variants, check, tables
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
