"""Whether a recipe makes sense: everything that can be told before data are read."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from jaxticket import models
from jaxticket.allocate.rates import check_rate
from jaxticket.errors import TicketError, unknown
from jaxticket.learners import augmentation, preprocessing
from jaxticket.recipes.architectures import ARCHITECTURES, architecture
from jaxticket.recipes.optimization import make_optimizer
from jaxticket.recipes.recipe import Recipe
from jaxticket.recipes.schedules import SCHEDULES
from jaxticket.recipes.step import Step

SCOPES = (
    "layerwise",
    "global",
    "uniform",
    "erdos_renyi",
    "erdos_renyi_kernel",
    "layerwise_adaptive",
    "smart_ratio",
    "per_output",
    "multiplications",
)
"""Where weights compete: within their layer, each at a rate for its kind; in the whole network; or
by one of the other budgets of `jaxticket.allocate`, at one rate for the whole network."""


def check_recipe(recipe: Recipe) -> None:
    """Checks everything that can be checked without data.

    Args:
      recipe: the recipe.

    Raises:
      TicketError: one line on the first thing that is wrong, with its option.

    Example:
      >>> check_recipe(Recipe(model="resnet_20", batch_size=1))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: --batch-size: got 1, expected at least 2 for resnet_20, whose \
batch normalisation would subtract an example from itself
    """
    _check_model(recipe)
    _check_examples(recipe)
    _check_learning_rate(recipe)
    check_times(recipe)
    _check_pruning(recipe)


def check_times(recipe: Recipe, steps_an_epoch: int | None = None) -> None:
    """Checks that drops, warm-up and rewind step lie within training.

    Args:
      recipe: the recipe.
      steps_an_epoch: what epochs are compared with iterations by; `None` leaves that out.

    Raises:
      TicketError: one line on the first that does not.

    Example:
      >>> check_times(Recipe(steps=Step.parse("3ep"), warmup=Step.parse("4ep")))
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: --warmup: got 4ep, expected at most the 3ep of training
    """
    end = recipe.steps
    if not _before(Step.iterations(0), end, steps_an_epoch):
        raise TicketError(f"--steps: got {end}, expected at least one iteration")
    times = (Step.iterations(0), *recipe.drops, end)
    if not all(_before(a, b, steps_an_epoch) for a, b in pairwise(times)):
        given = " ".join(map(str, recipe.drops))
        raise TicketError(
            f"--drops: got {given}, expected them to increase and to end before {end}"
        )
    if _before(end, recipe.warmup, steps_an_epoch, unknown=False):
        raise TicketError(f"--warmup: got {recipe.warmup}, expected at most the {end} of training")
    if not _before(recipe.rewind_step, end, steps_an_epoch):
        raise TicketError(
            f"--rewind-step: got {recipe.rewind_step}, expected one before the {end} of training"
        )


def _before(first: Step, second: Step, steps_an_epoch: int | None, *, unknown: bool = True) -> bool:
    """Says whether a step is before another, `unknown` where only the data can tell."""
    if steps_an_epoch is not None:
        return first.at(steps_an_epoch) < second.at(steps_an_epoch)
    if first.unit == second.unit or 0 in (first.amount, second.amount):
        return first.amount < second.amount
    return unknown


def _check_model(recipe: Recipe) -> None:
    row = architecture(recipe.model)
    _check(recipe, "width", lambda width: width > 0, "a positive number")
    _check(recipe, "dropout", lambda rate: 0 <= rate < 1, "0 to less than 1")
    if recipe.dropout and not row.dropout:
        raise no_dropout(recipe.model, recipe.dropout)
    if recipe.initializer is not None:
        # A network of one weight, which knows all names.
        models.mlp((1,), (), 1, initializer=recipe.initializer)
    if row.batch_norm and recipe.batch_size == 1:
        raise TicketError(
            f"--batch-size: got 1, expected at least 2 for {recipe.model}, whose batch "
            "normalisation would subtract an example from itself"
        )


def no_dropout(model: str, rate: Any) -> TicketError:
    """The error for dropout on a network without it.

    Args:
      model: its name.
      rate: what was given.

    Returns:
      The error, to be raised by the caller.

    Example:
      >>> print(no_dropout("vgg_16", 0.5))
      --dropout: got 0.5 for vgg_16, which has none; choose lenet_300_100, lenet_5, conv_2, \
conv_4, conv_6 or vision_transformer_tiny
    """
    *names, last = (name for name, row in ARCHITECTURES.items() if row.dropout)
    return TicketError(
        f"--dropout: got {rate} for {model}, which has none; choose {', '.join(names)} or {last}"
    )


def _check_examples(recipe: Recipe) -> None:
    preprocessing.check_name(recipe.inputs)
    augmentation.by_names(recipe.augment)
    _check(recipe, "label_smoothing", lambda rate: 0 <= rate < 1, "0 to less than 1")
    _check(recipe, "batch_size", lambda size: size >= 1, "at least 1")


def _check_learning_rate(recipe: Recipe) -> None:
    make_optimizer(
        recipe.optimizer,
        recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        gradient_clip=recipe.gradient_clip,
    )
    if recipe.schedule not in SCHEDULES:
        raise unknown("schedule", recipe.schedule, SCHEDULES)
    if recipe.drops and recipe.schedule != "step":
        raise TicketError(
            f"--drops: got {' '.join(map(str, recipe.drops))} with --schedule {recipe.schedule}, "
            "which has none; choose --schedule step"
        )
    if recipe.schedule == "step" and not recipe.drops:
        raise TicketError("--drops: got none with --schedule step, expected some, such as 80ep")
    _check(recipe, "drop_factor", lambda factor: factor > 0, "a positive number")


def _check_pruning(recipe: Recipe) -> None:
    if recipe.scope not in SCOPES:
        raise unknown("scope", recipe.scope, SCOPES)
    check_rate("--prune-rate", recipe.prune_rate)
    if recipe.output_prune_rate:
        check_rate("--output-prune-rate", recipe.output_prune_rate)
    rate = recipe.convolution_prune_rate
    if rate is None:
        return
    check_rate("--convolution-prune-rate", rate)
    if recipe.scope != "layerwise":
        raise TicketError(
            f"--convolution-prune-rate: got {rate} with --scope {recipe.scope}, where all share "
            "--prune-rate; choose --scope layerwise"
        )
    if not architecture(recipe.model).convolutions:
        raise TicketError(
            f"--convolution-prune-rate: got {rate} for {recipe.model}, which has no convolution"
        )


def _check(recipe: Recipe, field: str, valid: Callable[[Any], bool], expected: str) -> None:
    value = getattr(recipe, field)
    if not (math.isfinite(value) and valid(value)):
        raise TicketError(f"--{field.replace('_', '-')}: got {value}, expected {expected}")
