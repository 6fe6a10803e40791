"""Data sets as tasks: made comparable, and stacked so that one population trains on several."""

import math
from collections.abc import Callable, Sequence

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket.data.dataset import (
    DataError,
    Dataset,
    Splits,
    digest,
    make_dataset,
    make_examples,
    select,
    stratified_choice,
)
from jaxticket.types import Examples

_SPLITS = ("train", "validation", "test")


def stacked(datasets: Sequence[Dataset]) -> Dataset:
    """Stacks data sets as tasks: row i holds example i of each of them.

    All tasks get the same number of rows in a split, so that epochs are equally long. The largest
    set is taken once and every smaller one c = ⌈largest / size⌉ times, each as many of its
    examples as then fit, chosen evenly and with its proportions of classes: within a split, every
    example of a task stands in it equally often, so that means over rows are means over examples.

    Args:
      datasets: with images of one shape, at least one. They share their outputs: a task with
        fewer classes leaves the others' unused.

    Returns:
      The set of all: images `uint8[n, tasks, height, width, channels]`, labels `int32[n, tasks]`.
      `recipes.make_family` trains on it by the hyperparameter `task`, `learners.on_task` anything
      else.

    Raises:
      DataError: none is given, shapes differ, or the sizes have no common multiple that fits.

    >>> from jaxticket import data
    >>> digits = data.load("digits")
    >>> both = stacked([digits, only_classes(digits, (0, 1))])
    >>> both.train.images.shape, both.train.labels.max(axis=0).tolist()
    ((1254, 2, 8, 8, 1), [9, 1])

    Source: this project's definition.
    """
    if not datasets:
        raise DataError("tasks: got none, expected at least one data set")
    shapes = {dataset.name: dataset.train.images.shape[1:] for dataset in datasets}
    if len(set(shapes.values())) > 1:
        described = ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
        raise DataError(f"tasks: got images of {described}, expected one shape; use data.resized")
    splits = {split: _rows([getattr(one, split) for one in datasets]) for split in _SPLITS}
    kept = ", ".join(str(len(np.unique(places))) for places in splits["train"][1])
    return Dataset(
        name=" + ".join(dataset.name for dataset in datasets),
        **{split: examples for split, (examples, _) in splits.items()},
        classes=max(dataset.classes for dataset in datasets),
        source="; ".join(dict.fromkeys(dataset.source for dataset in datasets)),
        sha256=digest(*(examples for examples, _ in splits.values())),
        split=f"tasks stacked, with {kept} different training examples, smaller sets repeated",
    )


def unstacked(dataset: Dataset, task: int) -> Dataset:
    """Gives one task of stacked data sets alone, with the rows that it has there.

    Args:
      dataset: from `stacked`.
      task: its place.

    Returns:
      The set, with images `uint8[n, height, width, channels]`.

    >>> from jaxticket import data
    >>> unstacked(stacked([data.load("digits")]), 0).test.images.shape
    (360, 8, 8, 1)
    """

    def own(split: Examples) -> Examples:
        return make_examples(np.asarray(split.images)[:, task], np.asarray(split.labels)[:, task])

    return _each_split(dataset, f"task {task} of {dataset.name}", own)


def resized(dataset: Dataset, height: int, width: int, method: str = "linear") -> Dataset:
    """Resizes all images, so that sets of different sizes are tasks of one network.

    Args:
      dataset: any.
      height: of the new images, in pixels.
      width: likewise.
      method: of `jax.image.resize`: "linear" (antialiased where it shrinks), "nearest", "cubic" ...

    Returns:
      The set, pixels rounded to whole numbers 0..255.

    Raises:
      DataError: for sizes that are not positive or an unknown method.

    >>> from jaxticket import data
    >>> resized(data.load("digits"), 28, 28).train.images.shape
    (1257, 28, 28, 1)
    """
    if min(height, width) < 1:
        raise DataError(f"resized: got {height} x {width} pixels, expected at least 1 x 1")

    def resize(images: np.ndarray) -> np.ndarray:
        shape = (len(images), height, width, images.shape[-1])
        try:
            smooth = jax.image.resize(images.astype(np.float32), shape, method)
        except ValueError as error:
            raise DataError(f"resized: got method {method!r}, which jax.image refuses") from error
        return np.clip(np.rint(np.asarray(smooth)), 0, 255).astype(np.uint8)

    return _changed(dataset, f"{dataset.name} at {height} x {width} ({method})", resize)


def only_classes(dataset: Dataset, classes: Sequence[int]) -> Dataset:
    """Keeps some classes, relabelled by their place: labels are 0..len(classes) − 1.

    Args:
      dataset: any.
      classes: labels, each once. The set still has as many outputs as before, so that it can be a
        task beside the whole one: those past the last label are never right.

    Returns:
      The set of the examples of these classes, in their order.

    Raises:
      DataError: for classes that are not there, or given twice.

    >>> from jaxticket import data
    >>> half = only_classes(data.load("digits"), range(5, 10))
    >>> np.unique(half.train.labels).tolist(), half.classes
    ([0, 1, 2, 3, 4], 10)
    """
    chosen = [int(label) for label in classes]
    strange = [label for label in chosen if not 0 <= label < dataset.classes]
    if strange or not chosen or len(set(chosen)) < len(chosen):
        raise DataError(
            f"{dataset.name}: got classes {chosen}, expected different ones of "
            f"0..{dataset.classes - 1}"
        )
    place = np.full(dataset.classes, -1, np.int32)
    place[chosen] = np.arange(len(chosen))

    def keep(examples: Examples) -> Examples:
        labels = place[np.asarray(examples.labels)]
        return make_examples(np.asarray(examples.images)[labels >= 0], labels[labels >= 0])

    return _each_split(dataset, f"{dataset.name} classes {chosen}", keep)


def permuted(dataset: Dataset, key: PRNGKeyArray) -> Dataset:
    """Puts the pixels of all images in one other order, the same in every image and split.

    Each pixel keeps its channels together. Without convolutions the task is exactly as hard as
    before, and what a first layer knows of places is of no use.

    Args:
      dataset: any.
      key: decides the order.

    Returns:
      The set.

    >>> from jaxticket import data
    >>> digits = data.load("digits")
    >>> other = permuted(digits, jax.random.key(0))
    >>> bool((np.sort(other.train.images, 2) == np.sort(digits.train.images, 2)).all())
    False
    >>> int(other.train.images.sum()) == int(digits.train.images.sum())
    True
    """
    pixels = int(np.prod(dataset.train.images.shape[1:3]))
    order = np.asarray(jax.random.permutation(key, np.arange(pixels, dtype=np.int32)))

    def permute(images: np.ndarray) -> np.ndarray:
        flat = images.reshape(len(images), pixels, images.shape[-1])
        return flat[:, order].reshape(images.shape)

    return _changed(dataset, f"{dataset.name}, pixels permuted", permute)


def _changed(dataset: Dataset, name: str, change: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """Changes the images of every split."""

    def changed(split: Examples) -> Examples:
        return make_examples(change(np.asarray(split.images)), np.asarray(split.labels))

    return _each_split(dataset, name, changed)


def _each_split(dataset: Dataset, name: str, change: Callable[[Examples], Examples]) -> Dataset:
    train, validation, test = map(change, (dataset.train, dataset.validation, dataset.test))
    splits = Splits(train, validation, test, dataset.split)
    return make_dataset(name, splits, dataset.classes, dataset.source)


def _rows(parts: Sequence[Examples]) -> tuple[Examples, list[np.ndarray]]:
    """Stacks one split of all tasks; gives the places of each task's examples too."""
    sizes = [len(part.labels) for part in parts]
    largest = max(sizes)
    copies = [-(-largest // size) for size in sizes]
    number = largest - largest % math.lcm(*copies)
    if number == 0:
        raise DataError(
            f"tasks: got splits of {sizes} examples, expected sizes that repeat to about the "
            "largest; leave out the smallest"
        )
    places = [
        np.tile(stratified_choice(np.asarray(part.labels), number // times), times)
        for part, times in zip(parts, copies, strict=True)
    ]
    chosen = [select(part, rows) for part, rows in zip(parts, places, strict=True)]
    images = np.stack([np.asarray(part.images) for part in chosen], axis=1)
    labels = np.stack([np.asarray(part.labels) for part in chosen], axis=1)
    return make_examples(images, labels), places
