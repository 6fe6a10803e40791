"""Claims about steps k: from which of them training is stable, and whose tickets match."""

from experiments.common import instability, lottery, sweeps
from experiments.common.experiment import Problem
from experiments.rewinding.paper import PAPER, Paper
from experiments.rewinding.searches import name_of, variants
from jaxticket.analysis import Claim

LMC = "Frankle et al. 2020, arXiv 1912.05671"
MATCHING = 0.002
"""What counts as the dense network's accuracy, stated beforehand by the paper: 0.2 points."""
SPARSE = {"paper": 16.8, "paper_vgg_16": 1.5}
"""The densities, in percent, at which steps are compared, by preset: those of the paper."""


def claims(problem: Problem) -> list[Claim]:
    """Lists what a run must show; decided before any run.

    Args:
      problem: what is run.

    Returns:
      The claims, exact ones first.
    """
    first, *_, last = (name for name in variants(problem) if "moments" not in name)
    sparse = SPARSE.get(problem.config.preset, 4.0)
    paper = PAPER["vgg" if problem.config.model.startswith("vgg") else "resnet"]
    of_dense = f"{LMC}, section 3"
    of_tickets = _of_tickets(first, last, sparse, paper)
    return [
        *lottery.exact_claims(),
        instability.dense_unstable(first, of_dense)._replace(paper=paper.unstable),
        instability.dense_stable(last, of_dense)._replace(paper=paper.dense),
        instability.falls(first, last, of_dense),
        *_moments(problem, sparse),
        *(instability.if_unstable(claim, first) for claim in of_tickets),
    ]


def _of_tickets(first: str, last: str, sparse: float, paper: Paper) -> list[Claim]:
    """Claims that tickets of the last step match, and those of the first do not."""
    early, late = sweeps.Cell(first), sweeps.Cell(last)
    dense, source = late._replace(dense=True), f"{LMC}, section 4"
    return [
        sweeps.as_good(late, dense, sparse, MATCHING, source, paper.matching),
        sweeps.more(dense, early, sparse, source, paper.first),
        sweeps.more(late, early, sparse, source),
        # Reinit trains from step 0 on whatever k is, and so for all steps only at k = 0.
        sweeps.more(late, early._replace(arm="reinit"), sparse, source),
        sweeps.more(late, late._replace(arm="shuffle"), sparse, source, paper.alone),
        instability.ticket_stable(last, sparse, source)._replace(paper=paper.ticket),
        instability.explains_the_gap(source),
    ]


def _moments(problem: Problem, percent: float) -> list[Claim]:
    """Claims that it makes no difference whether the optimizer's moments are rewound too."""
    steps = [step.at(problem.steps_an_epoch) for step in problem.config.moments_steps]
    plain = problem.config.rewind_steps
    compared = sorted(set(steps) & {step.at(problem.steps_an_epoch) for step in plain})
    source = "this project's own question; 1912.05671 does not say what becomes of momentum"
    return [
        sweeps.unchanged(
            sweeps.Cell(f"{name_of(k)} with moments"),
            sweeps.Cell(name_of(k)),
            percent,
            0.01,
            source,
        )
        for k in compared
    ]
