"""What can be chosen of regurgitation, its presets, and what is refused."""

import dataclasses
import math

from experiments.common import sweeps
from experiments.common.configuration import ReadingOne, published
from jaxticket.errors import TicketError
from jaxticket.recipes import Step


@dataclasses.dataclass(frozen=True)
class Config(ReadingOne):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 8
    """Levels, the dense one included."""
    evaluate_every: Step = Step.iterations(60)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    prune_rate: float = 0.4
    """Share of the remaining weights that goes at each level."""
    output_prune_rate: float = 0.2
    """The same for the output layer."""
    arms: tuple[str, ...] = ("ticket",)
    """Names from jaxticket.arms; controls have no term."""
    percents: tuple[float, ...] = (7.9, 2.9)
    """Densities, in percent, at which searches are compared."""
    strengths: tuple[float, ...] = (0.0, 2.0, -1.0)
    """Strengths of the term: above 0 repels from all earlier solutions, below 0 attracts."""
    points: int = 20
    """Points on the line between two successive solutions."""


DEFAULT = Config()
PRESETS = {
    "default": DEFAULT,
    "smoke": dataclasses.replace(
        DEFAULT,
        preset="smoke",
        dataset="digits",
        width=0.1,
        replicates=2,
        levels=3,
        steps=Step.iterations(20),
        evaluate_every=Step.iterations(20),
        points=3,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"), levels=16, steps=Step.epochs(25)
    ),
}


def check(config: Config) -> None:
    """Refuses strengths that cannot be compared.

    Args:
      config: the configuration.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sweeps.check_some("--strengths", config.strengths)
    if 0.0 not in config.strengths or not all(map(math.isfinite, config.strengths)):
        raise TicketError(
            f"--strengths: got {' '.join(map(str, config.strengths))}, expected finite numbers, "
            "0 among them, which the others are compared with"
        )
    sweeps.check_some("--percents", config.percents)
    wrong = [percent for percent in config.percents if not 0 < percent <= 100]
    if wrong:
        raise TicketError(f"--percents: got {wrong[0]:g}, expected above 0 to 100")
    if config.levels < 2:
        raise TicketError(f"--levels: got {config.levels}, expected at least two solutions")
    if config.points < 2:
        raise TicketError(f"--points: got {config.points}, expected at least 2")
