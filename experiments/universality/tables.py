"""What is printed: accuracies by source and target, and the exponents of every task."""

import numpy as np
import xarray
from rich import box
from rich.console import RenderableType
from rich.table import Table

from experiments.common import sweeps
from jaxticket.analysis import mean_interval


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables.

    Args:
      results: with what `measuring.measured` adds.

    Returns:
      Rich tables: accuracy of native tickets by density, transferred tickets and random ones by
      source and target, and exponents by task and layer.
    """
    accuracy = results["transfer_accuracy"]
    shown = [
        _matrix(results, accuracy.sel(control=name), f"{name} of the source (row) on the target")
        for name in accuracy["control"].values
        if name in ("ticket", "shuffle_reinit")
    ]
    return [sweeps.variants_by_density(results, "ticket"), *shown, _exponents(results)]


def _matrix(results: xarray.Dataset, values: xarray.DataArray, what: str) -> Table:
    targets = [str(name) for name in results["target"].values]
    rows = {"native": [results["native_accuracy"].sel(target=t).values for t in targets]}
    for source in results["source"].values:
        rows[str(source)] = [values.sel(source=source, target=t).values for t in targets]
    columns = [name.replace(", ", "\n") for name in targets]
    return sweeps.make_table(f"test accuracy: {what}", results, columns, rows)


def _exponents(results: xarray.Dataset) -> Table:
    table = Table(
        title="exponents σ of the layers' shares ± 95 % interval (R² of the fit)",
        caption=f"means over {results.sizes['replicate']} replicates",
        box=box.SIMPLE_HEAD,
        padding=0,
        pad_edge=False,
    )
    table.add_column("variant", no_wrap=True)
    for layer in results["layer"].values:
        table.add_column(str(layer).removesuffix("/kernel"), justify="right")
    for name in results["variant"].values:
        here = results[["exponent", "r_squared"]].sel(variant=name)
        table.add_row(str(name), *map(_cell, here["exponent"].values.T, here["r_squared"].values.T))
    table.add_row("untrained", *map(_cell, results["null_exponent"].values.T))
    return table


def _cell(exponents: np.ndarray, explained: np.ndarray | None = None) -> str:
    interval = mean_interval(exponents)
    if interval.number == 0:
        return "—"
    half = interval.high - interval.mean
    spread = f"±{half:.2f}" if np.isfinite(half) else ""
    known = [] if explained is None else explained[np.isfinite(explained)]
    fit = f" ({np.mean(known):.2f})" if len(known) else ""
    return f" {interval.mean:+.2f}{spread}{fit}"
