"""The tasks between which tickets are transferred."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxticket import data
from jaxticket.data import Dataset
from jaxticket.data.dataset import Splits, make_dataset, select, stratified_choice
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.types import Examples

Make = Callable[[Dataset, Any], Dataset]

OF_THE_SET: dict[str, Make] = {
    "whole": lambda dataset, key: dataset,
    "lower": lambda dataset, key: data.only_classes(dataset, range(dataset.classes // 2)),
    "upper": lambda dataset, key: data.only_classes(
        dataset, range(dataset.classes // 2, dataset.classes)
    ),
    "permuted": lambda dataset, key: data.permuted(dataset, derive(key, "pixels")),
}
"""Tasks that are made of the data set of the run; any other name is a data set of its own."""

FIRST = "whole"
"""The task that others are compared with, and on which optimizers are."""


def paths_of(config: Any) -> dict[str, Path]:
    """Reads where the data sets of tasks are.

    Args:
      config: its `task_paths`.

    Returns:
      Folders by name.

    Raises:
      TicketError: for what is no name and folder, or a name that is there twice.
    """
    pairs = [one.partition("=") for one in config.task_paths]
    bad = [one for one, pair in zip(config.task_paths, pairs, strict=True) if not all(pair)]
    if bad:
        raise TicketError(
            f"--task-paths: got {bad[0]!r}, expected a name and a folder, such as mnist=/data/mnist"
        )
    found = {name: Path(folder) for name, _, folder in pairs}
    if len(found) < len(pairs):
        raise TicketError("--task-paths: got a name twice, expected every one once")
    return found


def with_optional(config: Any) -> Any:
    """Adds the tasks that are wanted only where their data are on this machine, or a path is given.

    Args:
      config: the configuration, its `tasks` and `optional_tasks`.

    Returns:
      The configuration with all of its tasks in `tasks`, of which the run's hash is made.

    Raises:
      TicketError: for an unknown data set.
    """
    paths, own = paths_of(config), (*config.tasks, config.dataset)
    others = [name for name in config.optional_tasks if name not in own]
    there = tuple(name for name in others if name in paths or data.is_there(name))
    return dataclasses.replace(config, tasks=(*config.tasks, *there), optional_tasks=())


def stack(config: Any, dataset: Dataset) -> Dataset:
    """Makes the tasks of a configuration and stacks them.

    Other data sets are resized to the images of the run's, and cut to as many where they have more.

    Args:
      config: says which, where they are, and where random pixels come from.
      dataset: of the run.

    Returns:
      All of them as one, in the order of the configuration.

    Raises:
      TicketError: for images with other channels.
    """
    key, paths = jax.random.key(config.seed), paths_of(config)

    def make(name: str) -> Dataset:
        if name in OF_THE_SET:
            return OF_THE_SET[name](dataset, key)
        return _like(data.load(name, path=paths.get(name), download=config.download), dataset)

    return data.stacked([make(name) for name in config.tasks])


def _like(other: Dataset, dataset: Dataset) -> Dataset:
    """Makes another data set a task beside the run's."""
    height, width, channels = dataset.train.images.shape[1:]
    given = other.train.images.shape[-1]
    if given != channels:
        raise TicketError(
            f"--tasks {other.name}: got images of {given} channel(s), expected {channels}, as "
            f"those of {dataset.name}"
        )
    other = _no_larger(other, dataset)
    same = np.array_equal(other.train.images.shape[1:3], (height, width))
    return other if same else data.resized(other, height, width)


def _no_larger(other: Dataset, dataset: Dataset) -> Dataset:
    """Leaves a set as it is, or takes as many examples as the run's has, classes in proportion."""

    def cut(examples: Examples, like: Examples) -> Examples:
        labels, most = np.asarray(examples.labels), len(like.labels)
        return select(examples, stratified_choice(labels, min(len(labels), most)))

    names = ("train", "validation", "test")
    each = [(getattr(other, name), getattr(dataset, name)) for name in names]
    if all(len(examples.labels) <= len(like.labels) for examples, like in each):
        return other
    train, validation, test = (cut(*pair) for pair in each)
    name = f"{other.name}, {len(train.labels)} training examples"
    splits = Splits(train, validation, test, other.split)
    return make_dataset(name, splits, other.classes, other.source)
