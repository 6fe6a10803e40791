"""The work that all sides do: which network, how it is trained, on which images."""

from typing import NamedTuple

import jax
import numpy as np
import optax

from jaxticket import data
from jaxticket.errors import unknown
from jaxticket.learners import preprocessing, supervised
from jaxticket.learners.base import Learner
from jaxticket.recipes import make_optimizer
from jaxticket.types import Examples, Model


class Setting(NamedTuple):
    """How a network is trained here.

    Attributes:
      side: height and width of the images.
      channels: of the images.
      batch_size: examples a step.
      optimizer: `adam` or `momentum`.
      learning_rate: constant.
    """

    side: int
    channels: int
    batch_size: int
    optimizer: str
    learning_rate: float


SETTINGS = {
    "lenet_300_100": Setting(28, 1, 60, "adam", 1.2e-3),
    "conv_2": Setting(32, 3, 60, "adam", 2e-4),
    "resnet_20": Setting(32, 3, 128, "momentum", 0.01),
}
"""Batch sizes, optimizers and rates of 1803.03635, figure 2, for networks of `jaxticket.models`.

The rate of ResNet-20 is the one at which tickets were found without warmup."""


class Work(NamedTuple):
    """How much is trained in one timed call.

    Attributes:
      tickets: on a CPU.
      accelerated_tickets: on an accelerator.
      steps: of each ticket.
    """

    tickets: int
    accelerated_tickets: int
    steps: int


WORK = {
    "lenet_300_100": Work(10, 256, 100),
    "conv_2": Work(4, 32, 10),
    "resnet_20": Work(4, 32, 5),
}
"""Enough for a second or more a call, by network."""


def usual_work(name: str, tickets: int | None, steps: int | None) -> tuple[int, int]:
    """Gives the tickets and steps that were asked for, or else those of `WORK`.

    Args:
      name: of the network.
      tickets: what was asked for.
      steps: likewise.

    Returns:
      Both.
    """
    work = WORK[name]
    usual = work.tickets if jax.default_backend() == "cpu" else work.accelerated_tickets
    return tickets or usual, steps or work.steps


class Problem(NamedTuple):
    """One network and what it learns.

    Attributes:
      name: of the network, a key of `SETTINGS`.
      setting: how it is trained.
      model: the network.
      learner: the library's way of training it.
      optimizer: the same, for loops by hand.
      preprocess: the same, `uint8[n, h, w, c]` to float.
      train: images and labels, on the host.
      test: the same, never trained on.
      classes: number of classes.
    """

    name: str
    setting: Setting
    model: Model
    learner: Learner
    optimizer: optax.GradientTransformation
    preprocess: preprocessing.Preprocess
    train: Examples
    test: Examples
    classes: int


def check_models(names: tuple[str, ...]) -> None:
    """Checks the names of networks.

    Args:
      names: keys of `SETTINGS`.

    Raises:
      TicketError: for another name.
    """
    for name in names:
        if name not in SETTINGS:
            raise unknown("model", name, SETTINGS)


def make_problem(name: str, *, quick: bool = False) -> Problem:
    """Makes a problem: the embedded Fashion-MNIST, or digits of 8 pixels where quick.

    Args:
      name: a key of `SETTINGS`.
      quick: whether images and batches are small.

    Returns:
      The problem.

    Example:
      >>> make_problem("lenet_300_100", quick=True).train.images.shape
      (1257, 8, 8, 1)
    """
    from jaxticket import models

    setting = SETTINGS[name]
    if quick:
        setting = setting._replace(side=8, batch_size=8)
    dataset = data.load("digits" if quick else "fashion_mnist_5k")
    train, test = (_fit(split, setting) for split in (dataset.train, dataset.test))
    model = getattr(models, name)((setting.side, setting.side, setting.channels), dataset.classes)
    optimizer = make_optimizer(setting.optimizer, setting.learning_rate)
    preprocess = preprocessing.standardized(np.asarray(train.images))
    learner = supervised(model, optimizer, preprocess=preprocess)
    return Problem(
        name, setting, model, learner, optimizer, preprocess, train, test, dataset.classes
    )


def _fit(examples: Examples, setting: Setting) -> Examples:
    """Pads images to the side that the network takes and repeats their channel."""
    images = np.asarray(examples.images)
    edge = (setting.side - images.shape[1]) // 2
    images = np.pad(images, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    return Examples(np.repeat(images, setting.channels, axis=3), examples.labels)  # type: ignore[arg-type]
