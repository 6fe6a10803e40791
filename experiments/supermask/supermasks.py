"""Claims and tables about masks that are learned over weights that are not."""

import numpy as np
import xarray
from rich.table import Table

from experiments.common import sweeps
from experiments.common.judging import Values, judged
from jaxticket.analysis import Claim, Interval
from jaxticket.analysis.claims import Evidence, at_least, by_interval, greater


def learned(weights: str, share: float) -> Values:
    """Reads the accuracy of masks that keep a share of these frozen weights."""
    return _read("share_accuracy", f"{weights} at {share:.1%}", weights=weights, share=share)


def of_width(weights: str, width: float) -> Values:
    """Reads the accuracy of networks of another width."""
    return _read("width_accuracy", f"{weights} at width {width:g}", weights=weights, width=width)


def untrained(criterion: str) -> Values:
    """Reads the accuracy of θ_0 under a mask that a criterion made of θ_T, before training."""
    return _read("untrained_accuracy", f"the criterion {criterion}", criterion=criterion)


def best(weights: str) -> Values:
    """Reads the accuracy at the share whose mean is highest."""

    def values(results: xarray.Dataset) -> np.ndarray | str:
        if weights not in results["weights"]:
            return weights
        found = results["share_accuracy"].sel(weights=weights)
        return found.isel(share=int(found.mean("replicate").argmax("share"))).values

    return values


def _read(name: str, words: str, **at: str | float) -> Values:
    def values(results: xarray.Dataset) -> np.ndarray | str:
        missing = [axis for axis, value in at.items() if value not in results[axis].values]
        return words if missing else results[name].sel(at).values

    return values


def inverted_u(weights: str, low: float, middle: float, high: float, source: str) -> list[Claim]:
    """Claims that accuracy rises to a share in the middle and falls after it."""
    return [
        Claim(
            f"{_slug(weights)}-{100 * middle:g}-more-than-{100 * end:g}",
            f"{weights}: keeping {middle:.0%} is more accurate than keeping {end:.0%}",
            source,
            "95 % interval of the difference above 0",
            exact=False,
            test=judged(
                lambda one, other: greater(one - other),
                learned(weights, middle),
                learned(weights, end),
            ),
        )
        for end in (low, high)
    ]


def chance_at(weights: str, share: float, chance: float, tolerance: float, source: str) -> Claim:
    """Claims that a share at an end is no better than guessing."""

    def judge(values: np.ndarray) -> Evidence:
        return by_interval(values, lambda interval: abs(interval.mean - chance) <= tolerance)

    return Claim(
        f"{_slug(weights)}-chance-at-{100 * share:g}",
        f"{weights}: keeping {share:.1%} is as accurate as guessing, {chance:.0%}",
        source,
        f"mean within {tolerance:.0%}",
        exact=False,
        test=judged(judge, learned(weights, share)),
    )


def kinds_as_good(first: str, second: str, share: float, source: str) -> Claim:
    """Claims that masks over one kind of weights are as accurate as over another."""
    return Claim(
        f"{_slug(first)}-as-good-as-{_slug(second)}-{100 * share:g}",
        f"keeping {share:.0%}, {first} is at least as accurate as {second}",
        source,
        "mean difference ≥ 0",
        exact=False,
        test=judged(
            lambda one, other: at_least(one - other, 0.0),
            learned(first, share),
            learned(second, share),
        ),
    )


def wider_as_good(weights: str, wide: float, narrow: float, source: str) -> Claim:
    """Claims that a wider network has a mask at least as accurate."""
    return Claim(
        f"{_slug(weights)}-width-{wide:g}-as-good-as-{narrow:g}",
        f"{weights}: width {wide:g} is at least as accurate as width {narrow:g}",
        source,
        "mean difference ≥ 0",
        exact=False,
        test=judged(
            lambda one, other: at_least(one - other, 0.0),
            of_width(weights, wide),
            of_width(weights, narrow),
        ),
    )


def far_above(values: Values, name: str, least: float, source: str, paper: str) -> Claim:
    """Claims that an accuracy is above a number."""

    def judge(found: np.ndarray) -> Evidence:
        evidence = greater(found - least)
        if evidence.interval is None or isinstance(evidence.measured, str):
            return evidence
        mean, low, high, number = evidence.interval
        shown = Interval(mean + least, low + least, high + least, number)
        return evidence._replace(measured=shown.mean, interval=shown)

    return Claim(
        f"{_slug(name)}-above-{100 * least:g}",
        f"{name} is more accurate than {least:.0%}",
        source,
        f"95 % interval above {least:.0%}",
        exact=False,
        test=judged(judge, values),
        paper=paper,
    )


def more(first: Values, name: str, second: Values, other: str, source: str) -> Claim:
    """Claims that one accuracy is above another."""
    return Claim(
        f"{_slug(name)}-more-than-{_slug(other)}",
        f"{name} is more accurate than {other}",
        source,
        "95 % interval of the difference above 0",
        exact=False,
        test=judged(lambda one, two: greater(one - two), first, second),
    )


def none_of(name: str, identity: str, statement: str, source: str) -> Claim:
    """Claims that a count in the results is zero, exactly."""

    def test(results: xarray.Dataset) -> Evidence:
        wrong = int(results[name])
        return Evidence(float(wrong), None, wrong == 0)

    return Claim(identity, statement, source, "0", exact=True, test=test)


def tables(results: xarray.Dataset) -> list[Table]:
    """Makes the tables: kinds of weights against shares, and against widths.

    Args:
      results: with `share_accuracy`, `width_accuracy` and `untrained_accuracy`.

    Returns:
      Rich tables.
    """
    made = []
    for axis, heading in (("share", "{:.1%}"), ("width", "× {:g}")):
        columns = [heading.format(value) for value in results[axis].values]
        rows = {
            str(kind): list(
                results[f"{axis}_accuracy"].sel(weights=kind).transpose(axis, "replicate").values
            )
            for kind in results["weights"].values
        }
        title = f"test accuracy of learned masks by {axis}"
        made.append(sweeps.make_table(title, results, columns, rows))
    values = results["untrained_accuracy"].transpose("criterion", "replicate")
    rows = {str(c): [values.sel(criterion=c).values] for c in results["criterion"].values}
    return [*made, sweeps.make_table("masks over θ_0, untrained", results, ["accuracy"], rows)]


def _slug(words: str) -> str:
    return words.replace(" ", "-").replace("_", "-").replace(",", "")
