"""Do winning tickets exist? LeNet-300-100 and iterative magnitude pruning, with controls.

Claim: dense networks contain sparse subnetworks that, trained alone from their original
initialisation, learn at least as fast and reach at least the same accuracy; from another
initialisation, or with the same mask shuffled, they do not.

Paper: Frankle & Carbin, "The Lottery Ticket Hypothesis", ICLR 2019, arXiv 1803.03635, section 2.

Command: `python -m experiments.lenet`

Presets:
  default  5,000 embedded Fashion-MNIST images, 16 levels, 5 arms, 5 replicates: 380 networks;
           minutes on two cores. No paper number exists for this set: the claims are about
           differences.
  smoke    digits, 3 levels, 2 replicates; seconds; only the exact claims mean anything.
  paper    the published protocol: MNIST, 50,000 steps of batch 60, Adam 1.2e-3, Gaussian
           Glorot, 20 levels: 480 networks, 24.0 million ticket-steps, evaluation not counted.
  rates    four learning rates as one population, five levels: 420 networks.
  optimizers  three optimizers at three learning rates each, likewise: 945 networks.
  strategies  strategy 2 beside strategy 1, likewise: prune what was trained on, and reset the
           weights for the ticket alone: 245 networks.
  prune_rates  the published rate of pruning and twice it, ten levels as one population: 455
           networks.
  weight_decays  no weight decay and two published ones, five levels likewise: 315 networks.

LeNet on MNIST is stable to the order of its data from initialisation on (1912.05671), so nothing
here says anything of rewinding to later steps: that is `experiments.rewinding`.

Expected on MNIST (paper): the ticket beats dense by 0.3 points and more at 13.5 %, stops 38 %
earlier at 21 %, and is back at dense accuracy at 3.6 %; reinit falls below dense at 21.1 %.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray

from experiments.common import lottery
from experiments.common.configuration import NOT_SCIENCE, Configuration, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.lenet import sweeping
from jaxticket import recipes
from jaxticket.arms import DEFAULT_ARMS
from jaxticket.learners import Learner
from jaxticket.recipes import Step
from jaxticket.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Configuration):
    """What can be chosen; the text under each field is its help on the command line."""

    preset: str = dataclasses.field(default="default", metadata=NOT_SCIENCE)
    """Where the defaults come from: default, smoke, paper, rates, optimizers, strategies,
    prune_rates or weight_decays."""
    learning_rates: tuple[float, ...] = ()
    """A sweep over learning rates, all of them one population."""
    optimizers: tuple[str, ...] = ()
    """A sweep over optimizers, each at every learning rate."""
    weight_decays: tuple[float, ...] = ()
    """A sweep over weight decays, likewise."""
    prune_rates: tuple[float, ...] = ()
    """A sweep over prune rates, likewise; the output layer's, and that of convolutions, change by
    the same factor."""
    strategies: tuple[int, ...] = ()
    """A sweep over strategies: 1 resets the weights at every level, 2 trains on, and its tickets
    are the arm rewound."""


DEFAULT = Config()
_COARSE: dict[str, Any] = {"levels": 5, "prune_rate": 0.4, "output_prune_rate": 0.2}
"""Few levels, of which the last keeps 13.1 %: sweeps have many networks at each."""
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        replicates=2,
        levels=3,
        steps=Step.iterations(60),
        evaluate_every=Step.iterations(20),
    ),
    "paper": published(DEFAULT, "lenet-2019"),
    "rates": dataclasses.replace(
        DEFAULT,
        preset="rates",
        **_COARSE,
        learning_rates=(2e-4, 6e-4, 2e-3, 6e-3),
    ),
    "optimizers": dataclasses.replace(
        DEFAULT,
        preset="optimizers",
        **_COARSE,
        learning_rates=(2e-3, 2e-2, 2e-1),
        optimizers=("adam", "sgd", "momentum"),
    ),
    "strategies": dataclasses.replace(
        DEFAULT,
        preset="strategies",
        **_COARSE | {"arms": (*DEFAULT_ARMS, "rewound")},
        strategies=(1, 2),
    ),
    # Both come to 13 % of the weights: the published rate at the last level, the other at half.
    "prune_rates": dataclasses.replace(
        DEFAULT, preset="prune_rates", levels=10, prune_rates=(0.2, 0.4)
    ),
    # None as in 1803.03635, and those of 2106.06955 and 1912.05671 for ResNet-20.
    "weight_decays": dataclasses.replace(
        DEFAULT, preset="weight_decays", **_COARSE, weight_decays=(0.0, 1e-5, 1e-4)
    ),
}


def make_family(config: Config, dataset: Any) -> Callable[[Mapping[str, Any]], Learner]:
    """Makes the learners of the recipe, with all optimizers of a sweep.

    Args:
      config: the configuration.
      dataset: what is trained on.

    Returns:
      `family(hyperparameters) -> Learner`.
    """
    return recipes.make_family(config, dataset, config.precision, optimizers=config.optimizers)


def claims(problem: Problem) -> list[Any]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    swept = sweeping.variants(problem)
    if swept is None:
        return [*lottery.exact_claims(), *_claims_of_one_search()]
    of_each = [
        lottery.of_variant(claim, name)
        for name, variant in swept.items()
        if variant.retraining in (None, "weights")
        for claim in (lottery.matches_dense(13.5), lottery.beats("reinit", 13.5))
    ]
    strategies = [lottery.first_strategy_matches(13.5)] if problem.config.strategies else []
    return [
        *lottery.exact_claims(),
        *of_each,
        *sweeping.claims_of_prune_rates(problem),
        *strategies,
    ]


PAPER = {
    "ticket-matches-dense-13.5": "0.3 points and more, MNIST",
    "ticket-beats-reinit-13.5": "0.5 points at 21.1 %, MNIST",
    "ticket-falls-below-dense-later": "2.9 % against 21.1 %, MNIST",
    "ticket-stops-before-dense-21.1": "38 % earlier, MNIST",
    "ticket-stops-before-reinit-21.1": "2.51 times earlier, MNIST",
    "iterative-matches-oneshot-5": "as accurate as dense down to 3.6 % against 5.17 %, MNIST",
}
"""The paper's numbers, section 2, by claim; its data set is not the default's."""


def _claims_of_one_search() -> list[Any]:
    claims = [
        lottery.matches_dense(13.5),
        lottery.beats("reinit", 13.5),
        lottery.beats("reinit", 3.6),
        lottery.beats("shuffle", 13.5),
        lottery.beats("shuffle", 3.6),
        lottery.falls_below_later(3),
        lottery.stops_before("ticket", 0, 21.1),
        lottery.stops_before("reinit", None, 21.1),
        lottery.beats_oneshot(5.0),
    ]
    return [claim._replace(paper=PAPER.get(claim.id)) for claim in claims]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the paper's figures.

    Args:
      results: all curves.
      result: masks, for the picture of the first layer.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    if "variant" in results.dims:
        return {
            "tickets": plots.variants_against_density(results),
            "early_stop": plots.variants_against_density(results, None),
        }
    figures = {
        "tickets": plots.both_against_density(results),
        "learning_curves": plots.learning_curves(results),
        "accuracy": plots.accuracy_against_density(results),
        "early_stop": plots.early_stop_against_density(results),
        "layer_densities": plots.layer_densities(results),
    }
    # Another network's first layer need not have a weight for every pixel.
    if "hidden_0" in result.network("ticket", 0, 0).mask:
        figures["first_layer_masks"] = _draw_masks(results, result)
    return figures


def _draw_masks(results: xarray.Dataset, result: Result) -> "Figure":
    from jaxticket import plots

    levels = sorted({0, result.levels // 3, 2 * result.levels // 3, result.levels - 1})
    pictures = {
        f"{100 * results['density'].values[level]:.1f} %": result.network("ticket", level, 0).mask[
            "hidden_0"
        ]["kernel"]
        for level in levels
    }
    pixels = next(iter(pictures.values())).shape[0]
    side = int(np.sqrt(pixels))
    return plots.mask_images(pictures, (side, side) if side**2 == pixels else (pixels, 1))


EXPERIMENT = Experiment(
    "lenet",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    sweeping.variants,
    sweeping.check,
    make_family=make_family,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
