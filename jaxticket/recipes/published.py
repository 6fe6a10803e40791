"""The published hyperparameters, by name, each with its source and what of it is unverified."""

import dataclasses
from typing import Any

from jaxticket.errors import unknown
from jaxticket.recipes.recipe import Recipe
from jaxticket.recipes.step import Step


@dataclasses.dataclass(frozen=True)
class Published:
    """How a paper trained and pruned a network.

    Attributes:
      recipe: its numbers.
      dataset: the data, by its name in `jaxticket.data`.
      levels: how many, the dense one included.
      evaluate_every: between evaluations.
      source: paper and section, and what its words mean here.
      unverified: fields, of the recipe or of this, whose values are from memory or from a third
        party and were not read in the paper or in its authors' code.
    """

    recipe: Recipe
    dataset: str
    levels: int
    evaluate_every: Step
    source: str
    unverified: tuple[str, ...]


_2019 = "Frankle and Carbin 2019, https://arxiv.org/abs/1803.03635"
_2020 = "Frankle et al. 2020, https://arxiv.org/abs/1912.05671, table 1 (unverified)"
_OPEN_LTH = "https://github.com/facebookresearch/open_lth"

_every = Step.iterations(100)
_augment = ("flip", "crop=4")


def _steps(*iterations: int) -> tuple[Step, ...]:
    return tuple(map(Step.iterations, iterations))


def _conv(model: str, steps: int, rate: float, learning_rate: float) -> Published:
    recipe = Recipe(
        model=model,
        steps=Step.iterations(steps),
        batch_size=60,
        optimizer="adam",
        learning_rate=learning_rate,
        prune_rate=0.2,
        convolution_prune_rate=rate,
        output_prune_rate=0.1,
    )
    source = (
        f"{_2019}, figure 2 and section 3. The code of 1905.01067 has the same "
        "optimizer, batch size, learning rates and prune rates"
    )
    unverified = (
        *("inputs", "augment", "initializer", "steps", "batch_size", "optimizer"),
        *("learning_rate", "prune_rate", "convolution_prune_rate", "output_prune_rate", "levels"),
    )
    return Published(recipe, "cifar10", 25, _every, source, unverified)


_GLOBAL: dict[str, Any] = {
    "augment": _augment,
    "optimizer": "momentum",
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "schedule": "step",
    "drop_factor": 0.1,
    "scope": "global",
    "prune_rate": 0.2,
}

_UNVERIFIED_2019 = (
    *("initializer", "inputs", "augment", "steps", "batch_size", "optimizer", "learning_rate"),
    *("momentum", "weight_decay", "schedule", "drops", "drop_factor", "levels", "evaluate_every"),
)

_UNVERIFIED_2020 = (
    *("inputs", "augment", "steps", "learning_rate", "drops", "warmup", "rewind_step", "levels"),
    "evaluate_every",
)


def _2020s(name: str, model: str, rewind: int, levels: int, **options: Any) -> dict[str, Published]:
    """Makes the three recipes of a network: high, low and warmed-up learning rates."""
    recipe = Recipe(
        model=model,
        initializer="kaiming_gaussian",
        steps=Step.iterations(63_000),
        batch_size=128,
        drops=_steps(32_000, 48_000),
        rewind_step=Step.iterations(rewind),
        **(_GLOBAL | {"output_prune_rate": options["output"]}),
    )
    zero = Step.iterations(0)
    low = dataclasses.replace(recipe, learning_rate=0.01, rewind_step=zero)
    warm = dataclasses.replace(
        recipe, learning_rate=options["warm"], warmup=Step.iterations(30_000), rewind_step=zero
    )
    source = (
        f"{_2020}. Optimizer, momentum, weight decay, batch size, factor, initializer, scope and "
        f"rate are the defaults of {options['file']} in {_OPEN_LTH}, which trains for 160 epochs "
        "with drops at 80 and 120, and draws scales of normalisation from [0, 1] (one here)"
    )
    return {
        f"{name}{kind}": Published(r, "cifar10", levels, _every, source, _UNVERIFIED_2020)
        for kind, r in (("", recipe), ("-low", low), ("-warmup", warm))
    }


RECIPES: dict[str, Published] = {
    "lenet-2019": Published(
        Recipe(
            steps=Step.iterations(50_000),
            batch_size=60,
            optimizer="adam",
            learning_rate=1.2e-3,
            inputs="unit_interval",
        ),
        dataset="mnist",
        levels=20,
        evaluate_every=_every,
        source=f"{_2019}, figure 2 and section 2",
        unverified=("inputs", "levels"),
    ),
    "conv2-2019": _conv("conv_2", 20_000, 0.1, 2e-4),
    "conv4-2019": _conv("conv_4", 25_000, 0.1, 3e-4),
    "conv6-2019": _conv("conv_6", 30_000, 0.15, 3e-4),
    "resnet18-2019": Published(
        Recipe(
            model="resnet_20",
            steps=Step.iterations(30_000),
            batch_size=128,
            drops=_steps(20_000, 25_000),
            output_prune_rate=0.0,
            **_GLOBAL,
        ),
        dataset="cifar10",
        levels=20,
        evaluate_every=_every,
        source=(
            f"{_2019}, figure 2 and section 4. What the paper calls ResNet-18 is the 20-layer "
            "network for CIFAR-10 of He et al. 2016, resnet_20 here. It finds no tickets at this "
            "rate, but at 0.01, and at 0.03 with 20,000 steps of warm-up"
        ),
        unverified=_UNVERIFIED_2019,
    ),
    "vgg19-2019": Published(
        Recipe(
            model="vgg_19",
            steps=Step.epochs(160),
            batch_size=64,
            drops=(Step.epochs(80), Step.epochs(120)),
            output_prune_rate=0.0,
            **_GLOBAL,
        ),
        dataset="cifar10",
        levels=20,
        evaluate_every=_every,
        source=(
            f"{_2019}, figure 2 and section 4: 112,000 iterations, which are 160 epochs of 45,000 "
            "images. It finds tickets at 0.01, and at 0.1 with 10,000 steps of warm-up"
        ),
        unverified=_UNVERIFIED_2019,
    ),
    **_2020s("resnet20-2020", "resnet_20", 500, 16, output=0.1, warm=0.03, file="cifar_resnet.py"),
    **_2020s("vgg16-2020", "vgg_16", 1_000, 22, output=0.0, warm=0.1, file="cifar_vgg.py"),
}
"""Published recipes, by network and year; those of 2020 also -low and -warmup."""


def by_name(name: str) -> Published:
    """Gives the published recipe of that name.

    Args:
      name: a key of `RECIPES`.

    Returns:
      The recipe, with its source.

    Raises:
      TicketError: for another name.

    Example:
      >>> str(by_name("lenet-2019").recipe.steps)
      '50000it'
    """
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
