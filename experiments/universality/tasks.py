"""The tasks between which tickets are transferred."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxticket import data
from jaxticket.data import Dataset
from jaxticket.errors import TicketError
from jaxticket.keys import derive

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


def stack(config: Any, dataset: Dataset) -> Dataset:
    """Makes the tasks of a configuration and stacks them.

    Other data sets are resized to the images of the run's.

    Args:
      config: says which, and where random pixels come from.
      dataset: of the run.

    Returns:
      All of them as one, in the order of the configuration.

    Raises:
      TicketError: for images with other channels.
    """
    height, width, channels = dataset.train.images.shape[1:]
    key = jax.random.key(config.seed)

    def make(name: str) -> Dataset:
        if name in OF_THE_SET:
            return OF_THE_SET[name](dataset, key)
        other = data.load(name, download=config.download)
        given = other.train.images.shape[-1]
        if given != channels:
            raise TicketError(
                f"--tasks {name}: got images of {given} channel(s), expected {channels}, as those "
                f"of {dataset.name}"
            )
        same = np.array_equal(other.train.images.shape[1:3], (height, width))
        return other if same else data.resized(other, height, width)

    return data.stacked([make(name) for name in config.tasks])
