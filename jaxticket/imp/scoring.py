"""Scoring examples: what criteria that need data are given, drawn for every replicate."""

import dataclasses
from typing import Any, Literal, get_args

import jax
import numpy as np

from jaxticket.errors import TicketError, unknown
from jaxticket.imp.spoiling import random_labels, shuffled_pixels
from jaxticket.keys import derive
from jaxticket.trainer.placement import as_stream
from jaxticket.types import Batch, Stream

Corruption = Literal["none", "labels", "pixels"]
"""What is spoiled in scoring examples, to see whether a criterion reads the data at all:

- `labels`: every label is drawn uniformly from the classes that are there;
- `pixels`: the pixels of every image are shuffled, those of a pixel staying together.
"""


@dataclasses.dataclass(frozen=True)
class Scoring:
    """Which training examples a criterion scores with.

    Attributes:
      number: examples a network; with `balanced` a multiple of the number of classes.
      balanced: whether every class is drawn equally often.
      share: of the training split that they are drawn from, in (0, 1], chosen at random. As many
        are drawn whatever the share; half of the data in the sense of half as many examples is
        `number` halved, with the same `share`.
      corruption: what is spoiled in them.

    Example:
      >>> Scoring(number=250).balanced
      True

    Source: ten examples a class are said to be SNIP's choice (1810.02340, unverified); random
    labels, random pixels and half of the data are the sanity checks of 2009.11094 (unverified).
    """

    number: int = 100
    balanced: bool = True
    share: float = 1.0
    corruption: Corruption = "none"


def check_scoring(scoring: Scoring, who: str = "scoring") -> None:
    """Checks what can be checked without data.

    Args:
      scoring: the choice.
      who: named in the message.

    Raises:
      TicketError: for a number below 1, a share outside (0, 1] or an unknown corruption.

    Example:
      >>> check_scoring(Scoring(100))
    """
    if scoring.number < 1:
        raise TicketError(f"{who}: got {scoring.number} examples, expected at least 1")
    if not 0 < scoring.share <= 1:
        raise TicketError(f"{who}: got share {scoring.share}, expected more than 0, at most 1")
    if scoring.corruption not in get_args(Corruption):
        raise unknown(f"corruption of {who}", scoring.corruption, get_args(Corruption))


def draw_scoring(scoring: Scoring, split: Batch | Stream, keys: jax.Array) -> Batch:
    """Draws the scoring examples of every replicate, without replacement, on the host.

    Args:
      scoring: the choice.
      split: the training split.
      keys: one a replicate, `[R]`.

    Returns:
      Examples, `[R, number, ...]`.

    Raises:
      TicketError: if there are too few examples, or classes cannot be balanced.

    Example:
      >>> from jaxticket import Examples
      >>> split = Examples(np.zeros((9, 1, 1, 1), np.uint8), np.arange(9) % 3)
      >>> drawn = draw_scoring(Scoring(6), split, jax.random.split(jax.random.key(0), 2))
      >>> np.sort(drawn.labels, axis=1).tolist()
      [[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2]]
    """
    check_scoring(scoring)
    stream = as_stream(split)
    places = np.stack([_places(scoring, split, stream.number, key) for key in keys])
    examples = stream.rows(places)
    generators = [_generator(key, scoring.corruption) for key in keys]
    if scoring.corruption == "labels":
        classes = np.unique(examples.labels)
        drawn = [
            random_labels(own, classes, by)
            for own, by in zip(examples.labels, generators, strict=True)
        ]
        return examples._replace(labels=np.stack(drawn))
    if scoring.corruption == "pixels":
        made = [
            shuffled_pixels(own, by) for own, by in zip(examples.images, generators, strict=True)
        ]
        return examples._replace(images=np.stack(made))
    return examples


def _generator(key: Any, purpose: str) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(derive(key, "scoring", purpose))))


def _places(scoring: Scoring, split: Any, number: int, key: Any) -> np.ndarray:
    generator = _generator(key, "places")
    pool = generator.permutation(number)[: round(scoring.share * number)]
    if not scoring.balanced:
        if scoring.number > len(pool):
            raise TicketError(
                f"scoring: got {scoring.number} examples, expected at most {len(pool)}: "
                f"{scoring.share:g} of the training split"
            )
        return pool[: scoring.number]
    labels = getattr(split, "labels", None)
    if labels is None:
        raise TicketError(
            "scoring: got balanced classes, expected a training split in memory with labels; "
            "choose Scoring(balanced=False)"
        )
    labels = np.asarray(labels)
    classes = np.unique(labels)
    each, rest = divmod(scoring.number, len(classes))
    by_class = [pool[labels[pool] == one][:each] for one in classes]
    fewest = min(map(len, by_class))
    if rest or fewest < each:
        raise TicketError(
            f"scoring: got {scoring.number} examples of {len(classes)} classes, expected a "
            f"multiple of {len(classes)} and at most {fewest if fewest < each else each} of each; "
            "or choose Scoring(balanced=False)"
        )
    return np.concatenate(by_class)
