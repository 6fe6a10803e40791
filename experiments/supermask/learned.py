"""Networks of frozen weights whose masks are learned: how they are made, trained and checked."""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from experiments.common import besides
from experiments.common.experiment import Problem
from jaxticket import criteria, learned_masks, masks, recipes
from jaxticket.analysis import at_end, at_start
from jaxticket.data import Dataset
from jaxticket.imp import Variant
from jaxticket.masks.basic import leaves_by_path
from jaxticket.recipes import Step
from jaxticket.result import Result
from jaxticket.runs import to_dataset
from jaxticket.types import Model

WEIGHTS = {"Kaiming": 0.0, "signed constant": 1.0}
"""Kinds of frozen weights, by the number that says so where both are traced."""

MIDDLE = 0.5
"""The share that the papers find best, and at which widths are compared."""

TRAINED = ("large_final_same_sign", "random")
"""Criteria of masks over θ_0 whose accuracy is read before any training."""


def make_family(config: Any, dataset: Dataset) -> Any:
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


def make_variant(kind: str, density: float) -> Variant:
    """Makes the variant of a kind of frozen weights and a share.

    Args:
      kind: a key of `WEIGHTS`.
      density: the share.

    Returns:
      The variant.
    """
    return Variant({"density": float(density), "signed_constant": WEIGHTS[kind]})


def variants(problem: Problem) -> dict[str, Variant]:
    """Lists kinds of weights and shares.

    Args:
      problem: what is run.

    Returns:
      A variant each.
    """
    pairs = itertools.product(WEIGHTS, sorted(problem.config.densities))
    return {f"{kind} {density:.1%}": make_variant(kind, density) for kind, density in pairs}


def mask_at(density: Any, params: Any, model_state: Any) -> Any:
    """Gives the mask of a network at the density at which it was learned.

    Args:
      density: the share, possibly traced.
      params: its scores.
      model_state: of the network.

    Returns:
      The mask.
    """
    return learned_masks.mask_of(_edge_popup(density), params, model_state)


def wrong_counts(problem: Problem, result: Result, variants: Mapping[str, Variant]) -> int:
    """Counts layers whose mask keeps another number than its share, rounded exactly.

    Args:
      problem: what was run.
      result: the networks.
      variants: by name, each with its density.

    Returns:
      How many, over all networks; 0 if the claim is true.
    """

    @jax.jit
    def kept(params: Any, model_state: Any, density: Any) -> Any:
        return jax.tree.map(jnp.sum, mask_at(density, params, model_state))

    wrong = 0
    for name, variant in variants.items():
        density, whole = variant.hyperparameters["density"], masks.ones(problem.shapes)
        wanted = learned_masks.counts_at(density, whole)
        for replicate in range(result.replicates):
            network = result.network("ticket", 0, replicate, name)
            found = kept(network.params, network.model_state, np.float32(density))
            by_path = leaves_by_path(found)
            wrong += sum(int(number) != wanted[path] for path, number in by_path)
    return wrong


def moved_weights(result: Result) -> int:
    """Counts frozen weights that are not where their network began.

    Args:
      result: the networks.

    Returns:
      How many, over all networks; 0 if the claim is true.
    """
    before = result.origin.rewound.model_state["mask"]["weights"]
    moved = 0
    for place, (name, replicate) in enumerate(
        itertools.product(result.variants, range(result.replicates))
    ):
        after = result.network("ticket", 0, replicate, name).model_state["mask"]["weights"]
        pairs = zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)
        moved += sum(int(np.sum(first[place] != last)) for first, last in pairs)
    return moved


def of_width(problem: Problem, width: float) -> np.ndarray:
    """Trains masks of half the weights in networks of another width.

    Args:
      problem: what is run.
      width: in the place of the configuration's.

    Returns:
      Test accuracy, `float[weights, replicates]`.
    """
    config = dataclasses.replace(problem.config, width=width, densities=(MIDDLE,))
    small = besides.with_config(problem, config, make_family)
    found = _searched(small, {kind: make_variant(kind, MIDDLE) for kind in WEIGHTS})
    return at_end(found, "test_accuracy").sel(arm="ticket", level=0).values


def untrained(problem: Problem) -> np.ndarray:
    """Trains a network, makes masks of it by criteria, and puts them over its initial weights.

    They keep 30 % of the hidden layers and 55 % of the output's, as `experiments.deconstructing`.

    Args:
      problem: what is run; the network is trained by Adam at 2e-3 for its `trained_steps`.

    Returns:
      Test accuracy before any training under the mask, `float[criteria, replicates]`.
    """
    config = dataclasses.replace(
        problem.config,
        levels=2,
        rewind_step=Step.iterations(0),
        pruning="iterative",
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
    plain = besides.with_config(problem, config)
    chosen = {name: Variant(criterion=criteria.by_name(name)) for name in TRAINED}
    found = _searched(plain, chosen)
    return at_start(found, "test_accuracy").sel(arm="ticket", level=1).values


def _searched(problem: Problem, chosen: Mapping[str, Variant]) -> xarray.Dataset:
    return to_dataset(besides.search(problem._replace(variants=chosen)))
