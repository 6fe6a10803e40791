"""Claims and the table about the flow of the layers' shares."""

import numpy as np
import xarray
from rich.table import Table

from experiments.levels.verdicts import OWN, inexact
from jaxticket.analysis import Claim, Interval, mean_interval
from jaxticket.analysis.claims import Evidence, greater, not_computable
from jaxticket.analysis.flow import flow_distance, flow_intervals, sign_pattern
from jaxticket.analysis.statistics import p_above

NO_NULLS = "the run prunes by an allocation that is not its configuration's, which has no nulls"


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


def random_pruning_is_marginal(scope: str = "global") -> Claim:
    """Claims that the null of random pruning has the exponents zero, which it has globally."""

    def test(results: xarray.Dataset) -> Evidence:
        if scope != "global":
            return not_computable(f"needs global pruning, got {scope}")
        exponents = exponents_of(results, "random")
        if not np.isfinite(exponents).all():
            return not_computable(f"a layer is emptied, or {NO_NULLS}")
        signs = sign_pattern(exponents)
        if "undecided" in signs:
            return not_computable("fewer than 2 replicates")
        least = min(range(len(signs)), key=lambda place: -abs(exponents.mean(axis=0)[place]))
        interval = mean_interval(exponents[:, least])
        return Evidence(interval.mean, interval, all(sign == "marginal" for sign in signs))

    return inexact(
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
        return Evidence(distance.mean, distance, distance.low > 0, p_above(distance))

    return inexact(
        "training-flows-otherwise",
        "the exponents are not those of pruning the initial weights by magnitude",
        OWN,
        "95 % interval of the squared distance of the flows above 0",
        test,
    )


def last_layer_is_relevant(scope: str = "global") -> Claim:
    """Claims that the share of the last layer grows, which layers' own rates would decide."""

    def test(results: xarray.Dataset) -> Evidence:
        if scope != "global":
            return not_computable(f"needs global pruning, got {scope}")
        last = exponents_of(results, "trained")[:, -1]
        if not np.isfinite(last).all():
            return not_computable("the last layer is emptied")
        return greater(last)

    return inexact(
        "last-layer-is-relevant",
        "the share of the last layer grows under pruning: it is relevant",
        f"{OWN}: large weights are kept, and small layers have them",
        "95 % interval of its exponent above 0",
        test,
    )


def table(results: xarray.Dataset) -> Table:
    """Makes the table of exponents with their intervals, and the sign that each has for certain.

    Args:
      results: with `exponent`.

    Returns:
      A rich table.
    """
    made = Table(
        title="exponents σ of the layers' shares of the magnitude",
        caption="mean and half of its 95 % interval, of the replicates that have one; the sign",
    )
    made.add_column("layer")
    flows = [str(name) for name in results["flow"].values]
    for name in flows:
        made.add_column(name)
    exponents = [exponents_of(results, name) for name in flows]
    columns = [map(_cell, flow_intervals(of), sign_pattern(of)) for of in exponents]
    for layer, *cells in zip(results["layer"].values, *columns, strict=True):
        made.add_row(str(layer), *cells)
    return made


def _cell(interval: Interval, sign: str) -> str:
    return f"{interval.mean:+.3f} ± {interval.high - interval.mean:.2g} {sign}"


def exponents_of(results: xarray.Dataset, flow: str) -> np.ndarray:
    """Reads a flow's exponents, `float64[replicates, layers]`."""
    return results["exponent"].sel(flow=flow).transpose("replicate", "layer").values
