"""Claims and the table about successive levels."""

from collections.abc import Callable

import numpy as np
import xarray
from rich.table import Table

from experiments.common.instability import STABLE
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, by_interval, greater, not_computable

PAUL = "Paul et al. 2022, arXiv 2210.03044"
MAENE = "Maene et al. 2021, arXiv 2106.06955"
OWN = "this project's question"
FAR = 0.1
"""A jump counts as far less than another below this share of it, stated beforehand."""

Test = Callable[[xarray.Dataset], Evidence]


def inexact(name: str, statement: str, source: str, expected: str, test: Test) -> Claim:
    """Makes a claim that may fail."""
    return Claim(name, statement, source, expected, exact=False, test=test)


def no_barrier_to_itself() -> Claim:
    """Claims that a network has no barrier to itself, the dense one and the sparsest."""

    def test(results: xarray.Dataset) -> Evidence:
        most = float(np.abs(results["own_barrier"].values).max())
        return Evidence(most, None, most == 0)

    expected = "a greatest barrier of 0"
    statement = "a network has no barrier to itself"
    return Claim("own-barrier-zero", statement, "arithmetic", expected, exact=True, test=test)


def connected_while_matching() -> Claim:
    """Claims that there is no barrier as long as both levels match."""

    def test(results: xarray.Dataset) -> Evidence:
        last = int(results["matching"])
        if last < 1:
            return not_computable("no level matches the dense network")
        barriers = results["barrier"].isel(level=slice(1, last + 1))
        means = barriers.mean("replicate").values
        worst = barriers.isel(level=int(np.nanargmax(means))).values
        return by_interval(worst, lambda interval: interval.mean < STABLE)

    return inexact(
        "connected-while-matching",
        "successive levels that match the dense network are linearly connected, the worst of them",
        PAUL,
        f"mean barrier below {STABLE:.0%}",
        test,
    )


def separated_afterwards() -> Claim:
    """Claims that there is a barrier at the sparsest levels, where none matches."""

    def test(results: xarray.Dataset) -> Evidence:
        if int(results["matching"]) >= results.sizes["level"] - 2:
            return not_computable("the two sparsest levels must not match; ask for more --levels")
        return greater(results["barrier"].isel(level=-1).values - STABLE)

    return inexact(
        "separated-afterwards",
        "the two sparsest levels, which do not match, are separated by a barrier",
        PAUL,
        f"95 % interval of barrier - {STABLE:.0%} above 0",
        test,
    )


def barrier_rises() -> Claim:
    """Claims that the barrier is higher past the last matching level than up to it."""

    def test(results: xarray.Dataset) -> Evidence:
        last, barrier = int(results["matching"]), results["barrier"]
        if not 1 <= last < results.sizes["level"] - 1:
            return not_computable("matching must end after level 1 and before the last level")
        inside = barrier.isel(level=slice(1, last + 1)).mean("level")
        outside = barrier.isel(level=slice(last + 1, None)).mean("level")
        return greater(outside.values - inside.values)

    return inexact(
        "barrier-rises-after-matching",
        "the mean barrier between successive levels is higher after the last matching level",
        PAUL,
        "95 % interval of the difference above 0",
        test,
    )


def small_steps_jump_less(few: float, many: float) -> Claim:
    """Claims that a small step lifts the loss far less than a large one, while levels match."""

    def test(results: xarray.Dataset) -> Evidence:
        last = int(results["matching"])
        mean = results["jump"].isel(level=slice(0, last + 1)).mean("level")
        small, large = (mean.sel(share=share).values for share in (few, many))
        return greater(FAR * large - small)

    return inexact(
        "small-steps-jump-less",
        f"pruning {few:.0%} at once lifts the loss by less than {FAR:.0%} of what {many:.0%} does, "
        "mean of the matching levels",
        PAUL,
        f"95 % interval of {FAR:g} x the large jump - the small one above 0",
        test,
    )


def angles_are_small() -> Claim:
    """Claims that successive solutions are nearer in angle than independent ones."""

    def test(results: xarray.Dataset) -> Evidence:
        last = max(1, int(results["matching"]))
        angle = results["angle"].values
        steps = np.arange(1, last + 1)
        successive = angle[steps, steps - 1].mean(axis=0)
        strangers = results["strange_angle"].isel(level=slice(1, last + 1)).mean("level").values
        return greater(strangers / 2 - successive)

    return inexact(
        "angles-are-small",
        "successive matching solutions are at less than half the angle of independent ones",
        f"{MAENE} (there against reinitialised rounds)",
        "95 % interval of half the independent angle - the successive one above 0",
        test,
    )


def inits_choose_alike() -> Claim:
    """Claims that tickets of other initialisations share more weights than chance."""

    def test(results: xarray.Dataset) -> Evidence:
        last = max(1, int(results["matching"]))
        here = {"level": last, "part": "total"}
        return greater(results["lift"].sel(here).values - results["chance"].sel(here).values)

    return inexact(
        "inits-choose-alike",
        "at the last matching level, masks of two initialisations share more weights than chance, "
        "the counts of each layer given",
        OWN,
        "95 % interval of shared weights - the upper end of chance (as shares of the expected "
        "number) above 0",
        test,
    )


def by_level(results: xarray.Dataset) -> Table:
    """Makes the table of levels, each against the one before.

    Args:
      results: what was measured.

    Returns:
      A rich table.
    """
    table = Table(title=f"levels; the last that matches is {int(results['matching'])}")
    shares = results["share"].values
    names = ("level", "kept", "accuracy - dense", "barrier", "angle", "independent angle")
    for name in (*names, *(f"jump of {share:.0%}" for share in shares)):
        table.add_column(name)
    density = np.atleast_2d(results["density"].values)[0]
    mean = {
        name: results[name].mean("replicate").values
        for name in ("gap", "barrier", "angle", "strange_angle", "jump")
    }
    for level, kept in enumerate(density):
        before = mean["angle"][level, level - 1] if level else np.nan
        row = (mean["gap"][level], mean["barrier"][level])
        shown = [f"{100 * value:+.2f} %" if np.isfinite(value) else "" for value in row]
        angles = [
            f"{v:.3f}" if np.isfinite(v) else "" for v in (before, mean["strange_angle"][level])
        ]
        jumps = [f"{value:.3g}" for value in mean["jump"][level]]
        table.add_row(str(level), f"{kept:.2%}", *shown, *angles, *jumps)
    return table
