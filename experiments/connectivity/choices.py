"""What can be chosen of connectivity, and what is refused."""

import dataclasses

from experiments.common import sweeps
from experiments.common.configuration import Reading, check_positive, published
from experiments.common.unstable import Unstable
from experiments.connectivity import copies
from experiments.connectivity.statistics import STATISTICS
from jaxticket.errors import TicketError, unknown
from jaxticket.recipes import Step


@dataclasses.dataclass(frozen=True)
class Config(Unstable, Reading):
    """What can be chosen; the text under each field is its help on the command line."""

    replicates: int = 6
    """Independent initialisations, each with its own data order."""
    arms: tuple[str, ...] = copies.ARMS
    """Names from jaxticket.arms; two of a kind, which differ in the order of their data."""
    rewind_steps: tuple[Step, ...] = tuple(map(Step.iterations, (0, 100, 200)))
    """Steps k that tickets go back to, all of them one population."""
    points: int = 30
    """Points on the way between two networks."""
    percent: float = 4.0
    """Density, in percent, at which tickets and controls are compared."""
    statistics: str = "interpolated"
    """Batch statistics of a network between two others, in all barriers but those of curves:
    interpolated, recomputed, or kept (those of the nearer end)."""
    statistics_examples: int = 500
    """Training examples that batch statistics are recomputed from, where they are."""
    statistics_passes: int = 3
    """How often networks go through them."""
    curve_steps: int = 300
    """Steps that the middle of a curve is trained for, by momentum."""
    curve_learning_rate: float = 0.05
    """Its learning rate."""
    matrix_replicates: int = 4
    """Replicates whose levels are compared with each other, at the last step k."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        model="lenet_300_100",
        width=0.05,
        replicates=2,
        steps=Step.iterations(24),
        evaluate_every=Step.iterations(12),
        drops=(),
        schedule="constant",
        rewind_steps=(Step.iterations(0), Step.iterations(12)),
        prune_rate=0.5,
        percent=25.0,
        points=4,
        statistics_examples=64,
        statistics_passes=1,
        curve_steps=4,
        matrix_replicates=1,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "resnet20-2020"),
        rewind_steps=tuple(map(Step.iterations, (0, 500, 2_000))),
        arms=copies.ARMS,
        percent=16.8,
        statistics_examples=5_000,
        curve_steps=5_000,
    ),
}


def check(config: Config) -> None:
    """Refuses what connectivity cannot be measured on.

    Args:
      config: the configuration, or that of a run with how it is to be measured.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    check_positive(
        statistics_passes=config.statistics_passes,
        curve_steps=config.curve_steps,
        matrix_replicates=config.matrix_replicates,
    )
    if config.statistics not in STATISTICS:
        raise unknown("statistics", config.statistics, STATISTICS)
    if config.points < 2:
        raise TicketError(f"--points: got {config.points}, expected at least 2")
    if not 0 < config.percent <= 100:
        raise TicketError(f"--percent: got {config.percent:g}, expected above 0 to 100")
    if config.statistics_examples < config.batch_size:
        raise TicketError(
            f"--statistics-examples: got {config.statistics_examples}, expected at least a batch "
            f"of {config.batch_size}"
        )
    if config.run is None:
        _check_own(config)


def _check_own(config: Config) -> None:
    sweeps.check_some("--rewind-steps", config.rewind_steps)
    missing = [arm for arm in copies.ARMS if arm not in config.arms]
    if missing:
        raise TicketError(
            f"--arms: got no {', no '.join(missing)}, expected all of {' '.join(copies.ARMS)}: of "
            "each two that differ in the order of their data"
        )
    if config.levels < 3 or config.replicates < 2:
        raise TicketError(
            f"--levels {config.levels} --replicates {config.replicates}: expected 3 and 2 or more, "
            "for two dense networks of each initialisation and two initialisations"
        )
