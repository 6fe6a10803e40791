"""Claims about singular values that collapse and come back, and about the gap between rates."""

from collections.abc import Callable

import numpy as np
import xarray

from experiments.common import sweeps
from experiments.common.experiment import Problem
from experiments.common.judging import judged
from experiments.common.sweeps import Cell
from experiments.isometry.neurons import neurons
from experiments.isometry.searches import RATES, name_of
from jaxticket import masks, prune
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, by_interval, greater, not_computable

EXACT = 1e-3
"""How far singular values in float32 may be from what they are by construction, relatively."""

CLOSED = 0.02
"""Below this difference of accuracies the gap counts as closed, stated beforehand."""


def of_share(problem: Problem, share: float, source: str) -> list[Claim]:
    """Lists the claims about one share of pruned neurons."""
    percent = _percent(problem, share)
    cell: Callable[..., Cell] = lambda rate, weights: (  # noqa: E731
        Cell(name_of(rate, weights, share), when="end")
    )
    small, large = (cell(rate, "inherited") for rate in RATES)
    small_orthogonal, large_orthogonal = (cell(rate, "orthogonal") for rate in RATES)
    names = [one.variant for one in (small, large, small_orthogonal)]
    return [
        collapses(names[0], source),
        restored(names[2], source),
        comes_back_faster(names[1], names[0], source),
        sweeps.more(large, small, percent, source),
        sweeps.more(small_orthogonal, small, percent, source),
        gap_closes(large, small, large_orthogonal, small_orthogonal, percent, source),
        alike(large_orthogonal, small_orthogonal, percent, CLOSED, source),
    ]


def _percent(problem: Problem, share: float) -> float:
    """Gives the density of the first pruning, in percent of all weights."""
    dense = masks.ones(problem.shapes)
    kept = prune.schedule(neurons(share), dense, 2)[1]
    return round(100 * sum(kept.values()) / sum(masks.sizes(dense).values()), 1)


def _orthogonal(values: xarray.DataArray) -> xarray.DataArray:
    return values.sel(variant=[name for name in values["variant"].values if "orthogonal" in name])


def isometries(source: str) -> Claim:
    """Claims that OrthP makes every remaining matrix an isometry."""
    return _exact(
        "orthogonalized-matrices",
        "all singular values of every remaining matrix are the gain after OrthP",
        source,
        lambda results: _orthogonal(results["matrix_error"]),
    )


def exactly_one(source: str) -> Claim:
    """Claims that a linear network of isometries has Jacobians whose singular values are all 1."""

    def error(results: xarray.Dataset) -> xarray.DataArray:
        return abs(_orthogonal(results["spectrum"]).sel(stage="restarted") - 1)

    statement = "all singular values of the linear network's Jacobian are 1 after OrthP"
    return _exact("linear-network-isometry", statement, source, error)


def _exact(
    name: str, statement: str, source: str, error: Callable[[xarray.Dataset], xarray.DataArray]
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        if "matrix_error" not in results:
            return not_computable("needs two levels")
        largest = float(error(results).max())
        return Evidence(largest, None, largest < EXACT)

    expected = f"largest relative error below {EXACT:g}"
    return Claim(name, statement, source, expected, exact=True, test=test)


def collapses(variant: str, source: str) -> Claim:
    """Claims that pruning makes the mean singular value ten times smaller, and more."""
    return _logarithms(
        f"singular-values-collapse-{_slug(variant)}",
        f"{_share(variant)}: pruning lowers the mean singular value more than ten times",
        source,
        "95 % interval of log10(dense / pruned) above 1",
        lambda log: greater(log(variant, "dense") - log(variant, "pruned") - 1),
    )


def restored(variant: str, source: str) -> Claim:
    """Claims that the mean singular value is about 1 after OrthP."""

    def judge(log: Callable[[str, str], np.ndarray]) -> Evidence:
        return by_interval(log(variant, "restarted"), lambda one: abs(one.mean) <= 0.3)

    return _logarithms(
        f"orthogonalization-restores-{_slug(variant)}",
        f"{_share(variant)}: after OrthP the mean singular value is about 1",
        source,
        "mean log10 within ±0.3",
        judge,
    )


def comes_back_faster(large: str, small: str, source: str) -> Claim:
    """Claims that the large rate leaves larger singular values than the small one."""
    return _logarithms(
        f"large-rate-restores-{_slug(large)}",
        f"{_share(large)}: without OrthP, the large rate trains the mean singular value up further",
        source,
        "95 % interval of log10(large / small) above 0",
        lambda log: greater(log(large, "trained") - log(small, "trained")),
    )


def _logarithms(
    name: str,
    statement: str,
    source: str,
    expected: str,
    judge: Callable[[Callable[[str, str], np.ndarray]], Evidence],
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        if "mean_singular_value" not in results:
            return not_computable("needs two levels")
        means = results["mean_singular_value"]
        return judge(lambda name, stage: np.log10(means.sel(variant=name, stage=stage).values))

    return Claim(name, statement, source, expected, exact=False, test=test)


def gap_closes(
    large: Cell, small: Cell, large_after: Cell, small_after: Cell, percent: float, source: str
) -> Claim:
    """Claims that OrthP makes the gap between the rates smaller."""

    def judge(*found: np.ndarray) -> Evidence:
        at_large, at_small, at_large_after, at_small_after = found
        return greater(np.abs(at_large - at_small) - np.abs(at_large_after - at_small_after))

    return _accuracies(
        f"gap-narrows-{_slug(large.variant)}",
        f"{_share(large.variant)}: the rates' gap in accuracy is smaller with OrthP than without",
        source,
        "95 % interval of the difference of gaps above 0",
        (large, small, large_after, small_after),
        percent,
        judge,
    )


def alike(large: Cell, small: Cell, percent: float, tolerance: float, source: str) -> Claim:
    """Claims that two rates are as accurate as each other, to a tolerance stated first."""

    def judge(at_large: np.ndarray, at_small: np.ndarray) -> Evidence:
        return by_interval(at_large - at_small, lambda one: abs(one.mean) <= tolerance)

    return _accuracies(
        f"gap-closed-{_slug(large.variant)}",
        f"{_share(large.variant)}: with OrthP large and small rate are as accurate as each other",
        source,
        f"mean difference within ±{tolerance:.0%}",
        (large, small),
        percent,
        judge,
    )


def _accuracies(
    name: str,
    statement: str,
    source: str,
    expected: str,
    cells: tuple[Cell, ...],
    percent: float,
    judge: Callable[..., Evidence],
) -> Claim:
    test = judged(judge, *(cell.at(percent) for cell in cells))
    return Claim(name, statement, source, expected, exact=False, test=test)


def _share(variant: str) -> str:
    return f"{float(variant.split()[0]):.0%} of neurons pruned"


def _slug(variant: str) -> str:
    return variant.split()[0]
