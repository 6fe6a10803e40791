"""The claims of a run: about shares, kinds and widths, about checks, and about spoiled data."""

import itertools

from experiments.common import lottery
from experiments.common.experiment import Problem
from experiments.supermask import checks, learned, spoiled, supermasks
from jaxticket.analysis import Claim

RAMANUJAN = "Ramanujan et al. 2020, arXiv 1911.13299"
ZHOU = "Zhou et al. 2019, arXiv 1905.01067, section 5"
ENDS, LOW, HIGH = (0.002, 1.0), 0.03, 0.9
"""Shares as good as guessing, and those between which the best must lie."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    config, chance = problem.config, 1 / problem.dataset.classes
    return [
        *lottery.exact_claims(),
        *_exact_claims(),
        *_of_shares(chance),
        *_of_widths(sorted((config.width, *config.widths))),
        *_of_untrained(chance),
        *(claim for kind in learned.WEIGHTS for claim in checks.claims(kind, learned.MIDDLE)),
        *(
            claim
            for kind in learned.WEIGHTS
            for claim in spoiled.claims(kind, learned.MIDDLE, config.spoiled)
        ),
    ]


def _exact_claims() -> list[Claim]:
    return [
        supermasks.none_of(
            "wrong_counts",
            "masks-keep-their-share",
            "every learned mask keeps exactly its share of every layer, by its scores",
            "contract 2",
        ),
        supermasks.none_of(
            "moved_weights",
            "weights-never-move",
            "frozen weights after training are those before it, to the bit",
            f"{RAMANUJAN}, section 3",
        ),
    ]


def _of_shares(chance: float) -> list[Claim]:
    """Claims that shares in the middle are best, over both kinds of weights."""
    curve, kinds = (f"{RAMANUJAN}, section 4.{n} (unverified)" for n in (2, 4))
    kaiming, signed = learned.WEIGHTS
    return [
        *(
            claim
            for k in learned.WEIGHTS
            for claim in supermasks.inverted_u(k, LOW, learned.MIDDLE, HIGH, curve)
        ),
        *(
            supermasks.chance_at(kind, end, chance, 0.1, curve)
            for kind, end in itertools.product(learned.WEIGHTS, ENDS)
        ),
        *(
            supermasks.kinds_as_good(signed, kaiming, share, kinds)
            for share in (0.3, learned.MIDDLE)
        ),
    ]


def _of_widths(widths: list[float]) -> list[Claim]:
    """Claims that every width is at least as good as the one before."""
    return [
        supermasks.wider_as_good(kind, more, less, f"{RAMANUJAN}, section 4.3 (unverified)")
        for kind in learned.WEIGHTS
        for less, more in itertools.pairwise(widths)
    ]


def _of_untrained(chance: float) -> list[Claim]:
    """Claims that the best learned mask is good, and better than one made of a trained network."""
    _, signed = learned.WEIGHTS
    same_sign, best = supermasks.untrained(learned.TRAINED[0]), supermasks.best(signed)
    return [
        supermasks.far_above(best, f"the best mask over {signed}", 0.8, RAMANUJAN, "none"),
        supermasks.far_above(same_sign, learned.TRAINED[0], 3 * chance, ZHOU, "86 % on MNIST"),
        supermasks.more(best, f"the best mask over {signed}", same_sign, learned.TRAINED[0], ZHOU),
    ]
