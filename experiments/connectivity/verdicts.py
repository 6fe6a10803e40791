"""Claims about connectivity, each from results with a paired interval over replicates."""

import functools
from typing import Any

import numpy as np
import xarray
from scipy import stats

from experiments.common import lottery
from experiments.common.instability import STABLE
from experiments.common.judging import Values, judged
from experiments.connectivity import dense_verdicts
from experiments.connectivity.comparing import more
from experiments.connectivity.dense import ON_A_CURVE
from experiments.connectivity.dense_verdicts import LMC, by_statistics
from jaxticket.analysis import Claim, mean_interval
from jaxticket.analysis.claims import Evidence, above, greater, not_computable

EVCI = "Evci et al. 2022, arXiv 2010.03533, section 4 (unverified)"
REBASIN = "Ainsworth et al. 2023, arXiv 2209.04836 (unverified)"
GARIPOV = "Garipov et al. 2018, arXiv 1802.10026 (unverified)"


def claims(percent: float, statistics: str) -> list[Claim]:
    """Lists what a run must show.

    Args:
      percent: the density at which tickets and controls are compared.
      statistics: the batch statistics that barriers are measured with.

    Returns:
      The claims, exact ones first.
    """
    says = lambda statement: by_statistics(statement, statistics)  # noqa: E731
    falls = "the barrier of dense networks is lower from the last step k than from the first"
    below = functools.partial(dense_verdicts.kind_below, "independent")
    return [
        *lottery.exact_claims(),
        dense_verdicts.identical(),
        dense_verdicts.function_kept(),
        _dense_unstable(statistics),
        more(
            "dense-barrier-falls",
            says(falls),
            f"{LMC}, section 3",
            _dense(first=True),
            _dense(first=False),
        ),
        dense_verdicts.independent_apart(statistics),
        below("same start", f"{LMC}, section 3", statistics),
        below("aligned", REBASIN, statistics),
        below("curve", GARIPOV, ON_A_CURVE),
        *(_below_control(control, percent, statistics) for control in ("reinit", "shuffle")),
        _if_unstable(_explains(statistics)),
        *_returns(percent, statistics),
    ]


def _below_control(control: str, percent: float, statistics: str) -> Claim:
    statement = (
        f"at {percent:g} % and the last k, the barrier of {control} is higher than the ticket's, "
        "where the dense network is unstable at the first k"
    )
    return _if_unstable(
        more(
            f"ticket-below-{control}-{percent:g}",
            by_statistics(statement, statistics),
            f"{LMC}, section 4",
            _sparse("barrier", "copies", control, percent),
            _sparse("barrier", "copies", "ticket", percent),
        )
    )


def _returns(percent: float, statistics: str) -> list[Claim]:
    """Claims that tickets train back to the solution that they were pruned from."""
    barrier = "to the network that it was pruned from, reinit has a higher barrier than the ticket"
    words = {
        ("barrier", "pruned"): by_statistics(barrier, statistics),
        (
            "disagreement",
            "pruned",
        ): "reinit disagrees more with the network that it was pruned from than the ticket",
        ("ensemble_gain", "copies"): "two reinitialised networks gain more as an ensemble than two "
        "tickets",
    }
    return [
        more(
            f"ticket-returns-{measure.replace('_', '-')}-{percent:g}",
            f"at {percent:g} % and the last k, {text}",
            EVCI,
            _sparse(measure, relation, "reinit", percent),
            _sparse(measure, relation, "ticket", percent),
        )
        for (measure, relation), text in words.items()
    ]


def _dense_unstable(statistics: str) -> Claim:
    def judge(values: np.ndarray) -> Evidence:
        return above(values, STABLE)

    statement = "dense networks trained from the first step k on other data orders have a barrier"
    return Claim(
        "dense-unstable-at-the-first-k",
        by_statistics(statement, statistics),
        f"{LMC}, section 3",
        f"95 % interval of the barrier above {STABLE:.0%}",
        exact=False,
        test=judged(judge, _dense(first=True)),
    )


def _explains(statistics: str) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        barrier = results["barrier"].sel(relation="copies").isel(level=slice(1, None))
        gap = results["gap"].isel(level=slice(1, None)).transpose(*barrier.dims)
        found = [
            _rank_correlation(one.values.ravel(), other.values.ravel())
            for one, other in (
                (barrier.sel(replicate=r), gap.sel(replicate=r))
                for r in results["replicate"].values
            )
        ]
        return greater(np.array(found))

    statement = (
        "over steps k, densities and controls, what has a higher barrier loses more accuracy"
    )
    return Claim(
        "barrier-goes-with-the-gap",
        by_statistics(statement, statistics),
        f"{LMC}, section 4",
        "95 % interval of Spearman's rank correlation above 0",
        exact=False,
        test=test,
    )


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 3 or np.ptp(first[known]) == 0 or np.ptp(second[known]) == 0:
        return np.nan
    result: Any = stats.spearmanr(first[known], second[known])
    return float(result.statistic)


def _dense(*, first: bool) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        if first is False and results.sizes["search"] < 2:
            return "two steps k"
        here = _search(results, first=first)["barrier"].isel(level=0)
        found = here.sel(relation="copies", control="ticket").values
        return found if np.isfinite(found).any() else "the arm dense at two levels above 0"

    return values


def _sparse(measure: str, relation: str, control: str, percent: float) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        here = _search(results, first=False)
        density = 100 * here["search_density"].values
        level = int(np.abs(density - percent).argmin())
        if abs(density[level] - percent) > 0.1 * percent:
            return f"a level at {percent:g} %, give another --percent"
        found = here[measure].sel(relation=relation, control=control, level=level).values
        whom = f"the arm {control}" if relation == "pruned" else f"two arms {control}"
        return found if np.isfinite(found).any() else whom

    return values


def _search(results: xarray.Dataset, *, first: bool) -> xarray.Dataset:
    """Takes the search of the first or the last step k."""
    begins = results["begin"].values
    return results.isel(search=int(begins.argmin() if first else begins.argmax()))


def _if_unstable(claim: Claim) -> Claim:
    """Makes a claim undecided where dense training is stable from the first step on."""

    def test(results: xarray.Dataset) -> Evidence:
        def judge(values: np.ndarray) -> Evidence:
            interval = mean_interval(values)
            if not interval.low > STABLE:
                return not_computable(
                    f"dense networks are not unstable at the first k (barrier {interval.mean:.1%})"
                )
            return claim.test(results)

        return judged(judge, _dense(first=True))(results)

    return claim._replace(test=test)
