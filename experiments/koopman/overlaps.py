"""Claims and tables about masks that are made while a network trains, and how they agree."""

import numpy as np
import xarray
from rich.table import Table

from experiments.common.sweeps import make_table
from jaxticket.analysis import Claim, claims
from jaxticket.analysis.claims import Evidence, at_least, by_interval, greater


def _overlap(results: xarray.Dataset, mask: str, other: str, time: int) -> np.ndarray:
    return results["overlap"].sel(mask=mask, other=other, time=time).values.astype(np.float64)


def different(mask: str, other: str, time: int, below: float, source: str) -> Claim:
    """Claims that two masks differ at a time: their overlap is below a number."""
    return Claim(
        f"{mask}-is-not-{other}-{time}",
        f"at step {time:,}, the mask of {mask} pruning differs from that of {other} pruning",
        source,
        f"95 % interval of the overlap below {below:g}",
        exact=False,
        test=lambda results: claims.below(_overlap(results, mask, other, time), below),
    )


def same(mask: str, other: str, time: int, above: float, source: str) -> Claim:
    """Claims that two masks are the same at a time: their overlap is above a number."""
    return Claim(
        f"{mask}-is-{other}-{time}",
        f"at step {time:,}, the mask of {mask} pruning is that of {other} pruning",
        source,
        f"mean overlap above {above:g}",
        exact=False,
        test=lambda results: by_interval(
            _overlap(results, mask, other, time), lambda interval: interval.mean > above
        ),
    )


def grows(mask: str, other: str, first: int, last: int, source: str) -> Claim:
    """Claims that two masks overlap more at a later time."""
    return Claim(
        f"overlap-of-{mask}-and-{other}-grows",
        f"the masks of {mask} and {other} pruning overlap more at step {last:,} than at {first:,}",
        source,
        "95 % interval of the difference above 0",
        exact=False,
        test=lambda results: greater(
            _overlap(results, mask, other, last) - _overlap(results, mask, other, first)
        ),
    )


def as_good(mask: str, other: str, time: int, tolerance: float, source: str) -> Claim:
    """Claims that a network pruned by one mask is as accurate as by the other, untrained since."""

    def test(results: xarray.Dataset) -> Evidence:
        found = results["pruned_accuracy"].sel(time=time)
        return at_least((found.sel(mask=mask) - found.sel(mask=other)).values, tolerance)

    return Claim(
        f"{mask}-as-good-as-{other}-{time}",
        f"at step {time:,}, networks pruned by {mask} are at least as accurate as by {other}",
        source,
        f"mean difference ≥ -{tolerance:.1%}",
        exact=False,
        test=test,
    )


def table(results: xarray.Dataset, mask: str, other: str) -> Table:
    """Makes the table of two masks over training, a column a time.

    Args:
      results: with `overlap` and `pruned_accuracy`.
      mask: one mask.
      other: the other.

    Returns:
      A rich table.
    """
    columns = [f"step {time:,}" for time in results["time"].values]
    rows = {f"overlap of {mask} and {other}": results["overlap"].sel(mask=mask, other=other)}
    for name in results["mask"].values:
        rows[f"accuracy pruned by {name}"] = results["pruned_accuracy"].sel(mask=name)
    title = f"{mask} against {other} pruning (overlap by chance {float(results['chance']):.1%})"
    by_time = {
        name: list(values.transpose("time", "replicate").values) for name, values in rows.items()
    }
    return make_table(title, results, columns, by_time)
