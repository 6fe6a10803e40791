"""Claims and tables about sweeps: one cell of (variant, arm, when) against another."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray
from rich import box
from rich.table import Table

from experiments.common.judging import Values, judged
from jaxticket.analysis import Claim, at_early_stop, at_end, at_start, mean_interval
from jaxticket.analysis.claims import Evidence, at_least, by_interval, greater, not_computable
from jaxticket.errors import TicketError, unknown

READ = {"early_stop": at_early_stop, "start": at_start, "end": at_end}
"""Where a curve is read, by name."""

WORDS = {"early_stop": "", "start": " before training", "end": " after training"}


class Cell(NamedTuple):
    """Networks that a claim compares.

    Attributes:
      variant: of the sweep.
      arm: the arm.
      when: a key of `READ`.
      dense: whether the dense network is meant, whatever the density.
    """

    variant: str
    arm: str = "ticket"
    when: str = "early_stop"
    dense: bool = False

    def __str__(self) -> str:
        """Names it in a claim."""
        what = "dense" if self.dense else self.arm
        return f"{self.variant} {what}{WORDS[self.when]}"

    @property
    def slug(self) -> str:
        """Names it in the id of a claim."""
        plain = str(self).replace(" = ", "-").replace(",", "")
        return plain.replace(" ", "-").replace("_", "-")

    def values(self, results: xarray.Dataset, percent: float) -> np.ndarray | str:
        """Reads test accuracy at a density: `float[replicates]`, or what the run lacks."""
        if self.variant not in results["variant"]:
            return f"the variant {self.variant}"
        if self.arm not in results["arm"]:
            return f"the arm {self.arm}"
        here = results.sel(variant=self.variant)
        density = 100 * here["density"].values
        level = 0 if self.dense else int(np.abs(density - percent).argmin())
        if not self.dense and abs(density[level] - percent) > 0.1 * percent:
            return f"a level at {percent:g} %"
        return READ[self.when](here, "test_accuracy").sel(arm=self.arm, level=level).values

    def at(self, percent: float) -> Values:
        """Makes the reader of `values` at a density."""
        return lambda results: self.values(results, percent)


def more(first: Cell, second: Cell, percent: float, source: str, paper: str | None = None) -> Claim:
    """Claims that the first is more accurate than the second, paired by replicate."""
    return Claim(
        f"{first.slug}-more-than-{second.slug}-{percent:g}",
        f"at {percent:g} %, {first} is more accurate than {second}",
        source,
        "95 % interval of the difference above 0",
        exact=False,
        test=_compare(percent, first, second),
        paper=paper,
    )


def gains_more(
    first: Cell,
    control: Cell,
    second: Cell,
    other_control: Cell,
    percent: float,
    source: str,
    paper: str | None = None,
) -> Claim:
    """Claims that the first gains more over its control than the second over its own."""

    def judge(*found: np.ndarray) -> Evidence:
        if first == second:
            return not_computable(f"{first} would be compared with itself")
        one, its_control, other, its_other = found
        return greater((one - its_control) - (other - its_other))

    cells = (first, control, second, other_control)
    return Claim(
        f"{first.slug}-gains-more-than-{second.slug}-{percent:g}",
        f"at {percent:g} %, {first} gains more over {control.arm} than {second} does",
        source,
        "95 % interval of the difference of differences above 0",
        exact=False,
        test=judged(judge, *(cell.at(percent) for cell in cells)),
        paper=paper,
    )


def as_good(
    first: Cell,
    second: Cell,
    percent: float,
    tolerance: float,
    source: str,
    paper: str | None = None,
) -> Claim:
    """Claims that the first is at least as accurate as the second, to a tolerance stated first."""
    return Claim(
        f"{first.slug}-as-good-as-{second.slug}-{percent:g}",
        f"at {percent:g} %, {first} is at least as accurate as {second}",
        source,
        f"mean difference ≥ -{tolerance:.1%}",
        exact=False,
        test=_compare(percent, first, second, tolerance),
        paper=paper,
    )


def unchanged(first: Cell, second: Cell, percent: float, tolerance: float, source: str) -> Claim:
    """Claims that two are equally accurate, to a tolerance.

    Args:
      first: networks.
      second: other networks.
      percent: the density.
      tolerance: what still counts as equal, a fraction.
      source: of the claim.

    Returns:
      The claim.
    """

    def judge(one: np.ndarray, other: np.ndarray) -> Evidence:
        return by_interval(one - other, lambda interval: abs(interval.mean) <= tolerance)

    return Claim(
        f"{first.slug}-as-{second.slug}-{percent:g}",
        f"at {percent:g} %, {first} is as accurate as {second}",
        source,
        f"mean difference within {tolerance:.1%}",
        exact=False,
        test=judged(judge, first.at(percent), second.at(percent)),
    )


def more_than(cell: Cell, value: float, percent: float, source: str) -> Claim:
    """Claims that a cell is more accurate than a number."""
    return Claim(
        f"{cell.slug}-more-than-{100 * value:g}-{percent:g}",
        f"at {percent:g} %, {cell} is more accurate than {value:.0%}",
        source,
        f"95 % interval of accuracy - {value:.0%} above 0",
        exact=False,
        test=judged(lambda found: greater(found - value), cell.at(percent)),
    )


def near(cell: Cell, value: float, percent: float, tolerance: float, source: str) -> Claim:
    """Claims that a cell's mean accuracy is a number, to a tolerance."""

    def judge(found: np.ndarray) -> Evidence:
        return by_interval(found - value, lambda interval: abs(interval.mean) <= tolerance)

    return Claim(
        f"{cell.slug}-near-{100 * value:g}-{percent:g}",
        f"at {percent:g} %, {cell} has an accuracy of {value:.0%}",
        source,
        f"mean within {tolerance:.0%}",
        exact=False,
        test=judged(judge, cell.at(percent)),
    )


def _compare(
    percent: float, first: Cell, second: Cell, tolerance: float | None = None
) -> Callable[[xarray.Dataset], Evidence]:
    def judge(one: np.ndarray, other: np.ndarray) -> Evidence:
        if first == second:
            return not_computable(f"{first} would be compared with itself")
        return greater(one - other) if tolerance is None else at_least(one - other, tolerance)

    return judged(judge, first.at(percent), second.at(percent))


def variants_by_arm(results: xarray.Dataset, percent: float, when: str = "early_stop") -> Table:
    """Makes the table of variants (rows) and arms (columns) at one density.

    Args:
      results: from `jaxticket.runs.to_dataset`, of a sweep.
      percent: the density.
      when: a key of `READ`.

    Returns:
      A rich table.
    """
    arms = [str(arm) for arm in results["arm"].values]
    rows, shown = {}, percent
    for name in results["variant"].values:
        here = results.sel(variant=name)
        level = int(np.abs(100 * here["density"].values - percent).argmin())
        shown = 100 * float(here["density"].values[level])
        values = READ[when](here, "test_accuracy").isel(level=level)
        rows[str(name)] = [values.sel(arm=arm).values for arm in arms]
    title = f"test accuracy{WORDS[when]} at {shown:.1f} % of the weights"
    return make_table(title, results, arms, rows)


def variants_by_density(results: xarray.Dataset, arm: str, when: str = "early_stop") -> Table:
    """Makes the table of variants (rows) and densities (columns) of one arm.

    Args:
      results: from `jaxticket.runs.to_dataset`, of a sweep.
      arm: the arm.
      when: a key of `READ`.

    Returns:
      A rich table.
    """
    columns = density_headings(results)
    rows = {}
    for name in results["variant"].values:
        values = READ[when](results.sel(variant=name), "test_accuracy").sel(arm=arm)
        rows[str(name)] = [values.isel(level=n).values for n in range(len(columns))]
    title = f"test accuracy{WORDS[when]} of the {arm} by density"
    return make_table(title, results, columns, rows)


def density_headings(results: xarray.Dataset) -> list[str]:
    """Gives the heading of each level: its density, or its number where variants differ.

    Args:
      results: from `jaxticket.runs.to_dataset`.

    Returns:
      One a level.
    """
    densities = np.atleast_2d(results["density"].values)
    # Layerwise counts are rounded layer by layer, so equal rates differ in the last weights.
    if not np.allclose(densities, densities[0], rtol=0.005):
        return [f"level {level}" for level in range(densities.shape[1])]
    return [f"{density:.1%}" for density in densities[0]]


def make_table(
    title: str, results: xarray.Dataset, columns: list[str], rows: Mapping[str, list[np.ndarray]]
) -> Table:
    """Makes a table of means with their intervals, a row a variant.

    Args:
      title: what is shown, in fractions.
      results: says how many replicates.
      columns: what is compared.
      rows: `float[replicates]` for each column, by variant.

    Returns:
      A rich table.
    """
    table = Table(
        title=f"{title}, % ± 95 % interval",
        caption=f"means over {results.sizes['replicate']} replicates",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("variant", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", "\n"), justify="right", no_wrap=True)
    for name, values in rows.items():
        table.add_row(name, *map(_cell, values))
    return table


def _cell(values: np.ndarray) -> str:
    interval = mean_interval(values)
    if interval.number == 0:
        return "—"
    half = interval.high - interval.mean
    spread = f"±{100 * half:.1f}" if np.isfinite(half) else ""
    return f" {100 * interval.mean:.1f}{spread}"


def check_known(kind: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Checks that names are of a list.

    Args:
      kind: what is named, for the message.
      names: what was given.
      known: what there is.

    Raises:
      TicketError: with the nearest names.

    Example:
      >>> check_known("source", ["snip"], ["snip", "grasp"])
    """
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)


def check_some(option: str, values: Sequence[object]) -> None:
    """Checks that a sweep sweeps something, and nothing twice.

    Args:
      option: its name.
      values: what was given.

    Raises:
      TicketError: for none, or for one that is there twice.

    Example:
      >>> check_some("--k", (1, 2))
    """
    if not values:
        raise TicketError(f"{option}: got nothing, expected at least one value")
    twice = [value for value in dict.fromkeys(values) if list(values).count(value) > 1]
    if twice:
        raise TicketError(f"{option}: got {twice[0]} twice, expected every value once")
