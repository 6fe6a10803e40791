"""Claims about ways of retraining: which of them is more accurate, and at which densities."""

from experiments.common import lottery, sweeps
from experiments.common.experiment import Problem
from experiments.retraining import identities
from experiments.retraining.ways import FROM_ZERO, WAYS
from jaxticket.analysis import Claim

RENDA = "Renda et al. 2020, arXiv 2003.02389, section 4"

_BETTER = "more accurate (abstract, without a number)"
PAPER = {
    "weight rewinding": _BETTER,
    "rate rewinding": f"{_BETTER}; nothing lost with 5.96 times fewer weights, ResNet-50 on "
    "ImageNet, unverified",
}
"""What the paper says of both ways of rewinding against fine-tuning."""

REPRODUCED = "less accurate at low sparsity, Wide ResNets on CIFAR-10 (2109.09670)"
"""What a reproduction says of rate rewinding against weight rewinding."""

DENSITIES = (13.1, 4.7)
"""In percent, at which the ways are compared after training."""

SPARSE = DENSITIES[-1]


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    del problem
    weights, rate, fine = (sweeps.Cell(name, when="end") for name in WAYS)
    early = [cell._replace(when="early_stop") for cell in (weights, rate, fine)]
    of_each = [
        claim
        for percent in DENSITIES
        for claim in (
            sweeps.more(weights, fine, percent, RENDA, PAPER[weights.variant]),
            sweeps.more(rate, fine, percent, RENDA, PAPER[rate.variant]),
        )
    ]
    return [
        *lottery.exact_claims(),
        identities.claim(),
        *of_each,
        *(sweeps.more(one, early[2], SPARSE, RENDA, PAPER[one.variant]) for one in early[:2]),
        sweeps.as_good(rate, weights, SPARSE, 0.005, RENDA, REPRODUCED),
        sweeps.more(weights, sweeps.Cell(FROM_ZERO, "reinit", "end"), SPARSE, RENDA),
    ]
