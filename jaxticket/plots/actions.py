"""Crossed actions as a figure: what becomes of kept weights against what becomes of pruned ones."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxticket.arms import CROSSED, MASK_0, MASK_1
from jaxticket.errors import TicketError
from jaxticket.plots import networks, style
from jaxticket.plots.sweeps import WHERE

if TYPE_CHECKING:
    import xarray

PAPER_NAMES = {
    "rewind": "rewind",
    "reinit": "random_reinit",
    "reshuffle": "random_reshuffle",
    "random_signed_constant": "rand_signed_constant",
    "zero": "zero",
    "initial": "freeze_init",
    "initial_unless_shrunk": "freeze_init_zero_mask",
    "initial_unless_shrunk_all": "freeze_init_zero_all",
}
"""What the authors of 1905.01067 call actions that this library calls otherwise, or alike."""

_COLUMNS = 5


def actions_heat_map(
    results: "xarray.Dataset",
    percent: float,
    metric: str = "test_accuracy",
    *,
    step: str = "early_stop",
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Draws a metric of every mask-1 action with every mask-0 action, a panel a variant.

    A cell is the mean over the replicates that are valid, in percent; a dash where none is. All
    panels have one scale. What was not trained is left white.

    Args:
      results: from `jaxticket.runs.to_dataset`, of a sweep, with some arms of
        `jaxticket.arms.CROSSED`.
      percent: the density; the level that is nearest to it is drawn.
      metric: any curve of the results that is a share.
      step: where it is read, as in `variants_against_density`.
      titles: of the panels by variant; the variants themselves unless given.

    Returns:
      The figure.

    Raises:
      TicketError: for results without such an arm, and as `variants_against_density` does.

    Example:
      `actions_heat_map(jaxticket.runs.load("runs/deconstructing/<hash>").results, 9.1)`

    Source: the actions of 1905.01067, sections 3 and 4, which it varies one at a time.
    """
    rows, columns = _present(results)
    networks.choose_metric(results, metric)
    tables = {
        str(name): _table(results.sel(variant=name), percent, metric, step, rows, columns)
        for name in results["variant"].values
    }
    across = min(_COLUMNS, len(tables))
    down = -(-len(tables) // across)
    size = 2.6 + across * (0.4 + 0.56 * len(columns)), 2.0 + down * (0.5 + 0.3 * len(rows))
    figure, panels = style.panels(across, *size, down)
    for axes in panels[len(tables) :]:
        axes.set_visible(False)
    limits = _limits(tables)
    for place, (axes, name) in enumerate(zip(panels, tables, strict=False)):
        _draw(axes, tables[name], limits)
        axes.set_title((titles or {}).get(name, name), fontsize=style.TEXT - 1)
        last, first = place + across >= len(tables), place % across == 0
        axes.set_xticks(range(len(columns)), [_label(one) if last else "" for one in columns])
        axes.set_yticks(range(len(rows)), [_label(one) if first else "" for one in rows])
        axes.tick_params(axis="x", rotation=90)
    what = f"{metric.replace('_', ' ')} in %, {WHERE[step]}, at {_density(results, percent):.1%}"
    figure.supxlabel(f"pruned weights (mask-0 action)\n{what}", fontsize=style.TEXT)
    figure.supylabel("kept weights (mask-1 action)", fontsize=style.TEXT)
    return figure


def _limits(tables: Mapping[str, np.ndarray]) -> dict[str, float]:
    finite = np.concatenate([table[np.isfinite(table)] for table in tables.values()])
    return {"vmin": finite.min(initial=100.0), "vmax": finite.max(initial=0.0)}


def _present(results: "xarray.Dataset") -> tuple[list[str], list[str]]:
    """Lists the mask-1 and the mask-0 actions of the arms that there are."""
    pairs = [pair for pair, arm in CROSSED.items() if arm in results["arm"]]
    if not pairs:
        raise TicketError(
            "results: got no arm of crossed actions, expected some of jaxticket.arms.CROSSED; run "
            "python -m experiments.deconstructing --preset crossed"
        )
    rows, columns = ({pair[side] for pair in pairs} for side in (0, 1))
    return [one for one in MASK_1 if one in rows], [one for one in MASK_0 if one in columns]


def _density(results: "xarray.Dataset", percent: float) -> float:
    density = np.atleast_2d(results["density"].values)[0]
    return float(density[np.abs(100 * density - percent).argmin()])


def _table(
    results: "xarray.Dataset",
    percent: float,
    metric: str,
    step: str,
    rows: list[str],
    columns: list[str],
) -> np.ndarray:
    """Gives the means in percent, -inf where no network is valid and NaN where none was trained."""
    level = int(np.abs(100 * results["density"].values - percent).argmin())
    values = networks.read(results, metric, step).isel(level=level)
    means = np.full((len(rows), len(columns)), np.nan)
    for row, column in np.ndindex(means.shape):
        arm = CROSSED[rows[row], columns[column]]
        if arm in values["arm"]:
            mean = float(networks.over_replicates(100 * values.sel(arm=arm)).mean)
            means[row, column] = mean if np.isfinite(mean) else -np.inf
    return means


def _draw(axes: Axes, table: np.ndarray, limits: dict[str, Any]) -> None:
    """Writes numbers on colours, dark ones where networks are worse."""
    axes.imshow(np.ma.masked_invalid(table), cmap="viridis", aspect="auto", **limits)
    middle = (limits["vmin"] + limits["vmax"]) / 2
    for row, column in np.argwhere(~np.isnan(table)):
        value = table[row, column]
        text = f"{value:.1f}" if np.isfinite(value) else "—"
        colour = "white" if np.isfinite(value) and value < middle else style.INK
        axes.text(
            column, row, text, ha="center", va="center", fontsize=style.TEXT - 2, color=colour
        )
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _label(action: str) -> str:
    """Names an action as the paper's authors do, and below as this library does."""
    paper = PAPER_NAMES.get(action, action)
    return paper if paper == action else f"{paper}\n({action})"
