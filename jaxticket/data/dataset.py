"""What a data set is, how its splits are made, and the error that every reader raises."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxticket.errors import TicketError
from jaxticket.types import Examples

_LARGE = 20_000
_LARGE_VALIDATION = 5_000


class DataError(TicketError):
    """One line: what was given, what was expected, and the fix.

    >>> raise DataError("no such set")
    Traceback (most recent call last):
    jaxticket.data.dataset.DataError: no such set
    """


class Dataset(NamedTuple):
    """A labelled image set in three splits, on the host as NumPy arrays.

    Attributes:
      name: the name that it was asked for by.
      train: `images: uint8[n, height, width, channels]` in 0..255, `labels: int32[n]`.
      validation: the same, for every choice that is made during an experiment.
      test: the same, for the final report only.
      classes: number of classes; the labels are 0..classes-1.
      source: where it was read from, for people, e.g. `"embedded"`.
      sha256: of the bytes of images then labels of train, validation and test.
      split: one or two sentences on how the splits were made.
    """

    name: str
    train: Examples
    validation: Examples
    test: Examples
    classes: int
    source: str
    sha256: str
    split: str


class Splits(NamedTuple):
    """Three splits and the sentence that says how they were made."""

    train: Examples
    validation: Examples
    test: Examples
    sentence: str


def shown(path: Path) -> str:
    """A path for people: the home folder as `~`, so that reports carry no user name."""
    try:
        return str(Path("~") / path.absolute().relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(path)


def one_line(error: BaseException) -> str:
    """Another library's error as one short line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def make_examples(images: NDArray[np.uint8], labels: NDArray[np.integer]) -> Examples:
    """Contiguous `uint8` images and `int32` labels, NumPy's until a learner moves them."""
    arrays: tuple[Any, Any] = (
        np.ascontiguousarray(images),
        np.ascontiguousarray(labels, dtype=np.int32),
    )
    return Examples(*arrays)


def select(examples: Examples, index: NDArray[np.integer]) -> Examples:
    """The examples at these positions."""
    return make_examples(np.asarray(examples.images)[index], np.asarray(examples.labels)[index])


def stratified_choice(labels: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """Positions of `count` examples with the class proportions of all, evenly spread in file order.

    No random numbers: the choice depends on the labels and `count` alone, so it is the same on
    every machine and for every version of NumPy. A class's share is rounded by largest remainder
    (ties to the smaller label); of its `n` examples the `k` at positions
    `floor((i + 1/2) n / k)` are chosen.

    Args:
      labels: `int[n]`, the class of each example.
      count: how many to choose, 0..n.

    Returns:
      `int64[count]`, ascending positions in `labels`.

    Raises:
      DataError: `count` is not in 0..n.

    >>> stratified_choice(np.array([0, 1, 0, 1, 0, 1, 0, 1]), 4).tolist()
    [2, 3, 6, 7]
    """
    if not 0 <= count <= len(labels):
        raise DataError(f"cannot choose {count} of {len(labels)} examples: expected 0..n")
    if count == 0:
        return np.zeros(0, np.int64)
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes * count, len(labels))
    largest = np.argsort(-remainders, kind="stable")[: count - shares.sum()]
    shares[largest] += 1
    chosen = [
        np.flatnonzero(labels == label)[(2 * np.arange(share) + 1) * size // (2 * share)]
        for label, size, share in zip(classes, sizes, shares, strict=True)
        if share
    ]
    return np.sort(np.concatenate(chosen))


def hold_out(examples: Examples, count: int) -> tuple[Examples, Examples]:
    """The examples without, and the examples of, a stratified choice of `count`."""
    chosen = stratified_choice(np.asarray(examples.labels), count)
    rest = np.setdiff1d(np.arange(len(examples.labels)), chosen)
    return select(examples, rest), select(examples, chosen)


def validation_count(train_count: int) -> int:
    """How many train examples become validation: 5,000 of more than 20,000, else one in ten.

    >>> validation_count(60_000), validation_count(20_000)
    (5000, 2000)
    """
    return _LARGE_VALIDATION if train_count > _LARGE else train_count // 10


def make_splits(official: dict[str, Examples]) -> Splits:
    """Train, validation and test from whatever official splits a set has.

    An official split is kept as it is. Without `test`, `validation` is the test split; without
    both, a fifth of train is. A missing validation split is held out of train.

    Args:
      official: examples by official split name; `train` must be there, others than `train`,
        `validation` and `test` are ignored.

    Returns:
      The three splits and the sentence that says how they were made.

    Raises:
      DataError: no train split, or too few examples for three splits.

    >>> ten = make_examples(np.zeros([10, 1, 1, 1], np.uint8), np.arange(10) % 2)
    >>> splits = make_splits({"train": ten, "test": ten})
    >>> len(splits.train.labels), len(splits.validation.labels), len(splits.test.labels)
    (9, 1, 10)
    """
    if "train" not in official:
        raise DataError(f"no train split: given {sorted(official)}, expected one named 'train'")
    train, validation = official["train"], official.get("validation")
    if "test" in official:
        test, said = official["test"], "test: the official test split"
    elif validation is not None:
        test, validation = validation, None
        said = "test: the official validation split, as there is no official test split"
    else:
        count = len(train.labels) // 5
        train, test = hold_out(train, count)
        said = f"test: {count} examples of train, stratified, as there is no official test split"
    if validation is not None:
        return Splits(train, validation, test, f"{said}; validation: the official split")
    count = validation_count(len(train.labels))
    if count == 0:
        raise DataError(f"too few train examples: given {len(train.labels)}, expected at least 10")
    train, validation = hold_out(train, count)
    chosen = f"validation: {count} examples of train, stratified and evenly spread in file order"
    return Splits(train, validation, test, f"{said}; {chosen}")


def digest(*splits: Examples) -> str:
    """The sha256 of the bytes of each split's images, then labels (little endian `int32`).

    >>> one = make_examples(np.zeros([1, 1, 1, 1], np.uint8), np.zeros(1, np.int32))
    >>> digest(one)[:16]
    '8855508aade16ec5'
    """
    sha256 = hashlib.sha256()
    for split in splits:
        sha256.update(np.ascontiguousarray(split.images, dtype=np.uint8).data)
        sha256.update(np.ascontiguousarray(split.labels, dtype="<i4").data)
    return sha256.hexdigest()


def make_dataset(name: str, splits: Splits, classes: int, source: str) -> Dataset:
    """A checked `Dataset`: images of one size, labels 0..classes-1, no empty split."""
    train, validation, test, sentence = splits
    for part, split in zip(("train", "validation", "test"), splits[:3], strict=True):
        _check_examples(f"{name} ({source}), {part}", split, np.shape(train.images)[1:], classes)
    sha256 = digest(train, validation, test)
    return Dataset(name, train, validation, test, classes, source, sha256, sentence)


def _check_examples(where: str, examples: Examples, shape: tuple[int, ...], classes: int) -> None:
    images, labels = np.asarray(examples.images), np.asarray(examples.labels)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise DataError(
            f"{where}: images are {images.dtype}{list(images.shape)}, "
            f"expected uint8[n, height, width, channels] with {list(shape)} as in train"
        )
    if len(images) != len(labels) or not len(labels):
        raise DataError(
            f"{where}: {len(images)} images and {len(labels)} labels, expected equally many, not 0"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{where}: labels {labels.min()}..{labels.max()}, expected 0..{classes - 1}; "
            "a set whose labels are withheld cannot be scored"
        )
