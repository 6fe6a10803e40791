"""What can be chosen of geometry, its presets, and what is refused."""

import dataclasses

import numpy as np

from experiments.common.configuration import ReadingOne, check_positive, published
from jaxticket.errors import TicketError
from jaxticket.recipes import Step


@dataclasses.dataclass(frozen=True)
class Config(ReadingOne):
    """What can be chosen; the text under each field is its help on the command line."""

    levels: int = 6
    """Levels, the dense one included."""
    prune_rate: float = 0.55
    """Share of the remaining weights that goes at each level."""
    output_prune_rate: float = 0.3
    """The same for the output layer."""
    arms: tuple[str, ...] = ("ticket", "reinit", "shuffle", "oneshot")
    """Names from jaxticket.arms; the ticket is always trained."""
    evaluate_every: Step = Step.iterations(100)  # noqa: RUF009
    """Training between two evaluations; early stopping chooses one of these steps."""
    examined: tuple[int, ...] = (2, 4, 5)
    """Levels whose curvature and volume are measured beside the dense one's."""
    examples: int = 500
    """Training examples that the loss of all geometry is the mean over, from the first on."""
    points: int = 11
    """Points on the line between two networks."""
    lanczos_steps: int = 16
    """Steps of Lanczos, one product with the Hessian each."""
    starts: int = 2
    """Random directions that Lanczos starts from: of the spectral density."""
    eigenvalues: int = 5
    """Largest eigenvalues that are kept."""
    width_of_density: float = 0.01
    """Width of the Gaussians that smooth a spectral density, as a share of the largest eigenvalue
    of all networks."""
    density_points: int = 400
    """Points of a density."""
    probes: int = 8
    """Random vectors of a trace."""
    directions: int = 16
    """Random directions of a volume."""
    rise: float = 0.1
    """Loss above a network's own up to which its basin reaches."""
    radius: float = 0.5
    """Of the ball in which sharpness is the highest rise, in the unit of the weights."""
    climbs: int = 10
    """Steps of gradient ascent for sharpness."""
    shares: tuple[float, ...] = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
    """Shares of weights that are tried to go at once."""
    grid: int = 15
    """Points along each side of the plane."""


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
        steps=Step.iterations(30),
        evaluate_every=Step.iterations(15),
        examined=(2,),
        examples=50,
        points=3,
        lanczos_steps=3,
        starts=1,
        eigenvalues=2,
        density_points=20,
        probes=2,
        directions=2,
        climbs=2,
        shares=(0.1, 0.5),
        grid=3,
    ),
    "paper": dataclasses.replace(
        published(DEFAULT, "lenet-2019"),
        examined=(7, 13, 18),
        examples=5_000,
        points=30,
        lanczos_steps=60,
        starts=10,
        eigenvalues=20,
        probes=50,
        directions=3_000,
        grid=41,
    ),
}


def check(config: Config) -> None:
    """Refuses what geometry cannot be measured on.

    Args:
      config: the configuration, that of the run which is read.

    Raises:
      TicketError: one line on the first thing that is wrong.
    """
    sizes = ("examples", "lanczos_steps", "starts", "eigenvalues", "probes", "directions", "climbs")
    check_positive(**{name: getattr(config, name) for name in (*sizes, "density_points")})
    if config.levels < 2:
        raise TicketError(f"--levels: got {config.levels}, expected 2 or more: a pruned level")
    wrong = [level for level in config.examined if not 1 <= level < config.levels]
    if wrong or not config.examined:
        raise TicketError(
            f"--examined: got {wrong[0] if wrong else 'none'}, expected levels from 1 to "
            f"{config.levels - 1}, which this run has; or make it with more --levels"
        )
    if min(config.points, config.grid) < 2:
        raise TicketError(
            f"--points {config.points} --grid {config.grid}: expected at least 2 of each"
        )
    if config.eigenvalues > config.lanczos_steps:
        raise TicketError(
            f"--eigenvalues: got {config.eigenvalues} of --lanczos-steps {config.lanczos_steps}, "
            "expected at most as many"
        )
    bad = [share for share in config.shares if not 0 < share < 1]
    if bad or not config.shares:
        raise TicketError(f"--shares: got {bad[0] if bad else 'none'}, expected between 0 and 1")
    for name in ("rise", "radius", "width_of_density"):
        if not (getattr(config, name) > 0 and np.isfinite(getattr(config, name))):
            flag = name.replace("_", "-")
            raise TicketError(f"--{flag}: got {getattr(config, name)}, expected more than 0")
