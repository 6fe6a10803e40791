"""From a recipe to a learner: the network, the learning rate, the optimizer, the loss."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxticket.errors import TicketError, unknown
from jaxticket.learners import (
    Learner,
    augmentation,
    on_task,
    preprocessing,
    supervised,
)
from jaxticket.learners.losses import Loss, smoothed_cross_entropy
from jaxticket.precision import in_precision
from jaxticket.recipes.architectures import architecture, check_fit, factory
from jaxticket.recipes.checks import check_recipe, check_times, no_dropout
from jaxticket.recipes.optimization import WITH_MOMENTUM, is_known, make_optimizer, one_of
from jaxticket.recipes.recipe import Recipe
from jaxticket.recipes.schedules import SCHEDULES, warmed_up
from jaxticket.recipes.searching import steps_an_epoch
from jaxticket.recipes.step import Step
from jaxticket.types import Model

HYPERPARAMETERS = (
    "learning_rate",
    "momentum",
    "weight_decay",
    "dropout",
    "label_smoothing",
    "warmup",
    "drop_factor",
)
"""Fields of a recipe that may be an axis of a population; warm-up is then in iterations."""

Wrap = Callable[[Model, Mapping[str, Any]], Model]
"""`wrap(model, hyperparameters) -> model`, given those that are not the recipe's."""


def make_model(
    recipe: Recipe, input_shape: Sequence[int], classes: int, dropout: Any = None
) -> Model:
    """Makes the network for images of a shape.

    Args:
      recipe: names it, with its width, dropout and initializer.
      input_shape: (height, width, channels).
      classes: how many.
      dropout: in the place of the recipe's, possibly traced.

    Returns:
      The network.

    Raises:
      TicketError: if the images do not fit, or it has no dropout.

    Example:
      >>> import jax
      >>> model = make_model(Recipe(width=0.1), (8, 8, 1), 10)
      >>> model.init(jax.random.key(0))[0]["hidden_0"]["kernel"].shape
      (64, 30)
    """
    row, rate = architecture(recipe.model), recipe.dropout if dropout is None else dropout
    check_fit(recipe.model, input_shape)
    options: dict[str, Any] = {"width_multiplier": recipe.width}
    if not row.dropout and not _is_zero(rate):
        raise no_dropout(recipe.model, rate)
    if recipe.initializer is not None:
        options["initializer"] = recipe.initializer
    if row.dropout:
        options["dropout_rate"] = rate
    return factory(recipe.model)(tuple(input_shape), classes, **options)


def make_family(
    recipe: Recipe,
    dataset: Any,
    precision: str = "float32",
    *,
    wrap: Wrap | None = None,
    optimizers: Sequence[str] = (),
) -> Callable[[Mapping[str, Any]], Learner]:
    """Makes the learners that a recipe describes, which differ in their hyperparameters alone.

    Args:
      recipe: the recipe.
      dataset: gives input shape, classes, steps an epoch and, if asked for, pixel mean and
        deviation. With several tasks, from `data.stacked`, the hyperparameter `task` says which
        one a network trains on.
      precision: in what the networks compute; a name of `precision.PRECISIONS`.
      wrap: makes another network of the recipe's before it is trained, such as that of a learned
        mask; hyperparameters that are not among `HYPERPARAMETERS` are its own.
      optimizers: names that the hyperparameter `optimizer` counts through; its state then holds
        those of all.

    Returns:
      `family(hyperparameters) -> Learner`: a mapping from names of `HYPERPARAMETERS` to numbers
      in the place of the recipe's, possibly traced. What is an array is not checked.

    Raises:
      TicketError: if the recipe does not fit the data; later, for a hyperparameter that is
        unknown or changes nothing.

    Example:
      >>> import jax
      >>> from jaxticket import data
      >>> family = make_family(Recipe(width=0.1), data.load("digits"))
      >>> family({"learning_rate": jax.numpy.float32(0.1)}).init(jax.random.key(0)).model_state
      {}
    """
    images = dataset.train.images
    shape, several = tuple(images.shape[-3:]), images.ndim == 5
    steps = steps_an_epoch(recipe, len(dataset.train.labels))
    made = preprocessing.by_task if several else preprocessing.by_name
    preprocess: Any = made(recipe.inputs, np.asarray(images))
    augment = augmentation.by_names(recipe.augment)

    def family(hyperparameters: Mapping[str, Any]) -> Learner:
        given = dict(hyperparameters)
        which = given.pop("optimizer", None) if optimizers else None
        task = given.pop("task", None) if several else None
        own = {} if wrap is None else _without(HYPERPARAMETERS, given)
        chosen, swept = _choose(recipe, _without(own, given))
        model = make_model(chosen, shape, dataset.classes, swept.get("dropout"))
        model = in_precision(model, precision)
        learner = supervised(
            model if wrap is None else wrap(model, own),
            _one_optimizer(chosen, steps, swept, optimizers, which),
            preprocess=preprocess(task) if several else preprocess,
            loss=_make_loss(swept.get("label_smoothing", chosen.label_smoothing)),
            augment=augment,
        )
        return on_task(learner, task) if several else learner

    family({})
    return family


def make_learner(
    recipe: Recipe,
    dataset: Any,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    precision: str = "float32",
) -> Learner:
    """Makes one learner: `make_family(recipe, dataset, precision)(hyperparameters)`.

    Args:
      recipe: the recipe.
      dataset: as in `make_family`.
      hyperparameters: as there; none if `None`.
      precision: as there.

    Returns:
      The learner.

    Raises:
      TicketError: as there.

    Example:
      >>> import jax
      >>> from jaxticket import data
      >>> make_learner(Recipe(width=0.1), data.load("digits")).init(jax.random.key(0)).model_state
      {}
    """
    return make_family(recipe, dataset, precision)(hyperparameters or {})


def make_schedule(recipe: Recipe, steps_an_epoch: int, swept: Mapping[str, Any]) -> Any:
    """Makes the learning rate over training.

    Args:
      recipe: the recipe.
      steps_an_epoch: of the training split.
      swept: numbers in the place of the recipe's, possibly traced.

    Returns:
      A schedule; a number if the rate never changes.

    Example:
      >>> make_schedule(Recipe(learning_rate=0.1), 83, {})
      0.1
    """
    rate = swept.get("learning_rate", recipe.learning_rate)
    warmup = swept.get("warmup", recipe.warmup.at(steps_an_epoch))
    if recipe.schedule == "constant" and _is_zero(warmup):
        return rate
    drops = tuple(drop.at(steps_an_epoch) for drop in recipe.drops)
    factor = swept.get("drop_factor", recipe.drop_factor)
    schedule = SCHEDULES[recipe.schedule](rate, recipe.steps.at(steps_an_epoch), drops, factor)
    return schedule if _is_zero(warmup) else warmed_up(schedule, warmup)


def _without(names: Collection[str], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in names}


def _choose(recipe: Recipe, given: dict[str, Any]) -> tuple[Recipe, dict[str, Any]]:
    """Puts Python numbers into the recipe, checks it, and leaves what may be traced."""
    idle = {
        "momentum": recipe.optimizer not in WITH_MOMENTUM,
        "drop_factor": recipe.schedule != "step",
    }
    for name in given:
        if name not in HYPERPARAMETERS:
            raise unknown("hyperparameter", name, HYPERPARAMETERS)
        if idle.get(name):
            raise TicketError(
                f"hyperparameter {name}: changes nothing with --optimizer {recipe.optimizer} and "
                f"--schedule {recipe.schedule}"
            )
    fixed: dict[str, Any] = {name: value for name, value in given.items() if is_known(value)}
    if "warmup" in fixed:
        fixed["warmup"] = Step.iterations(np.asarray(fixed["warmup"]).item())
    recipe = dataclasses.replace(recipe, **fixed)
    check_recipe(recipe)
    return recipe, {n: jnp.asarray(value) for n, value in given.items() if n not in fixed}


def _make_optimizer(
    recipe: Recipe, steps: int, swept: Mapping[str, Any]
) -> optax.GradientTransformation:
    check_times(recipe, steps)
    return make_optimizer(
        recipe.optimizer,
        make_schedule(recipe, steps, swept),
        momentum=swept.get("momentum", recipe.momentum),
        weight_decay=swept.get("weight_decay", recipe.weight_decay),
        gradient_clip=recipe.gradient_clip,
    )


def _one_optimizer(
    recipe: Recipe, steps: int, swept: Mapping[str, Any], names: Sequence[str], which: Any
) -> optax.GradientTransformation:
    """Makes the recipe's own optimizer, or the one of several that a number chooses."""
    if which is None:
        return _make_optimizer(recipe, steps, swept)
    each = [dataclasses.replace(recipe, optimizer=name) for name in names]
    return one_of([_make_optimizer(one, steps, swept) for one in each], which)


def _make_loss(rate: Any) -> Loss:
    if _is_zero(rate):
        return optax.softmax_cross_entropy_with_integer_labels
    return smoothed_cross_entropy(rate)


def _is_zero(number: Any) -> bool:
    """Says whether a number is known to be zero; one that may be traced is not."""
    return is_known(number) and number == 0
