"""What a configuration costs, in networks and their steps, before anything runs."""

from typing import Any, NamedTuple

from experiments.common.experiment import Experiment
from jaxticket.arms import check_arms
from jaxticket.protocol import Protocol


class Cost(NamedTuple):
    """How much a run trains.

    Attributes:
      networks: how many are trained.
      steps: network-steps, all together.
    """

    networks: int
    steps: int

    def __str__(self) -> str:
        """Says it as the modules' docstrings do."""
        million = f"{self.steps / 1e6:,.1f}" if self.steps < 1e8 else f"{self.steps / 1e6:,.0f}"
        return f"{self.networks:,} networks, {million} million network-steps"


EXAMPLES = {"mnist": 55_000, "fashion_mnist": 55_000, "cifar10": 45_000}
"""Examples of an epoch, by which epochs are read: what 5,000 of validation leave for training."""


def cost_of(experiment: Experiment, preset: str) -> Cost:
    """Counts what a preset trains; nothing is loaded.

    Args:
      experiment: the experiment.
      preset: one of its presets.

    Returns:
      The cost.

    Example:
      >>> from experiments import lenet
      >>> print(cost_of(lenet.EXPERIMENT, "default"))
      380 networks, 0.2 million network-steps
    """
    config: Any = experiment.presets[preset]
    steps_an_epoch = EXAMPLES.get(config.dataset, 4_000) // config.batch_size
    steps = config.steps.at(steps_an_epoch)
    every = max(1, config.evaluate_every.at(steps_an_epoch))
    protocol = Protocol(steps, config.batch_size, every)
    problem: Any = _Unread(config, protocol, steps_an_epoch)
    variants = experiment.variants(problem) or {"": None}
    begins = [
        config.rewind_step.at(steps_an_epoch)
        if one is None or one.rewind_step is None
        else one.rewind_step
        for one in variants.values()
    ]
    given = [None if one is None else one.hyperparameters for one in variants.values()]
    dense = sum(one not in given[:place] for place, one in enumerate(given))
    pruned = (config.levels - 1) * len(check_arms(config.arms))
    networks = config.replicates * (dense + pruned * len(variants))
    made = dense * steps + pruned * sum(steps - begin for begin in begins)
    return Cost(networks, config.replicates * made)


class _Unread(NamedTuple):
    """As much of a `Problem` as variants read; nothing of its data."""

    config: Any
    protocol: Protocol
    steps_an_epoch: int

    def allocation(self, **changes: Any) -> None:
        """Gives none: counting networks needs no allocation."""
        del changes
