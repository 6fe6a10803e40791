"""Claims about rules at equal cost, and about the masks that they end with."""

from experiments.common import lottery, sweeps
from experiments.common.experiment import Problem
from experiments.dynamic import changing, fixed
from jaxticket.analysis import Claim

RIGL = "Evci et al. 2020, arXiv 1911.11134"
HARMLESS = 0.01
"""What other weights may cost and still count as no harm, as in `experiments.at_init`."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Accuracy is read after the last step, which is the same for all: equal cost.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    config = problem.config
    exact = [
        lottery.density_schedule(),
        lottery.exact_zeros(),
        changing.counts_stay(),
        changing.only_rewired_move("static"),
    ]
    order = [claim for density in config.densities for claim in _order(100 * density)]
    found = [*exact, *order]
    found = [claim._replace(statement=claim.statement.replace(" ticket", "")) for claim in found]
    moving = [rule for rule in config.rules if rule != fixed.STILL]
    checks = [
        claim
        for level, density in enumerate(config.densities)
        for rule in moving
        for claim in fixed.claims(rule, level, 100 * density, HARMLESS)
    ]
    return [*found, *checks]


def _order(percent: float) -> list[Claim]:
    """Lists the claims that RigL is no worse than SET, SET than static, and RigL is better."""
    rigl, evolved, still = (sweeps.Cell(rule, when="end") for rule in ("rigl", "set", "static"))
    return [
        sweeps.as_good(rigl, evolved, percent, lottery.TOLERANCE, RIGL),
        sweeps.as_good(evolved, still, percent, lottery.TOLERANCE, RIGL),
        sweeps.more(rigl, still, percent, RIGL),
    ]
