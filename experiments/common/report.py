"""What people read at the end: the table, the verdicts, what went wrong."""

from typing import Any

import numpy as np
import xarray
from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from jaxticket.analysis import at_early_stop, mean_interval
from jaxticket.population import hosts


def results_tables(results: xarray.Dataset, metric: str = "test_accuracy") -> list[RenderableType]:
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
    for name in ("claim", "measured", "95 % interval", "holds"):
        table.add_column(name)
    for claim in claims:
        table.add_row(
            escape(claim["statement"]),
            _number(claim["measured"]),
            "" if claim["interval"] is None else " to ".join(map(_number, claim["interval"])),
            {True: "yes", False: "[bold]NO[/bold]", None: "undecided"}[claim["holds"]],
        )
    return table


def diverged_networks(results: xarray.Dataset) -> list[dict[str, Any]]:
    """Lists the networks whose loss was not finite, each once.

    Args:
      results: from `jaxticket.runs.to_dataset`.

    Returns:
      `arm`, `level`, `replicate` and `step` of each, and `variant` of a sweep.
    """
    steps = results["diverged_step"]
    steps = steps if "variant" in steps.dims else steps.expand_dims(variant=[""])
    found = []
    for place in np.argwhere(steps.values >= 0).tolist():
        here = dict(zip(steps.dims, place, strict=True))
        if here["level"] > 0 or here["arm"] == 0:
            step = steps.isel(here)
            variant = {"variant": str(step["variant"].item())} if "variant" in results.dims else {}
            name = {"arm": str(step["arm"].item()), "level": here["level"]}
            last = {"replicate": here["replicate"], "step": int(step)}
            found.append(variant | name | last)
    return found


def describe_diverged(networks: list[dict[str, Any]], shown: int = 5) -> str:
    """Says in one line which networks diverged.

    Args:
      networks: from `diverged_networks`.
      shown: how many to name.

    Returns:
      The line.

    Example:
      >>> describe_diverged([{"arm": "ticket", "level": 2, "replicate": 0, "step": 50}])
      'the loss of 1 network is not finite: ticket level 2 replicate 0 at step 50; the others \
went on, and these are left out of every mean; lower the learning rate'
    """
    names = [
        f"{_prefix(n)}{n['arm']} level {n['level']} replicate {n['replicate']} at step {n['step']}"
        for n in networks[:shown]
    ]
    rest = f" and {len(networks) - shown} more" if len(networks) > shown else ""
    count = f"{len(networks)} network{'s' if len(networks) > 1 else ''}"
    verb = "is" if len(networks) == 1 else "are"
    return (
        f"the loss of {count} {verb} not finite: {', '.join(names)}{rest}; the others went on, "
        "and these are left out of every mean; lower the learning rate"
    )


def _prefix(network: dict[str, Any]) -> str:
    return f"{network['variant']}: " if "variant" in network else ""


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
    return f"{100 * interval.mean:.1f}{spread} @{float(steps.mean()):.0f}"


def _number(value: float | str | None) -> str:
    # JSON knows no NaN: a number that is none is written as null.
    if value is None:
        return "not finite"
    return escape(value) if isinstance(value, str) else f"{value:.4g}"
