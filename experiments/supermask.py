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

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, two kinds of weights, eight shares,
           five replicates: 80 networks, 30 of other
           widths and 15 trained ones; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    CIFAR-10, Conv-6 (epochs, rate and batch are unverified): 120 networks, 9.0 million
           network-steps, and 40 of other widths and 15 trained ones.

Expected on ImageNet (paper): ResNet-50 with 30 % of its weights kept has 68.6 % over signed
constants and 61.7 % over Kaiming normal weights; on MNIST 86 % untrained with
large_final_same_sign.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray
from rich.console import RenderableType

from experiments.common import lottery, supermasks, sweeps
from experiments.common.command_line import run_main
from experiments.common.configuration import Configuration, published
from experiments.common.experiment import Experiment, Problem, make_problem, run
from jaxticket import criteria, find_tickets, learned_masks, masks, recipes
from jaxticket.analysis import Claim, at_end, at_start
from jaxticket.data import Dataset
from jaxticket.errors import TicketError
from jaxticket.imp import Variant
from jaxticket.masks.basic import leaves_by_path
from jaxticket.recipes import Step, make_prunable
from jaxticket.records import Result
from jaxticket.runs import to_dataset
from jaxticket.types import Model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WEIGHTS = {"Kaiming": 0.0, "signed constant": 1.0}
"""Kinds of frozen weights, by the number that says so where both are traced."""

MIDDLE = 0.5
"""The share that the papers find best, and at which widths are compared."""


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
    """Between evaluations."""
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
        widths=(0.05,),
        trained_steps=Step.iterations(20),
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
    """Refuses shares and widths that cannot be, and levels.

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
    if config.levels != 1 or config.arms != ("ticket",):
        raise TicketError(
            f"--levels {config.levels} --arms {' '.join(config.arms)}: expected 1 and ticket, "
            "since masks are learned, not pruned"
        )


def make_family(config: Config, dataset: Dataset) -> Any:
    """Makes the learners of scores, which differ in the share kept and in what is frozen.

    Args:
      config: the configuration.
      dataset: the data.

    Returns:
      `family({"density": ..., "signed_constant": 0 or 1}) -> Learner`.

    Raises:
      TicketError: for a share that leaves a layer empty.
    """

    def wrap(model: Model, hyperparameters: Mapping[str, Any]) -> Model:
        constant = np.float32(0) + hyperparameters.get("signed_constant", np.float32(0))

        def weights(key: Any, shape: Any, dtype: Any) -> Any:
            drawn = (learned_masks.KAIMING, learned_masks.signed_constant)
            kaiming, signed = (draw(key, shape, dtype) for draw in drawn)
            return jax.lax.select(constant > 0, signed, kaiming)

        density = hyperparameters.get("density", MIDDLE)
        return learned_masks.reparametrise(model, _edge_popup(density, weights))

    family = recipes.make_family(config, dataset, config.precision, wrap=wrap)
    whole = masks.ones(jax.eval_shape(family({}).init, jax.random.key(0)).params)
    for density in config.densities:
        learned_masks.counts_at(density, whole)
    return family


def _edge_popup(density: Any, weights: Any = None) -> learned_masks.LearnedMask:
    return learned_masks.edge_popup(density, weights=weights)


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists kinds of weights and shares.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    pairs = itertools.product(WEIGHTS, sorted(problem.config.densities))
    return {f"{kind} {density:.1%}": _variant(kind, density) for kind, density in pairs}


def _variant(kind: str, density: float) -> Variant:
    return Variant({"density": float(density), "signed_constant": WEIGHTS[kind]})


RAMANUJAN = "Ramanujan et al. 2020, arXiv 1911.13299"
ZHOU = "Zhou et al. 2019, arXiv 1905.01067, section 5"
ENDS, LOW, HIGH = (0.002, 1.0), 0.03, 0.9
"""Shares as good as guessing, and those between which the best must lie."""
TRAINED = ("large_final_same_sign", "random")
"""Criteria of masks over θ_0 whose accuracy is read before any training."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    config: Config = problem.config
    chance = 1 / problem.dataset.classes
    widths = sorted((config.width, *config.widths))
    kaiming, signed = WEIGHTS
    same_sign, best = supermasks.untrained(TRAINED[0]), supermasks.best(signed)
    curve, kinds, wide = (f"{RAMANUJAN}, section 4.{n} (unverified)" for n in (2, 4, 3))
    return [
        *lottery.exact_claims(),
        *_exact_claims(),
        *(claim for k in WEIGHTS for claim in supermasks.inverted_u(k, LOW, MIDDLE, HIGH, curve)),
        *(
            supermasks.chance_at(kind, end, chance, 0.1, curve)
            for kind, end in itertools.product(WEIGHTS, ENDS)
        ),
        *(supermasks.kinds_as_good(signed, kaiming, share, kinds) for share in (0.3, MIDDLE)),
        *(
            supermasks.wider_as_good(kind, more, less, wide)
            for kind in WEIGHTS
            for less, more in itertools.pairwise(widths)
        ),
        supermasks.far_above(best, f"the best mask over {signed}", 0.8, RAMANUJAN, "none"),
        supermasks.far_above(same_sign, TRAINED[0], 3 * chance, ZHOU, "86 % on MNIST"),
        supermasks.more(best, f"the best mask over {signed}", same_sign, TRAINED[0], ZHOU),
    ]


def _exact_claims() -> list[Claim]:
    return [
        supermasks.none_of(
            "wrong_counts",
            "masks-keep-their-share",
            "every learned mask keeps exactly its share of every layer, by its scores",
            "contract 2",
        ),
        supermasks.none_of(
            "moved_weights",
            "weights-never-move",
            "frozen weights after training are those before it, to the bit",
            f"{RAMANUJAN}, section 3",
        ),
    ]


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds accuracies by share, by width and of masks of a trained network; counts mistakes.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with `share_accuracy`, `width_accuracy`, `untrained_accuracy`, `wrong_counts`
      and `moved_weights`.
    """
    config: Config = problem.config
    shares, kinds = sorted(config.densities), list(WEIGHTS)
    ends = at_end(results, "test_accuracy").sel(arm="ticket", level=0)
    by_share = ends.values.reshape(len(kinds), len(shares), config.replicates)
    widths = sorted((config.width, *config.widths))
    known = {config.width: by_share[:, shares.index(MIDDLE)]} if MIDDLE in shares else {}
    by_width = [known[w] if w in known else _of_width(problem, w) for w in widths]
    untrained = _untrained(problem)
    return results.assign(
        share_accuracy=(("weights", "share", "replicate"), by_share),
        width_accuracy=(("width", "weights", "replicate"), np.stack(by_width)),
        untrained_accuracy=(("criterion", "replicate"), untrained),
        wrong_counts=_wrong_counts(problem, result),
        moved_weights=_moved_weights(result),
    ).assign_coords(weights=kinds, share=shares, width=widths, criterion=list(TRAINED))


def _wrong_counts(problem: Problem, result: Result) -> int:
    """Counts layers whose mask keeps another number than its share, rounded exactly."""

    @jax.jit
    def kept(params: Any, model_state: Any, density: Any) -> Any:
        learned = _edge_popup(density)
        return jax.tree.map(jnp.sum, learned_masks.mask_of(learned, params, model_state))

    wrong = 0
    for name, variant in variants(problem).items():
        density, whole = variant.hyperparameters["density"], masks.ones(problem.shapes)
        wanted = learned_masks.counts_at(density, whole)
        for replicate in range(result.replicates):
            network = result.network("ticket", 0, replicate, name)
            found = kept(network.params, network.model_state, np.float32(density))
            by_path = leaves_by_path(found)
            wrong += sum(int(number) != wanted[path] for path, number in by_path)
    return wrong


def _moved_weights(result: Result) -> int:
    """Counts frozen weights that are not where their network began."""
    before = result.origin.rewound.model_state["mask"]["weights"]
    moved = 0
    for place, (name, replicate) in enumerate(
        itertools.product(result.variants, range(result.replicates))
    ):
        after = result.network("ticket", 0, replicate, name).model_state["mask"]["weights"]
        pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        moved += sum(int(np.sum(first[place] != last)) for first, last in pairs)
    return moved


def _of_width(problem: Problem, width: float) -> np.ndarray:
    """Trains masks of half the weights at a width: test accuracy, `float[weights, replicates]`."""
    config = dataclasses.replace(problem.config, width=width, densities=(MIDDLE,))
    small = make_problem(config, problem.dataset, make_family)
    found = _searched(small, small.family, {kind: _variant(kind, MIDDLE) for kind in WEIGHTS})
    return at_end(found, "test_accuracy").sel(arm="ticket", level=0).values


def _untrained(problem: Problem) -> np.ndarray:
    """Makes masks of a trained network: accuracy of θ_0 under them, `float[criteria, replicates]`.

    They keep 30 % of the hidden layers and 55 % of the output's, as `experiments.deconstructing`.
    """
    config = dataclasses.replace(
        problem.config,
        levels=2,
        optimizer="adam",
        learning_rate=2e-3,
        weight_decay=0.0,
        schedule="constant",
        steps=problem.config.trained_steps,
        evaluate_every=problem.config.trained_steps,
        prune_rate=0.7,
        convolution_prune_rate=None,
        output_prune_rate=0.45,
    )
    plain = make_problem(config, problem.dataset)
    chosen = {name: Variant(criterion=criteria.by_name(name)) for name in TRAINED}
    found = _searched(plain, plain.family({}), chosen)
    return at_start(found, "test_accuracy").sel(arm="ticket", level=1).values


def _searched(problem: Problem, learner: Any, chosen: Mapping[str, Variant]) -> xarray.Dataset:
    config = problem.config
    found = find_tickets(
        learner,
        problem.splits,
        jax.random.key(config.seed),
        problem.protocol,
        problem.allocation(),
        levels=config.levels,
        replicates=config.replicates,
        prunable=make_prunable(config),
        arms=("ticket",),
        variants=chosen,
        streaming=config.streaming,
    )
    return to_dataset(found)


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: kinds of weights by share and by width, and masks of a trained network.

    Args:
      results: as `measure` gives them.

    Returns:
      Rich tables.
    """
    return [*supermasks.tables(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws accuracy by share and by width, and the curves of training.

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
    variants,
    check,
    tables,
    measure,
    make_family,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""

if __name__ == "__main__":
    run_main(main)
