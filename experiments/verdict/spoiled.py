"""Did the data matter? Masks that were searched on spoiled data, and train on the true ones."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray
from rich.table import Table

from experiments.common import besides, sweeps
from experiments.common.experiment import Problem
from experiments.verdict.sources import masks_by_level
from jaxticket import data, learners, masks
from jaxticket.analysis import at_early_stop, transfer_results
from jaxticket.data import Dataset
from jaxticket.data.dataset import Splits, make_dataset, make_examples, select, stratified_choice
from jaxticket.imp import Scoring, Variant
from jaxticket.imp.spoiling import random_labels, shuffled_pixels
from jaxticket.keys import derive
from jaxticket.records import Result
from jaxticket.transfer import Renewed, Tickets, Transfer, transfer
from jaxticket.types import Examples


def _random_labels(split: Examples, generator: np.random.Generator) -> Examples:
    labels = np.asarray(split.labels)
    drawn = random_labels(labels, np.unique(labels), generator)
    return make_examples(np.asarray(split.images), drawn)


def _random_pixels(split: Examples, generator: np.random.Generator) -> Examples:
    images = shuffled_pixels(np.asarray(split.images), generator)
    return make_examples(images, np.asarray(split.labels))


def _half(split: Examples, generator: np.random.Generator) -> Examples:
    del generator
    labels = np.asarray(split.labels)
    # Not less than half, so that all rows of the whole are filled by taking it twice.
    return select(split, stratified_choice(labels, -(-len(labels) // 2)))


SPOILED: dict[str, Callable[[Examples, np.random.Generator], Examples]] = {
    "labels": _random_labels,
    "pixels": _random_pixels,
    "half": _half,
}
"""What is done to training examples: labels drawn at random, the pixels of every image shuffled in
an order of its own, half of them left out."""

WORDS = {"labels": "random labels", "pixels": "shuffled pixels", "half": "half of the examples"}
"""What a search was given, in words."""


def spoil(dataset: Dataset, name: str, key: Any) -> Dataset:
    """Spoils the training examples of a data set.

    Args:
      dataset: the data.
      name: one of `SPOILED`.
      key: decides what is random.

    Returns:
      The set; its validation and test examples are as they were.
    """
    drawn = np.asarray(jax.random.key_data(derive(key, "spoiled", name)))
    train = SPOILED[name](dataset.train, np.random.default_rng(drawn))
    splits = Splits(train, dataset.validation, dataset.test, dataset.split)
    return make_dataset(f"{dataset.name}, {WORDS[name]}", splits, dataset.classes, dataset.source)


def search(problem: Problem, base: Variant, names: Sequence[str], levels: int) -> Result:
    """Searches as a problem does, on spoiled data; all of them are one population.

    Args:
      problem: how networks train and are pruned.
      base: what the search does in its own way.
      names: of what is spoiled.
      levels: how many.

    Returns:
      What was found, a variant for each name. Examples that a criterion scores with are drawn
      from the spoiled ones, without balance between classes, which tasks do not share.
    """
    key = jax.random.key(problem.config.seed)
    tasks = data.stacked([spoil(problem.dataset, name, key) for name in names])
    config = dataclasses.replace(problem.config, levels=levels, arms=("ticket",))

    def family(given: Mapping[str, Any]) -> learners.Learner:
        return learners.on_task(problem.family(given.get("own", {})), given.get("task", 0))

    def on_task(task: int, given: Any) -> Any:
        return {"own": {} if given is None else given, "task": task}

    number = (base.scoring or Scoring(config.scoring_examples)).number
    variants = {
        name: dataclasses.replace(
            base,
            hyperparameters=on_task(task, base.hyperparameters),
            retraining_hyperparameters=base.retraining_hyperparameters
            and on_task(task, base.retraining_hyperparameters),
            scoring=Scoring(number, balanced=False),
        )
        for task, name in enumerate(names)
    }
    here = problem._replace(config=config, dataset=tasks, family=family, variants=variants)
    return besides.search(here)


def accuracy(
    problem: Problem,
    found: Result,
    target: Result,
    rate: str,
    hyperparameters: Mapping[str, Any],
    levels: Sequence[int],
    rewind_step: int,
) -> xarray.DataArray:
    """Trains masks of spoiled data on the true ones, from the true weights at the rewind step.

    Args:
      problem: how the target's networks train.
      found: what was found on spoiled data.
      target: dense networks of the true data.
      rate: the variant of the target whose weights and hyperparameters are taken.
      hyperparameters: of that variant.
      levels: of the masks.
      rewind_step: k.

    Returns:
      Test accuracy at early stop (spoiled, level, replicate).
    """
    names, own = found.variants, target.only(rate).origin.rewound
    tile = lambda leaf: np.concatenate([np.asarray(leaf)] * len(names))  # noqa: E731
    start = jax.tree.map(tile, (own.params, own.model_state))
    tickets = Tickets(names, found.replicates, masks_by_level(found), *start)
    networks = [
        Transfer(name, rate, "ticket", level, replicate)
        for name in names
        for level in levels
        for replicate in range(found.replicates)
    ]
    given = problem.family, problem.splits, jax.random.key(problem.config.seed), problem.protocol
    moved = transfer(
        *given,
        tickets,
        target,
        networks,
        hyperparameters={rate: hyperparameters},
        renewed=Renewed(masks.matching()),
        **besides.transfer_options(problem, len(networks), rewind_step),
    )
    curves = transfer_results(moved).isel(target=0, arm=0, drop=True)
    return at_early_stop(curves, "test_accuracy").rename(source="spoiled")


def table(results: xarray.Dataset) -> Table:
    """Makes the table of what masks of spoiled data are worth.

    Args:
      results: with `spoiled_accuracy` and `ticket_accuracy` (level, replicate), NaN at levels that
        are not judged.

    Returns:
      A rich table.
    """
    found = results["spoiled_accuracy"]
    here = [n for n in range(found.sizes["level"]) if bool(np.isfinite(found.isel(level=n)).any())]
    density = results["density"].isel(variant=0).values
    rows = {"the true examples": [results["ticket_accuracy"].isel(level=n).values for n in here]}
    for name in found["spoiled"].values:
        rows[WORDS[str(name)]] = [found.sel(spoiled=name).isel(level=n).values for n in here]
    title = "test accuracy by what the mask was searched on, at dense's best rate"
    return sweeps.make_table(title, results, [f"{density[n]:.1%}" for n in here], rows)
