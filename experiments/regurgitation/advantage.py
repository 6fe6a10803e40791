"""Claims about the ticket's advantage over networks that are begun anew, and what takes it away."""

import numpy as np
import xarray

from experiments.common.judging import judged
from experiments.common.sweeps import Cell
from jaxticket.analysis import Claim, mean_interval
from jaxticket.analysis.claims import Evidence, at_least, greater, not_computable


class Search(Cell):
    """The networks of a search, which a claim compares; all of them are its tickets."""

    def __str__(self) -> str:
        """Names it in a claim."""
        return self.variant


def advantage_falls(
    ticket: Cell, control: Cell, repelled: Cell, repelled_control: Cell, percent: float, source: str
) -> Claim:
    """Claims that tickets gain less over their control when both are repelled.

    Args:
      ticket: without the term.
      control: of it.
      repelled: with the term.
      repelled_control: of that.
      percent: the density.
      source: of the claim.

    Returns:
      The claim.
    """

    def judge(*found: np.ndarray) -> Evidence:
        one, its_control, other, its_other = found
        return greater((one - its_control) - (other - its_other))

    cells = (ticket, control, repelled, repelled_control)
    return Claim(
        f"advantage-falls-{repelled.slug}-{percent:g}",
        f"at {percent:g} %, {repelled} gains less over reinit of its strength than {ticket} does",
        source,
        "95 % interval of the difference of differences above 0",
        exact=False,
        test=judged(judge, *(cell.at(percent) for cell in cells)),
    )


def no_better(first: Cell, second: Cell, percent: float, tolerance: float, source: str) -> Claim:
    """Claims that the first has no advantage left over the second, to a tolerance.

    Args:
      first: networks.
      second: other networks.
      percent: the density.
      tolerance: what still counts as none, a fraction.
      source: of the claim.

    Returns:
      The claim.
    """

    def judge(one: np.ndarray, other: np.ndarray) -> Evidence:
        return at_least(other - one, tolerance)

    return Claim(
        f"{first.slug}-no-better-than-{second.slug}-{percent:g}",
        f"at {percent:g} %, {first} is no more accurate than {second}",
        source,
        f"mean of {second} - {first} ≥ -{tolerance:.1%}",
        exact=False,
        test=judged(judge, first.at(percent), second.at(percent)),
    )


def if_advantage(claim: Claim, *, ticket: Cell, control: Cell, percent: float) -> Claim:
    """Makes a claim undecided where tickets have no advantage that could be taken away.

    Args:
      claim: the claim.
      ticket: without the term.
      control: of it.
      percent: the density.

    Returns:
      The claim.
    """

    def test(results: xarray.Dataset) -> Evidence:
        def judge(one: np.ndarray, its_control: np.ndarray) -> Evidence:
            interval = mean_interval(one - its_control)
            if not interval.low > 0:
                return not_computable(
                    f"{ticket} has no advantage over {control} at {percent:g} % "
                    f"({interval.mean:.1%}, 95 % interval from {interval.low:.1%})"
                )
            return claim.test(results)

        return judged(judge, ticket.at(percent), control.at(percent))(results)

    return claim._replace(test=test)
