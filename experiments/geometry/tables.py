"""Tables of geometry: what moves and jumps, and what basins are like, as measured."""

import numpy as np
import xarray
from rich import box
from rich.table import Table

from jaxticket.analysis import mean_interval


def tables(results: xarray.Dataset) -> list[Table]:
    """Makes the tables that only this experiment has.

    Args:
      results: with what the experiment measures.

    Returns:
      Rich tables; none without a pruned level.
    """
    if "jump_jump" not in results:
        return []
    percent = [f"{100 * d:.3g} %" for d in np.atleast_2d(results["density"].values)[0]]
    jump = results["jump_jump"]
    predicted = results["jump_linear"] + results["jump_quadratic"]
    moves = _table("rise of the training loss by pruning, and predicted", percent[1:])
    for name in jump["removal"].values:
        _row(moves, str(name), jump.sel(removal=name).isel(level=slice(1, None)))
        _row(moves, "  predicted", predicted.sel(removal=name).isel(level=slice(1, None)))
    ways = []
    for variable, title in (
        ("barrier", "barrier of the training loss to the network before (oneshot: dense)"),
        ("angle", "angle to it, in right angles, of what both keep"),
    ):
        table = _table(title, percent[1:])
        for name in results["pair"].values:
            _row(table, str(name), results[variable].sel(pair=name).isel(level=slice(1, None)))
        ways.append(table)
    return [moves, *ways, *_basins(results)]


def _basins(results: xarray.Dataset) -> list[Table]:
    """Makes a table a measure, a row a stage, a column an examined level."""
    percent = [f"{100 * d:.3g} %" for d in results["examined_density"].values]
    unreliable = 1 - float(results["volume_reliable"].mean())
    share = f"{unreliable:.0%} of the log volumes have too small an effective sample size"
    measures = {
        "largest eigenvalue": results["eigenvalue"].isel(place=0),
        "trace of the Hessian": results["trace"],
        "sharpness": results["sharpness"],
        f"median log radius ({share})": results["median_log_radius"],
    }
    made = []
    for title, values in measures.items():
        table = _table(title, percent)
        for stage in values["stage"].values:
            if np.isfinite(values.sel(stage=stage)).any():
                _row(table, str(stage), values.sel(stage=stage))
        made.append(table)
    shares = _table("largest share that can go at once, and by d_loc", percent)
    for order in results["order"].values:
        _row(shares, str(order), results["good_share"].sel(order=order))
        _row(shares, "  predicted", results["predicted_share"].sel(order=order))
    return [*made, shares]


def _table(title: str, columns: list[str]) -> Table:
    caption = "mean and half of its 95 % interval"
    table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=0, pad_edge=False)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def _row(table: Table, name: str, values: xarray.DataArray) -> None:
    over = next(dim for dim in values.dims if dim != "replicate")
    cells = [mean_interval(one) for one in values.transpose(over, "replicate").values]
    texts = [f" {c.mean:.3g} ± {(c.high - c.low) / 2:.2g}" if c.number else " -" for c in cells]
    table.add_row(name, *texts)
