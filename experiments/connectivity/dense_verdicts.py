"""Claims about dense pairs, and the two about pairs that are exact."""

import numpy as np
import xarray

from experiments.common.instability import STABLE
from experiments.common.judging import Values, judged
from experiments.connectivity.comparing import more
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, above, not_computable

LMC = "Frankle et al. 2020, arXiv 1912.05671"

EXACT = 1e-3
"""How far outputs may be from what they were where only the order of sums is another."""


def identical() -> Claim:
    """Claims that a network has no barrier to itself."""

    def test(results: xarray.Dataset) -> Evidence:
        if "dense_barrier" not in results:
            return not_computable("needs two replicates")
        largest = float(np.abs(results["dense_barrier"].sel(kind="identical").values).max())
        return Evidence(largest, None, largest == 0)

    statement = "a network has no barrier to itself, whatever its batch statistics"
    return Claim("identical-pair", statement, "definition", "exactly 0", exact=True, test=test)


def function_kept() -> Claim:
    """Claims that alignment changes no output."""

    def test(results: xarray.Dataset) -> Evidence:
        if "alignment_error" not in results:
            return not_computable("needs two replicates")
        largest = float(results["alignment_error"].max(skipna=False))
        return Evidence(largest, None, largest < EXACT)

    return Claim(
        "alignment-keeps-the-function",
        "networks whose units were permuted give the outputs that they gave before",
        "arithmetic",
        f"largest relative change below {EXACT:g}",
        exact=True,
        test=test,
    )


def by_statistics(statement: str, statistics: str) -> str:
    """Says in a statement about barriers which batch statistics they are measured with."""
    return f"{statement} (batch statistics {statistics})"


def independent_apart(statistics: str) -> Claim:
    """Claims that networks of two initialisations have a barrier."""

    def judge(values: np.ndarray) -> Evidence:
        return above(values, STABLE)

    return Claim(
        "independent-have-a-barrier",
        by_statistics("dense networks of two initialisations have a barrier", statistics),
        f"{LMC}, section 3",
        f"95 % interval of the barrier above {STABLE:.0%}",
        exact=False,
        test=judged(judge, _of_kind("independent", statistics)),
    )


def _of_kind(kind: str, statistics: str) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        if "dense_barrier" not in results:
            return "two replicates"
        found = results["dense_barrier"].sel(kind=kind, statistics=statistics).values
        return found if np.isfinite(found).any() else f"a pair of the kind {kind!r}"

    return values


def kind_below(higher: str, lower: str, source: str, statistics: str) -> Claim:
    """Claims that one kind of pair has a lower barrier than another."""
    names = [kind.replace(" ", "-") for kind in (lower, higher)]
    statement = f"dense pairs: the barrier of {lower} is lower than that of {higher}"
    return more(
        f"{names[0]}-below-{names[1]}",
        by_statistics(statement, statistics),
        source,
        _of_kind(higher, statistics),
        _of_kind(lower, statistics),
    )
