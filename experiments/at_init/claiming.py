"""Claims about sources of masks: which is better, and which sanity checks do them no harm."""

from experiments.at_init import collapse
from experiments.at_init.sources import CORRUPTED, FOUND, ITERATIVE
from experiments.common import lottery, sweeps
from experiments.common.experiment import Problem
from jaxticket.analysis import Claim

MISSING = "Frankle et al. 2021, arXiv 2009.08576"
SANITY = "Su et al. 2020, arXiv 2009.11094"
MILD, SPARSE = 4.7, 1.7
"""Densities, in percent, at which sources of masks are compared."""
HARMLESS = 0.01
"""What shuffling, other weights or random labels may cost and still count as no harm."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    del problem
    # Masks that are made before training need not be nested: SynFlow's and random ones are not.
    nested = lottery.of_variant(lottery.nested_masks(), ITERATIVE)
    exact = [lottery.density_schedule(), lottery.exact_zeros(), nested]
    return [*exact, *_order(), *_checks(), *_spoiled(), *collapse.claims()]


def _order() -> list[Claim]:
    """Lists the claims that sources are better than random, and worse than iterative pruning."""
    iterative, random = sweeps.Cell(ITERATIVE), sweeps.Cell("random")
    return [
        claim
        for percent in (MILD, SPARSE)
        for cell in map(sweeps.Cell, FOUND)
        for claim in (
            sweeps.more(cell, random, percent, MISSING),
            sweeps.more(iterative, cell, percent, MISSING),
        )
    ]


def _checks() -> list[Claim]:
    """Lists the claims about shuffling and other weights, which harm iterative pruning alone."""
    iterative = sweeps.Cell(ITERATIVE)
    harmless = [
        sweeps.as_good(cell._replace(arm=arm), cell, MILD, HARMLESS, MISSING)
        for cell in map(sweeps.Cell, FOUND)
        for arm in ("shuffle", "reinit")
    ]
    hurt = [
        sweeps.more(iterative, iterative._replace(arm=arm), MILD, MISSING)
        for arm in ("shuffle", "reinit")
    ]
    return [*harmless, *hurt]


def _spoiled() -> list[Claim]:
    """Lists the claims that inverted scores are worse, and those of spoiled examples as good."""
    inverted = [
        sweeps.more(sweeps.Cell(name), sweeps.Cell(f"inverse {name}"), MILD, MISSING)
        for name in ("snip", "synflow")
    ]
    spoiled = [
        sweeps.as_good(sweeps.Cell(name), sweeps.Cell("snip"), MILD, HARMLESS, SANITY)
        for name in CORRUPTED
    ]
    return [*inverted, *spoiled]
