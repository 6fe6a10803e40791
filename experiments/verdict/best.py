"""Every network at its own best variant: what a fair comparison over learning rates needs."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import xarray
from rich.table import Table

from experiments.common import sweeps
from experiments.common.spoiling import OWN, WORDS
from experiments.verdict.sources import near
from jaxticket.analysis import Claim, at_early_stop, mean_interval
from jaxticket.analysis.claims import Evidence, at_least, greater, not_computable

MA = "Ma et al. 2021, arXiv 2107.00166 (definition from memory, unverified)"


class At(NamedTuple):
    """Where a verdict is given.

    Attributes:
      slug: in ids.
      words: in statements.
      level: `level(results) -> place among the levels`, or what the run lacks.
    """

    slug: str
    words: str
    level: Callable[[xarray.Dataset], int | str]


def at_percent(percent: float) -> At:
    """Gives the verdict at a density."""

    def level(results: xarray.Dataset) -> int | str:
        density = 100 * results["density"].values.reshape(-1, results.sizes["level"])[0]
        found = int(np.abs(density - percent).argmin())
        return found if near(density[found], percent) else f"a level at {percent:g} %"

    return At(f"{percent:g}", f"at {percent:g} %", level)


def at_level(place: int, slug: str, words: str) -> At:
    """Gives the verdict at a level of a run that is read, by its place in the results."""
    return At(slug, words, lambda results: place)


def best_variants(results: xarray.Dataset) -> xarray.DataArray:
    """Finds the variant with the highest mean validation accuracy, for each arm and level.

    Args:
      results: of a sweep.

    Returns:
      Places among the variants, (arm, level). Test accuracy takes no part in the choice.
    """
    # A variant that lost a replicate is no candidate: its mean would be that of the survivors.
    accuracy = at_early_stop(results, "validation_accuracy").mean("replicate", skipna=False)
    return accuracy.fillna(-np.inf).argmax("variant")


def at_best_rates(results: xarray.Dataset) -> xarray.Dataset:
    """Takes every arm and level from its own best variant.

    Args:
      results: of a sweep.

    Returns:
      Results as those of one search.
    """
    density = results["density"].isel(variant=0)
    return results.isel(variant=best_variants(results)).assign_coords(density=density)


def matches_dense(at: At, tolerance: float) -> Claim:
    """Claims that the ticket matches the dense network, each at its own best rate."""
    return _claim(
        f"ticket-matches-dense-at-best-{at.slug}",
        f"{at.words}, the ticket matches the dense network, each at its best rate",
        f"mean difference ≥ -{tolerance:.1%}",
        at,
        lambda ticket, dense, reinit: at_least(ticket - dense, tolerance),
    )


def beats(arm: str, at: At) -> Claim:
    """Claims that the ticket beats a control, each at its own best rate."""
    return _claim(
        f"ticket-beats-{arm}-at-best-{at.slug}",
        f"{at.words}, the ticket is more accurate than {arm}, each at its best rate",
        "95 % interval of the difference above 0",
        at,
        lambda ticket, dense, control: greater(ticket - control),
        arm,
    )


def is_jackpot(at: At, tolerance: float) -> Claim:
    """Claims that the ticket is a jackpot: it matches dense, and reinit does not get there."""

    def judge(ticket: np.ndarray, dense: np.ndarray, reinit: np.ndarray) -> Evidence:
        match, gain = at_least(ticket - dense, tolerance), greater(ticket - reinit)
        both = None if None in (match.holds, gain.holds) else bool(match.holds and gain.holds)
        # Both must be: the chance of a false verdict is at most that of the one that is a test.
        return Evidence(match.measured, match.interval, both, gain.p_value)

    return _claim(
        f"jackpot-{at.slug}",
        f"{at.words}, the ticket is a jackpot: it matches dense and beats reinit, each at "
        "its best rate",
        f"ticket - dense ≥ -{tolerance:.1%} (shown), and the interval of ticket - reinit above 0",
        at,
        judge,
        "reinit",
    )


def beats_spoiled(name: str, at: At) -> Claim:
    """Claims that a mask is better than one that was searched for on spoiled data."""
    return _of_spoiled(
        f"ticket-beats-{name}-{at.slug}",
        f"{at.words}, the ticket is more accurate than one searched on {WORDS[name]}, at dense's "
        "best rate",
        "95 % interval of the difference above 0",
        name,
        at,
        lambda ticket, other: greater(ticket - other),
    )


def as_good_from(name: str, at: At, tolerance: float) -> Claim:
    """Claims that a mask of fewer data is as good as one of all, to a tolerance stated first."""
    return _of_spoiled(
        f"{name}-as-good-as-ticket-{at.slug}",
        f"{at.words}, a ticket searched on {WORDS[name]} is at least as accurate, at dense's best "
        "rate",
        f"mean difference ≥ -{tolerance:.1%}",
        name,
        at,
        lambda ticket, other: at_least(other - ticket, tolerance),
    )


def inside_the_grid() -> Claim:
    """Claims that the dense network's best rate is not at an end of the grid."""

    def test(results: xarray.Dataset) -> Evidence:
        number = results.sizes["variant"]
        if number < 3:
            return not_computable(f"needs 3 rates or more, got {number}")
        place = int(best_variants(results).sel(level=0).isel(arm=0))
        name = str(results["variant"].values[place])
        return Evidence(name, None, 0 < place < number - 1)

    return Claim(
        "best-rate-inside-the-grid",
        "the dense network's best rate is not at an end of the grid, so it is at its best",
        MA,
        "neither the lowest nor the highest rate",
        exact=False,
        test=test,
    )


def table(results: xarray.Dataset) -> Table:
    """Makes the table of arms at their best rates.

    Args:
      results: of a sweep.

    Returns:
      A rich table.
    """
    values = at_early_stop(at_best_rates(results), "test_accuracy")
    columns = [f"{density:.1%}" for density in values["density"].values]
    rows = {
        str(arm): [values.sel(arm=arm).isel(level=n).values for n in range(len(columns))]
        for arm in results["arm"].values
    }
    return sweeps.make_table("test accuracy at the best rate of each", results, columns, rows)


def _claim(
    name: str, statement: str, expected: str, at: At, judge: Any, arm: str = "ticket"
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        chosen = at_best_rates(results)
        level = at.level(chosen)
        if arm not in chosen["arm"]:
            return not_computable(f"needs the arm {arm}")
        if isinstance(level, str):
            return not_computable(f"needs {level}")
        values = at_early_stop(chosen, "test_accuracy")
        read = lambda arm, level: values.sel(arm=arm, level=level).values  # noqa: E731
        return _judged(judge, read("ticket", level), read("ticket", 0), read(arm, level))

    return Claim(name, statement, MA, expected, exact=False, test=test)


def _of_spoiled(
    name: str, statement: str, expected: str, spoiled: str, at: At, judge: Any
) -> Claim:
    def test(results: xarray.Dataset) -> Evidence:
        level, found = at.level(results), results["spoiled_accuracy"]
        if isinstance(level, str):
            return not_computable(f"needs {level}")
        ticket = results["ticket_accuracy"].sel(level=level).values
        return _judged(judge, ticket, found.sel(spoiled=spoiled, level=level).values)

    return Claim(name, statement, OWN, expected, exact=False, test=test)


def _judged(judge: Callable[..., Evidence], *found: np.ndarray) -> Evidence:
    if any(mean_interval(one).number < 2 for one in found):
        return not_computable("fewer than 2 valid replicates")
    return judge(*found)
