"""What claims about connectivity have in common: numbers that are higher than others."""

from experiments.common.judging import Values, judged
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import greater


def more(name: str, statement: str, source: str, higher: Values, lower: Values) -> Claim:
    """Claims that numbers are higher than others, paired by replicate.

    Args:
      name: its id.
      statement: in words.
      source: where it comes from.
      higher: numbers of all replicates.
      lower: likewise.

    Returns:
      The claim, which is not computable where the run lacks either.
    """
    test = judged(lambda above, below: greater(above - below), higher, lower)
    expected = "95 % interval of the difference above 0"
    return Claim(name, statement, source, expected, exact=False, test=test)
