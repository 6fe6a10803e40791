"""What claims about connectivity have in common: numbers that are higher than others."""

from collections.abc import Callable

import numpy as np
import xarray

from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, greater, not_computable

Values = Callable[[xarray.Dataset], "np.ndarray | str"]
"""Numbers of all replicates, or what the run lacks."""


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

    def test(results: xarray.Dataset) -> Evidence:
        above, below = higher(results), lower(results)
        if isinstance(above, str):
            return not_computable(f"needs {above}")
        if isinstance(below, str):
            return not_computable(f"needs {below}")
        return greater(above - below)

    expected = "95 % interval of the difference above 0"
    return Claim(name, statement, source, expected, exact=False, test=test)
