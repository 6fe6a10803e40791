"""Did the data matter? Searches on spoiled examples: random labels, shuffled pixels, half."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.common import besides
from experiments.common.problem import Problem
from jaxticket import data, learners
from jaxticket.data import Dataset
from jaxticket.data.dataset import Splits, make_dataset, make_examples, select, stratified_choice
from jaxticket.imp import Scoring, Variant
from jaxticket.imp.spoiling import random_labels, shuffled_pixels
from jaxticket.keys import derive
from jaxticket.result import Result
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

HALF_COSTS = 0.01
"""What a mask may lose that was searched on half of the examples, stated first."""

OWN = "this project's own claim; the check is that of Su et al. 2020, arXiv 2009.11094 (unverified)"


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


def spoiled_tasks(problem: Problem, names: Sequence[str]) -> Dataset:
    """Stacks spoiled sets as tasks. What is random in them is the same for all replicates.

    Args:
      problem: with the data and the seed.
      names: of what is spoiled, in the order of the tasks.

    Returns:
      The set of all.
    """
    key = jax.random.key(problem.config.seed)
    return data.stacked([spoil(problem.dataset, name, key) for name in names])


def search(problem: Problem, chosen: Mapping[str, tuple[str, Variant]]) -> Result:
    """Searches as a problem does, on spoiled data; all searches are one population.

    Args:
      problem: how networks train and are pruned.
      chosen: by the name of each search, what is spoiled and what it does in its own way.

    Returns:
      What was found, a variant each. Examples that a criterion scores with are drawn from the
      spoiled ones, without balance between classes, which tasks do not share.
    """
    names = list(dict.fromkeys(name for name, _ in chosen.values()))

    def family(given: Mapping[str, Any]) -> learners.Learner:
        return learners.on_task(problem.family(given.get("own", {})), given.get("task", 0))

    number = problem.config.scoring_examples
    variants = {
        label: _on_task(names.index(name), variant, number)
        for label, (name, variant) in chosen.items()
    }
    tasks = spoiled_tasks(problem, names)
    return besides.search(problem._replace(dataset=tasks, family=family, variants=variants))


def _on_task(task: int, variant: Variant, scoring_examples: int) -> Variant:
    def given(hyperparameters: Any) -> Any:
        return {"own": {} if hyperparameters is None else hyperparameters, "task": task}

    retraining = variant.retraining_hyperparameters
    return dataclasses.replace(
        variant,
        hyperparameters=given(variant.hyperparameters),
        retraining_hyperparameters=retraining and given(retraining),
        scoring=Scoring((variant.scoring or Scoring(scoring_examples)).number, balanced=False),
    )
