"""From a recipe to how long a network trains and what it loses at each level."""

from collections.abc import Callable, Mapping
from functools import partial

import jax

from jaxticket import allocate
from jaxticket.allocate.base import Allocation
from jaxticket.errors import TicketError
from jaxticket.masks import ones
from jaxticket.masks.basic import leaves_by_path
from jaxticket.masks.prunable import Prunable, all_but_output, kernels, matching, path_string
from jaxticket.protocol import Protocol
from jaxticket.recipes.checks import check_times
from jaxticket.recipes.recipe import Recipe
from jaxticket.recipes.step import Step
from jaxticket.types import Params

_CONVOLUTIONS = "*convolution*"
"""All layers that are one, shortcuts included, in all networks of `jaxticket.models`."""

_BUDGETS: dict[str, Callable[[float], Allocation]] = {
    "global": allocate.globally,
    "uniform": allocate.uniform,
    "erdos_renyi": partial(allocate.erdos_renyi, kernel=False),
    "erdos_renyi_kernel": allocate.erdos_renyi,
    "layerwise_adaptive": allocate.layerwise_adaptive,
    "smart_ratio": allocate.smart_ratio,
    "per_output": allocate.per_output,
}
"""Scopes that take one rate for the whole network."""


def make_protocol(
    recipe: Recipe, examples: int, evaluate_every: Step, *, test_curves: bool = True
) -> Protocol:
    """Makes the protocol: steps, batch size, steps between evaluations, and what they measure.

    Args:
      recipe: the recipe.
      examples: size of the training split, which says what an epoch is.
      evaluate_every: between evaluations.
      test_curves: whether the test split is measured at every one; see `Protocol`.

    Returns:
      The protocol.

    Raises:
      TicketError: if it does not fit so many examples.

    Example:
      >>> make_protocol(Recipe(steps=Step.parse("2ep")), 600, Step.parse("0.5ep"))
      Protocol(steps=20, batch_size=60, evaluate_every=5, test_curves=True)
    """
    steps = steps_an_epoch(recipe, examples)
    check_times(recipe, steps)
    every = evaluate_every.at(steps)
    if every < 1:
        raise TicketError(f"--evaluate-every: got {evaluate_every}, expected at least an iteration")
    return Protocol(recipe.steps.at(steps), recipe.batch_size, every, test_curves)


def steps_an_epoch(recipe: Recipe, examples: int) -> int:
    """Counts the whole batches of an epoch, by which every `Step.at` is read.

    Args:
      recipe: gives the batch size.
      examples: size of the training split.

    Returns:
      The number of steps.

    Raises:
      TicketError: if not even one batch fits.

    Example:
      >>> steps_an_epoch(Recipe(batch_size=60), 5_000)
      83
    """
    return Protocol(1, recipe.batch_size, 1).steps_an_epoch(examples)


def make_allocation(
    recipe: Recipe, shapes: Params, costs: Mapping[str, int] | None = None
) -> Allocation:
    """Makes the allocation: how many weights go at each level, and from where.

    Args:
      recipe: scope and rates.
      shapes: params of the network, or their shapes.
      costs: what a weight costs, by the leaf's path, from `structure.multiplications`; needed
        under the scope multiplications only.

    Returns:
      The allocation.

    Raises:
      TicketError: for a rate outside (0, 1), and for a scope whose costs are missing.

    Example:
      >>> shapes = {"output": {"kernel": jax.ShapeDtypeStruct((4, 3), "float32")}}
      >>> from jaxticket import masks
      >>> make_allocation(Recipe(), shapes).schedule(masks.ones(shapes), 2)[1]
      {'output/kernel': 11}
    """
    if recipe.scope in _BUDGETS:
        return _BUDGETS[recipe.scope](recipe.prune_rate)
    if recipe.scope == "multiplications":
        return allocate.by_cost(recipe.prune_rate, _costs(recipe, shapes, costs))
    leaves, _ = jax.tree_util.tree_flatten_with_path(shapes)
    convolves = any(matching(_CONVOLUTIONS)(path_string(path), leaf) for path, leaf in leaves)
    rates = {"*": recipe.prune_rate}
    if recipe.convolution_prune_rate is not None and convolves:
        rates[_CONVOLUTIONS] = recipe.convolution_prune_rate
    if recipe.output_prune_rate:
        rates["output/*"] = recipe.output_prune_rate
    return allocate.layerwise(rates)


def _costs(recipe: Recipe, shapes: Params, costs: Mapping[str, int] | None) -> Mapping[str, int]:
    """Gives the costs of what is prunable."""
    if costs is None:
        raise TicketError(
            "scope multiplications: got no costs, expected those of structure.multiplications"
        )
    prunable = leaves_by_path(ones(shapes, make_prunable(recipe)))
    return {path: costs[path] for path, _ in prunable if path in costs}


def make_prunable(recipe: Recipe) -> Prunable:
    """Says which leaves may be pruned: all kernels, without the output layer's at rate 0.

    Args:
      recipe: gives the output layer's rate.

    Returns:
      The predicate.

    Example:
      >>> import numpy as np
      >>> make_prunable(Recipe(output_prune_rate=0.0))("output/kernel", np.ones((2, 2)))
      False
    """
    return kernels if recipe.output_prune_rate else all_but_output
