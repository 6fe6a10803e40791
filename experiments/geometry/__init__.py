"""Why do tickets win: why this initialisation, why small weights, why iteratively?

Claim: tickets trained from their own initialisation end in the basin of the network that they were
pruned from, other initialisations do not; removing the smallest weights leaves the network in its
basin, removing others does not; one pruning to the same density leaves it, many small ones do not.

Paper: Saleem et al., "Insights into the Lottery Ticket Hypothesis and Iterative Magnitude Pruning",
arXiv 2403.15022, of which only the abstract was read: what it asks is asked here, and none of its
numbers is expected. The local angular dimension is that of Paul et al., arXiv 2210.03044.

Command: `python -m experiments.geometry`; `--run DIR` measures the tickets of a finished run.

Each question is answered by barriers, angles and jumps of the training loss with their intervals.
Curvature and volume of all stages (initial, just pruned, trained; ticket and controls) are open
measurements: nothing is claimed of their order. Volumes in so many dimensions are those of their
largest radii, which their effective sample size says; what is compared is the median radius. How
much can be pruned at once stands beside the share that the local dimension predicts, over ε.

Presets:
  default  5,000 embedded Fashion-MNIST images, LeNet-300-100, 6 levels, 4 arms, 5 replicates:
           105 networks; minutes on two cores.
  smoke    digits, seconds; only the exact claims mean anything.
  paper    the protocol of lenet-2019 on MNIST, since that of the paper is not known to us: 385
           networks, 19.2 million network-steps, geometry not counted.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np
import xarray
from rich.console import RenderableType

from experiments.common import lottery
from experiments.common.configuration import Reading, check_positive, published
from experiments.common.experiment import Experiment, Problem, run
from experiments.common.report import results_tables
from experiments.geometry import basins, jumps, paths, questions, tables
from jaxticket.analysis import Claim
from jaxticket.errors import TicketError
from jaxticket.recipes import Step
from jaxticket.records import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Config(Reading):
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
    """Between evaluations: the grid of the early-stop step."""
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
    """Of the Gaussians of a density, in the largest eigenvalue of all networks."""
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


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    del problem
    exact = [*lottery.exact_claims(), questions.smallest_are_the_tickets()]
    return [*exact, *questions.questions()]


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds jumps, barriers, angles, curvature, volumes, shares and the plane.

    Args:
      problem: what is run.
      result: the networks.
      results: their curves.

    Returns:
      The results with what `jumps`, `paths` and `basins` measure.
    """
    found = basins.measured(problem, result)
    nodes, weights = (found[name][1][basins.STAGES.index("ticket")] for name in NODES)
    return results.assign(found).assign(
        {
            **jumps.jumps(problem, result),
            **jumps.good_shares(problem, result, nodes, weights),
            **paths.paths(problem, result),
            **basins.plane(problem, result),
        }
    )


NODES = ("node", "node_weight")
"""Eigenvalues and their weights in a quadrature."""


def make_tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables: accuracy, then what geometry measures.

    Args:
      results: all of them.

    Returns:
      Rich tables.
    """
    return [*results_tables(results), *tables.tables(results)]


def draw(results: xarray.Dataset, result: Result) -> "dict[str, Figure]":
    """Draws the three answers, the stages, the spectra, the radii and the plane.

    Args:
      results: all of them.
      result: unused.

    Returns:
      Figures by file name, the main one first.
    """
    from jaxticket import plots

    del result
    return {
        "geometry": plots.jumps_and_barriers(results),
        "stages": plots.stages_against_density(results),
        "spectra": plots.hessian_spectra(results),
        "radii": plots.radius_histogram(results),
        "plane": plots.loss_plane(results),
    }


EXPERIMENT = Experiment(
    "geometry",
    __doc__ or "",
    PRESETS,
    claims,
    draw,
    check=check,
    tables=make_tables,
    measure=measure,
)

main = functools.partial(run, EXPERIMENT)
"""`main(arguments=None, console=None) -> exit code`."""
