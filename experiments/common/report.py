"""What people read at the end: the table, the verdicts, what went wrong."""

from typing import Any

import numpy as np
import xarray
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from jaxticket.analysis import at_early_stop, mean_interval
from jaxticket.population import hosts


def results_tables(results: xarray.Dataset, metric: str = "test_accuracy") -> list[Table]:
    """Makes the tables of densities: one, or one a variant of a sweep.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      metric: an accuracy, read at each network's early-stop step.

    Returns:
      Rich tables.
    """
    if "variant" not in results.dims:
        return [results_table(results, metric)]
    names = [str(name) for name in results["variant"].values]
    return [results_table(results.sel(variant=name), metric, name) for name in names]


def results_table(
    results: xarray.Dataset, metric: str = "test_accuracy", variant: str = ""
) -> Table:
    """Makes the table of densities: accuracy with its interval and early-stop step, by arm.

    Args:
      results: from `jaxticket.runs.to_dataset`.
      metric: an accuracy, read at each network's early-stop step.
      variant: what the results are of, for the title.

    Returns:
      A rich table.
    """
    # Narrow enough for five arms in 80 columns.
    table = Table(
        title=f"{f'{variant}: ' if variant else ''}{metric.replace('_', ' ')} at early stop, "
        "% ± 95 % interval @ early-stop step",
        caption=f"means over {results.sizes['replicate']} replicates; level 0 comes first",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("density", justify="right", no_wrap=True)
    for arm in results["arm"].values:
        table.add_column(str(arm).replace("_", "\n"), justify="right", no_wrap=True)
    values = at_early_stop(results, metric)
    table.caption = f"{table.caption}{_caption_of_marks(results)}"
    for level, density in enumerate(results["density"].values):
        cells = [_cell(results, values, str(arm), level) for arm in results["arm"].values]
        shown = cells if level else [cells[0], *["dense"] * (len(cells) - 1)]
        table.add_row(f"{density:.2%}", *shown)
    return table


def claims_table(claims: list[dict[str, Any]]) -> Table:
    """Makes the table of verdicts.

    Args:
      claims: from `jaxticket.analysis.judge`.

    Returns:
      A rich table.
    """
    table = Table(
        title="claims (summary.json has their sources and what was expected)", box=box.SIMPLE_HEAD
    )
    for name in ("claim", "measured", "95 % interval", "p (corrected)", "holds"):
        table.add_column(name)
    for claim in claims:
        table.add_row(
            escape(claim["statement"]),
            _number(claim["measured"]),
            "" if claim["interval"] is None else " to ".join(map(_number, claim["interval"])),
            p_values(claim),
            {True: "yes", False: "[bold]NO[/bold]", None: "undecided"}[claim["holds"]]
            + (", not corrected" if only_uncorrected(claim) else ""),
        )
    return table


def p_values(claim: dict[str, Any]) -> str:
    """Shows the p value of a claim that is a test, and the one that is corrected for the others.

    Args:
      claim: from `jaxticket.analysis.judge`, or of an older summary.

    Returns:
      Text, empty for what is no test.

    Example:
      >>> p_values({"p_value": 0.0123, "p_value_corrected": 0.0246}), p_values({})
      ('0.012 (0.025)', '')
    """
    if claim.get("p_value") is None:
        return ""
    return f"{claim['p_value']:.2g} ({claim['p_value_corrected']:.2g})"


def only_uncorrected(claim: dict[str, Any]) -> bool:
    """Says whether a claim holds by itself and not when it is corrected for how many there are.

    Args:
      claim: from `jaxticket.analysis.judge`, or of an older summary.

    Returns:
      True if so.

    Example:
      >>> only_uncorrected({"holds": True, "holds_corrected": False}), only_uncorrected({})
      (True, False)
    """
    return bool(claim.get("holds")) and claim.get("holds_corrected") is False


def make_console() -> Console:
    """Makes the console: as wide as the tables where there is no terminal.

    Of several processes only the first one prints.

    Returns:
      A rich console.
    """
    quiet = not hosts.is_primary()
    console = Console(quiet=quiet)
    return console if console.is_terminal else Console(width=130, quiet=quiet)


def _cell(results: xarray.Dataset, values: xarray.DataArray, arm: str, level: int) -> str:
    here = {"arm": arm, "level": level}
    interval = mean_interval(values.sel(here).values)
    if interval.number == 0:
        return "diverged"
    steps = results["early_stop_step"].where(results["valid"]).sel(here)
    half = interval.high - interval.mean
    spread = f"±{100 * half:.1f}" if np.isfinite(half) else ""
    return f"{100 * interval.mean:.1f}{spread} @{float(steps.mean()):.0f}{_marks(results, here)}"


MARKS = {"empty_layers": ("!", "a layer is empty"), "untrained": ("?", "not above chance")}
"""What a cell is marked with where some replicate is of no use, and what it means."""


def _marks(results: xarray.Dataset, here: dict[str, Any]) -> str:
    there = {name: mark for name, (mark, _) in MARKS.items() if name in results}
    return "".join(mark for name, mark in there.items() if results[name].sel(here).any())


def _caption_of_marks(results: xarray.Dataset) -> str:
    used = [words for name, words in MARKS.items() if name in results and results[name].any()]
    return "".join(f"; {mark} in some replicate {meaning}" for mark, meaning in used)


def _number(value: float | str | None) -> str:
    # JSON knows no NaN: a number that is none is written as null.
    if value is None:
        return "not finite"
    return escape(value) if isinstance(value, str) else f"{value:.4g}"
