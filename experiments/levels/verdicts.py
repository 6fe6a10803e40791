"""Claims and the table about successive levels."""

from collections.abc import Callable

import numpy as np
import xarray
from rich.table import Table

from experiments.common.instability import STABLE
from experiments.levels.flowing import exponents_of
from jaxticket.analysis import Claim, mean_interval
from jaxticket.analysis.claims import Evidence, by_interval, greater, not_computable
from jaxticket.analysis.flow import flow_distance, sign_pattern

PAUL = "Paul et al. 2022, arXiv 2210.03044"
MAENE = "Maene et al. 2021, arXiv 2106.06955"
OWN = "this project's question"
FAR = 0.1
"""A jump counts as far less than another below this share of it, stated beforehand."""

Test = Callable[[xarray.Dataset], Evidence]


def _claim(name: str, statement: str, source: str, expected: str, test: Test) -> Claim:
    return Claim(name, statement, source, expected, exact=False, test=test)


def no_barrier_to_itself() -> Claim:
    """Claims that a network has no barrier to itself, the dense one and the sparsest."""

    def test(results: xarray.Dataset) -> Evidence:
        most = float(np.abs(results["own_barrier"].values).max())
        return Evidence(most, None, most == 0)

    expected = "a greatest barrier of 0"
    statement = "a network has no barrier to itself"
    return Claim("own-barrier-zero", statement, "arithmetic", expected, exact=True, test=test)


def shares_sum_to_one() -> Claim:
    """Claims that the layers' shares of the magnitude sum to one."""

    def test(results: xarray.Dataset) -> Evidence:
        total = results["magnitude_share"].sel(flow="trained").sum("layer").values
        most = float(np.abs(total - 1).max())
        return Evidence(most, None, most < 1e-6)

    statement = "the layers' shares of the magnitude sum to one at every level"
    return Claim("shares-sum", statement, "arithmetic", "within 1e-6", exact=True, test=test)


def no_flow_grows_everywhere() -> Claim:
    """Claims that at each level some share does not grow and some does not fall: Σ λ_i M_i = 1."""

    def test(results: xarray.Dataset) -> Evidence:
        share = results["magnitude_share"].sel(flow="trained").transpose(..., "level", "layer")
        change = np.diff(share.values, axis=-2)
        wrong = int(((change.min(axis=-1) > 0) | (change.max(axis=-1) < 0)).sum())
        return Evidence(float(wrong), None, wrong == 0)

    statement = "at no level do all shares grow, or all fall"
    expected = "0 levels, since Σ λ_i M_i = 1"
    return Claim("not-all-relevant", statement, "arithmetic", expected, exact=True, test=test)


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

    return _claim(
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

    return _claim(
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

    return _claim(
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

    return _claim(
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

    return _claim(
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

    return _claim(
        "inits-choose-alike",
        "at the last matching level, masks of two initialisations share more weights than chance, "
        "the counts of each layer given",
        OWN,
        "95 % interval of shared weights - the upper end of chance (as shares of the expected "
        "number) above 0",
        test,
    )


NO_NULLS = "the run prunes by an allocation that is not its configuration's, which has no nulls"


def random_pruning_is_marginal() -> Claim:
    """Claims that the null of random pruning has the exponents zero."""

    def test(results: xarray.Dataset) -> Evidence:
        exponents = exponents_of(results, "random")
        if not np.isfinite(exponents).all():
            return not_computable(f"a layer is emptied, or {NO_NULLS}")
        signs = sign_pattern(exponents)
        if "undecided" in signs:
            return not_computable("fewer than 2 replicates")
        least = min(range(len(signs)), key=lambda place: -abs(exponents.mean(axis=0)[place]))
        interval = mean_interval(exponents[:, least])
        return Evidence(interval.mean, interval, all(sign == "marginal" for sign in signs))

    return _claim(
        "random-pruning-is-marginal",
        "random pruning without training moves no layer's share (the greatest exponent shown)",
        "arithmetic: the expectation of every share stays; 5 % of intervals miss it",
        "every layer's 95 % interval holds 0",
        test,
    )


def training_flows_otherwise() -> Claim:
    """Claims that the flow is not that of untrained weights."""

    def test(results: xarray.Dataset) -> Evidence:
        trained, null = (exponents_of(results, name) for name in ("trained", "magnitude"))
        if not (np.isfinite(trained).all() and np.isfinite(null).all()):
            return not_computable(f"a layer is emptied, or {NO_NULLS}")
        if len(trained) < 3:
            return not_computable(f"{len(trained)} replicates, at least 3 are needed")
        distance = flow_distance(trained, null, paired=True)
        return Evidence(distance.mean, distance, distance.low > 0)

    return _claim(
        "training-flows-otherwise",
        "the exponents are not those of pruning the initial weights by magnitude",
        OWN,
        "95 % interval of the squared distance of the flows above 0",
        test,
    )


def last_layer_is_relevant() -> Claim:
    """Claims that the share of the last layer grows."""

    def test(results: xarray.Dataset) -> Evidence:
        last = exponents_of(results, "trained")[:, -1]
        if not np.isfinite(last).all():
            return not_computable("the last layer is emptied")
        return greater(last)

    return _claim(
        "last-layer-is-relevant",
        "the share of the last layer grows under pruning: it is relevant",
        f"{OWN}: large weights are kept, and small layers have them",
        "95 % interval of its exponent above 0",
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
