"""Claims about transfers and flows, computed from what `measuring` adds to the results."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import xarray

from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence, at_least, greater, not_computable

TOLERANCE = 0.001
"""What counts as equal accuracy, stated beforehand: 0.1 percentage points."""

ACROSS = 0.01
"""What an optimizer's ticket may lose under another one, stated beforehand."""

SUM = 1e-6

OWN = "this project's question"


Test = Callable[[xarray.Dataset], Evidence]


def _exact(name: str, statement: str, source: str, expected: str, test: Test) -> Claim:
    return Claim(name, statement, source, expected, exact=True, test=test)


def exact_claims() -> list[Claim]:
    """Lists what must hold of transfers and flows in every run, at any size."""

    def none(name: str) -> Test:
        return lambda results: Evidence(float(results[name]), None, int(results[name]) == 0)

    def sums(results: xarray.Dataset) -> Evidence:
        error = float(abs(results["share"].sum("layer") - 1).max())
        return Evidence(error, None, error < SUM)

    return [
        _exact(
            "transfers-keep-the-sources-counts",
            "every transfer and control keeps in each layer as many weights as its source's "
            "ticket (all of them in layers renewed densely), and the others are exactly 0.0",
            "contracts 1 and 2",
            "0 layers off by any weight, 0 pruned weights that are not zero",
            none("transfer_wrong"),
        ),
        _exact(
            "at-home-a-transfer-is-the-native-ticket",
            "a ticket that is carried to its own task with nothing renewed is the native one",
            "contract 4; arithmetic",
            "0 trained weights that differ by a bit",
            none("identity_differences"),
        ),
        _exact(
            "shares-sum-to-one",
            "the layers' shares of the remaining magnitude sum to 1",
            "arithmetic",
            f"largest error below {SUM:g}",
            sums,
        ),
    ]


def native_at_least_transferred(tasks: Sequence[str], source: str) -> Claim:
    """Claims that native tickets are at least as accurate as those of other tasks."""
    return _oflosses(
        "native-matches-transferred",
        "native tickets are at least as accurate as those transferred from other tasks, mean of "
        "all pairs",
        source,
        f"mean difference ≥ -{TOLERANCE:.1%}",
        lambda results: at_least(_mean_loss(results, tasks), TOLERANCE),
        tasks,
    )


def transferred_beats(control: str, tasks: Sequence[str], source: str) -> Claim:
    """Claims that transferred tickets are more accurate than a control of them."""

    def test(results: xarray.Dataset) -> Evidence:
        if control not in results["control"]:
            return not_computable(f"needs the arm {control} among --transfer-arms")
        accuracy = results["transfer_accuracy"]
        gain = accuracy.sel(control="ticket") - accuracy.sel(control=control)
        return greater(_over_pairs(gain, tasks))

    return _oflosses(
        f"transferred-beats-{control.replace('_', '-')}",
        f"tickets from other tasks are more accurate than their control {control}, mean of all "
        "pairs",
        source,
        "95 % interval of the difference above 0",
        test,
        tasks,
    )


def across_optimizers(first: str, other: str, source: str) -> Claim:
    """Claims that a ticket of one optimizer is nearly native under another one."""

    def test(results: xarray.Dataset) -> Evidence:
        missing = [name for name in (first, other) if name not in results["source"]]
        if missing:
            return not_computable(f"needs the variant {missing[0]}")
        gain = -losses(results).sel(source=first, target=other)
        return at_least(gain.values, ACROSS)

    return _oflosses(
        f"across-optimizers-{first}-to-{other}".replace(", ", "-"),
        f"the ticket of {first} trained as {other} is about as accurate as its native ticket",
        source,
        f"mean difference ≥ -{ACROSS:.0%}",
        test,
    )


def permuted_transfers_worse(near: Sequence[str], far: str, target: str, source: str) -> Claim:
    """Claims that a source whose pixels mean other things transfers less well."""

    def test(results: xarray.Dataset) -> Evidence:
        missing = _missing(results, [*near, far, target])
        if missing:
            return not_computable(missing)
        accuracy = results["transfer_accuracy"].sel(control="ticket", target=target)
        gain = accuracy.sel(source=list(near)).mean("source") - accuracy.sel(source=far)
        return greater(gain.values)

    return _oflosses(
        "permuted-source-transfers-worse",
        f"to {target}, tickets from {' and '.join(near)} are more accurate than those from {far}",
        source,
        "95 % interval of the difference above 0",
        test,
    )


def permuted_first_layer_differs(near: Sequence[str], far: str, target: str) -> Claim:
    """Claims that first-layer masks are alike only where pixels mean the same."""

    def test(results: xarray.Dataset) -> Evidence:
        missing = _missing(results, [*near, far, target])
        if missing:
            return not_computable(missing)
        first = results["overlap"].isel(layer=0).sel(target=target)
        difference = first.sel(source=list(near)).mean("source") - first.sel(source=far)
        return greater(difference.values)

    return Claim(
        "permuted-first-layer-differs",
        f"in the first layer the masks of {' and '.join(near)} have more in common with that of "
        f"{target} than the mask of {far} has",
        OWN,
        "95 % interval of the difference of intersections over unions above 0",
        exact=False,
        test=test,
    )


def losses(results: xarray.Dataset) -> xarray.DataArray:
    """Gives native less transferred accuracy.

    Args:
      results: with `transfer_accuracy` and `native_accuracy`.

    Returns:
      (source, target, replicate), as fractions.
    """
    carried = results["transfer_accuracy"].sel(control="ticket")
    return results["native_accuracy"] - carried


def _mean_loss(results: xarray.Dataset, tasks: Sequence[str]) -> np.ndarray:
    return _over_pairs(losses(results), tasks)


def _over_pairs(values: xarray.DataArray, tasks: Sequence[str]) -> np.ndarray:
    """Gives each replicate's mean over pairs of different tasks; NaN if one of them is."""
    pairs = list(itertools.permutations(tasks, 2))
    each = [values.sel(source=source, target=target).values for source, target in pairs]
    return np.mean(each, axis=0)


def _oflosses(
    name: str,
    statement: str,
    source: str,
    expected: str,
    test: Test,
    tasks: Sequence[str] | None = None,
) -> Claim:
    def of_run(results: xarray.Dataset) -> Evidence:
        if results.sizes["source"] < 2 or (tasks is not None and len(tasks) < 2):
            return not_computable("needs two tasks")
        return test(results)

    return Claim(name, statement, source, expected, exact=False, test=of_run)


def _missing(results: xarray.Dataset, tasks: Sequence[str]) -> str:
    missing = [task for task in tasks if task not in results["source"]]
    return f"needs the task {missing[0]}" if missing else ""
