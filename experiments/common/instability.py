"""Claims and tables about instability: barriers between networks of other data orders."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray
from rich.table import Table
from scipy import stats

from experiments.common import sweeps
from experiments.common.undefined import undefined_at
from jaxticket.analysis import Claim, Interval, at_early_stop, mean_interval
from jaxticket.analysis.claims import Evidence, by_interval, greater, not_computable
from jaxticket.analysis.connectivity import barriers

STABLE = 0.02
"""A barrier below this error counts as stable (1912.05671, section 3)."""


class Barriers(NamedTuple):
    """The barriers of pairs of networks.

    Attributes:
      heights: `float64[pairs]`, errors as fractions; NaN where the loss of a network on the line,
        or at its ends, is NaN.
      undefined_at: `float64[pairs]`, the first α at which that is so, the second network at 0; NaN
        where it is nowhere.
    """

    heights: np.ndarray
    undefined_at: np.ndarray


def barriers_between(
    learner: Any, state: Any, pairs: Sequence[tuple[Any, Any]], problem: Any, points: int
) -> Barriers:
    """Measures the test-error barrier of every pair, batch statistics interpolated too.

    Args:
      learner: how a network is evaluated.
      state: any one state of the learner.
      pairs: two networks each, of `records.Network`; all of them are one population.
      problem: gives the test split and the plan.
      points: on the line between them.

    Returns:
      The barriers, and where there is none.
    """
    firsts, seconds = (
        SimpleNamespace(
            params=_stack([pair[side].params for pair in pairs]),
            model_state=_stack([pair[side].model_state for pair in pairs]),
        )
        for side in (0, 1)
    )
    examples = problem.dataset.test
    found = barriers(learner, state, firsts, seconds, examples, problem.plan, points)
    return Barriers(found["barriers"], undefined_at(found["curves"], found["alphas"]))


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def dense_unstable(variant: str, source: str) -> Claim:
    """Claims that two dense networks trained from this step are separated by a barrier."""
    return _claim(
        f"dense-unstable-{_slug(variant)}",
        f"dense networks trained from {variant} on other data orders are separated by a barrier",
        source,
        f"95 % interval of the barrier above {STABLE:.0%}",
        lambda values: greater(values(variant, 0) - STABLE),
        shift=STABLE,
    )


def dense_stable(variant: str, source: str) -> Claim:
    """Claims that there is no barrier from this step on."""
    return _claim(
        f"dense-stable-{_slug(variant)}",
        f"dense networks trained from {variant} on other data orders are linearly connected",
        source,
        f"mean barrier below {STABLE:.0%}",
        lambda values: _below(values(variant, 0)),
    )


def ticket_stable(variant: str, percent: float, source: str) -> Claim:
    """Claims that the ticket of a step is stable at a density."""

    def test(results: xarray.Dataset) -> Evidence:
        density = 100 * results.sel(variant=variant)["density"].values
        level = int(np.abs(density - percent).argmin())
        if abs(density[level] - percent) > 0.1 * percent:
            return not_computable(f"needs a level at {percent:g} %")
        return _below(results["instability"].sel(variant=variant, level=level).values)

    return Claim(
        f"ticket-stable-{_slug(variant)}-{percent:g}",
        f"at {percent:g} %, tickets of {variant} are stable",
        source,
        f"mean barrier below {STABLE:.0%}",
        exact=False,
        test=test,
    )


def falls(first: str, last: str, source: str) -> Claim:
    """Claims that dense networks are more stable from the later step on."""
    return _claim(
        "dense-instability-falls",
        f"the barrier of dense networks is lower from {last} than from {first} on",
        source,
        "95 % interval of the difference above 0",
        lambda values: greater(values(first, 0) - values(last, 0)),
    )


def explains_the_gap(source: str) -> Claim:
    """Claims that tickets lose the more accuracy against dense the less stable they are.

    Spearman's rank correlation over all steps k and levels, in each replicate.
    """

    def test(results: xarray.Dataset) -> Evidence:
        accuracy = at_early_stop(results, "test_accuracy").sel(arm="ticket")
        gap = accuracy.isel(level=0) - accuracy
        found = [
            _rank_correlation(
                results["instability"].isel(level=slice(1, None)).sel(replicate=r).values.ravel(),
                gap.transpose("variant", "level", "replicate")
                .isel(level=slice(1, None))
                .sel(replicate=r)
                .values.ravel(),
            )
            for r in results["replicate"].values
        ]
        return greater(np.array(found))

    return Claim(
        "instability-explains-the-gap",
        "over steps k and densities, less stable tickets lose more accuracy against dense",
        source,
        "95 % interval of Spearman's rank correlation above 0",
        exact=False,
        test=test,
    )


def _rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    known = np.isfinite(first) & np.isfinite(second)
    result: Any = stats.spearmanr(first[known], second[known])
    return float(result.statistic)


def if_unstable(claim: Claim, variant: str) -> Claim:
    """Makes a claim undecided where the dense network is stable from the first step on."""

    def test(results: xarray.Dataset) -> Evidence:
        interval = mean_interval(results["instability"].sel(variant=variant, level=0).values)
        if not interval.low > STABLE:
            return not_computable(
                f"the dense network is not unstable from {variant} on (barrier {interval.mean:.1%})"
            )
        return claim.test(results)

    return claim._replace(test=test)


def table(results: xarray.Dataset) -> Table:
    """Makes the table of instability: a row for each k, a column for each density.

    Args:
      results: with `instability`.

    Returns:
      A rich table.
    """
    values = results["instability"]
    columns = ["dense", *sweeps.density_headings(results)[1:]]
    rows = {
        str(name): [values.sel(variant=name).isel(level=n).values for n in range(len(columns))]
        for name in results["variant"].values
    }
    return sweeps.make_table("instability: test-error barrier of tickets", results, columns, rows)


def _claim(
    name: str,
    statement: str,
    source: str,
    expected: str,
    judge: Callable[[Callable[[str, int], np.ndarray]], Evidence],
    shift: float = 0.0,
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        values = lambda variant, level: (  # noqa: E731
            results["instability"].sel(variant=variant, level=level).values
        )
        return _shifted(judge(values), shift)

    return Claim(name, statement, source, expected, exact=False, test=test)


def _shifted(evidence: Evidence, shift: float) -> Evidence:
    """Shows the barrier itself, not its distance from what counts as stable."""
    if evidence.interval is None or isinstance(evidence.measured, str):
        return evidence
    mean, low, high, number = evidence.interval
    moved = Interval(mean + shift, low + shift, high + shift, number)
    return evidence._replace(measured=moved.mean, interval=moved)


def _below(values: np.ndarray) -> Evidence:
    return by_interval(values, lambda interval: interval.mean < STABLE)


def _slug(variant: str) -> str:
    return variant.replace(" = ", "-").replace(" ", "-").replace(",", "")
