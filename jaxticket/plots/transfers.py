"""Transfers between tasks and the flows of tasks, as figures."""

from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from jaxticket.analysis import Interval, mean_interval
from jaxticket.plots import networks, scales, style

if TYPE_CHECKING:
    import xarray

_MARKERS = "os^vDPX*<>ph"
_RANDOM = "shuffle_reinit"


def transfer_matrices(results: "xarray.Dataset") -> Figure:
    """Draws what tickets of all sources lose on all targets, and what they gain over random ones.

    Args:
      results: with `transfer_accuracy` (source, target, control, replicate) and `native_accuracy`
        (target, replicate), fractions.

    Returns:
      The figure: a matrix of differences in percentage points, means with half of their 95 %
      intervals; against the native ticket, and against the random ticket of the same source where
      it was trained.

    Source: after 1906.02773.
    """
    accuracy = results["transfer_accuracy"]
    ticket = accuracy.sel(control="ticket")
    matrices = {"transferred − native ticket": ticket - results["native_accuracy"]}
    if _RANDOM in accuracy["control"]:
        matrices["transferred − random ticket"] = ticket - accuracy.sel(control=_RANDOM)
    size = 1.5 + 0.62 * results.sizes["source"]
    figure, panels = style.panels(len(matrices), 1.0 + size * len(matrices), size)
    for axes, (title, values) in zip(panels, matrices.items(), strict=True):
        _matrix(axes, 100 * values)
        axes.set_title(f"{title} (points)", fontsize=style.TEXT, color=style.INK)
    panels[0].set_ylabel("source of the ticket")
    return figure


def _matrix(axes: Axes, values: "xarray.DataArray") -> None:
    """Writes numbers on colours: red loses, blue gains."""
    names = [str(name) for name in values["source"].values]
    cells = values.transpose("source", "target", "replicate").values
    intervals = [[_interval(cell) for cell in row] for row in cells]
    means = np.array([[one.mean for one in row] for row in intervals])
    finite = np.abs(means[np.isfinite(means)])
    largest = max(1e-9, float(finite.max(initial=0.0)))
    axes.imshow(means, cmap="RdBu", vmin=-1.3 * largest, vmax=1.3 * largest, aspect="auto")
    for row, column in np.ndindex(means.shape):
        one = intervals[row][column]
        spread = f"\n±{_half(one):.1f}" if one.number > 1 else ""
        text = f"{one.mean:+.1f}{spread}" if one.number else "—"
        strong = np.isfinite(one.mean) and abs(one.mean) > 0.8 * largest
        colour = "white" if strong else style.INK
        axes.text(
            column, row, text, ha="center", va="center", fontsize=style.TEXT - 2, color=colour
        )
    labels = [name.replace(", ", ",\n") for name in names]
    targets = [str(name).replace(", ", ",\n") for name in values["target"].values]
    axes.set_xticks(range(len(targets)), targets, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("target")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def flow_exponents(results: "xarray.Dataset") -> Figure:
    """Draws the exponents of every task, layer by layer, with the shares that they are fitted to.

    Args:
      results: with `exponent` (variant, replicate, layer), `null_exponent` (replicate, layer) and
        `share` (variant, level, replicate, layer).

    Returns:
      The figure: shares against density on logarithmic axes, a panel a layer, where a power law
      is a line; and exponents with 95 % intervals, the grey band the exponent of initial weights
      that nothing trains.

    Source: after 2110.03210.
    """
    names = [str(name) for name in results["variant"].values]
    layers = [str(layer) for layer in results["layer"].values]
    figure, panels = style.panels(len(layers), 2.7 * len(layers), 4.9, rows=2)
    entries: dict[str, Any] = {}
    for place, layer in enumerate(layers):
        upper, lower = panels[place], panels[len(layers) + place]
        _band(lower, results["null_exponent"].sel(layer=layer).values)
        for at, name in enumerate(names):
            looks = {
                "color": style.depth_colours(len(names))[at],
                "marker": _MARKERS[at % len(_MARKERS)],
                "markersize": 4.5,
            }
            here = results.sel(variant=name, layer=layer)
            shares = 100 * networks.over_replicates(here["share"]).mean
            density = 100 * here["density"].values
            entries[name] = upper.plot(density, shares, linewidth=1.2, **looks)[0]
            one = _interval(here["exponent"].values)
            half = [[_half(one)], [_half(one)]]
            lower.errorbar([at], [one.mean], half, capsize=2, elinewidth=0.9, **looks)
        scales.density_axis(upper, np.unique(results["density"].values)[::-1])
        if np.isfinite(results["share"].sel(layer=layer)).any():
            _few_numbers(upper)
        else:
            style.say_empty(upper)
        if not np.isfinite(results["exponent"].sel(layer=layer)).any():
            style.say_empty(lower)
        upper.set_title(layer.removesuffix("/kernel"), fontsize=style.TEXT, color=style.INK)
        lower.set_xticks([])
        lower.margins(x=0.15)
    panels[0].set_ylabel("share of the remaining\nmagnitude (%)")
    panels[len(layers)].set_ylabel("exponent σ")
    style.legend(figure, entries, min(len(names), 2 * len(layers)), "lower center")
    return figure


def _few_numbers(axes: Axes) -> None:
    """Makes y logarithmic, with plain numbers over whatever part of a decade there is."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator(np.geomspace(*axes.get_ylim(), 6)[1:-1].tolist()))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))


def _interval(values: np.ndarray) -> Interval:
    """Gives the interval over the replicates that are finite."""
    return mean_interval(values[np.isfinite(values)])


def _half(interval: Interval) -> float:
    """Half the length of an interval; 0 where one replicate has none."""
    half = interval.high - interval.mean
    return half if np.isfinite(half) else 0.0


def _band(axes: Axes, values: np.ndarray) -> None:
    """Marks 0 and the null's mean, between its least and its greatest."""
    axes.axhline(0.0, color=style.GREY, linewidth=0.6)
    known = values[np.isfinite(values)]
    if len(known):
        axes.axhspan(known.min(), known.max(), color="#d9d9d9", linewidth=0)
        axes.axhline(known.mean(), color=style.GREY, linewidth=0.8, linestyle=(0, (4, 3)))


def loss_against_distance(results: "xarray.Dataset") -> Figure:
    """Draws what a ticket loses against how far apart the flows of source and target are.

    Args:
      results: with `transfer_accuracy`, `native_accuracy` and `flow_distance` (source, target,
        replicate, other).

    Returns:
      The figure: a point a pair, means over replicates with their 95 % intervals, colours by
      target.

    Source: this project's definition.
    """
    figure, (axes,) = style.panels(1, 5.6, 3.4)
    names = [str(name) for name in results["target"].values]
    colours, entries = style.depth_colours(len(names)), {}
    carried = results["transfer_accuracy"].sel(control="ticket")
    loss = 100 * (results["native_accuracy"] - carried)
    distance = results["flow_distance"].transpose(..., "replicate", "other")
    for place, target in enumerate(names):
        for source in (name for name in names if name != target):
            cell: dict[str, Any] = {"source": source, "target": target}
            one = _interval(loss.sel(cell).values)
            # Both flows of one replicate.
            apart = _interval(np.diagonal(distance.sel(cell).values))
            if not one.number * apart.number:
                continue
            entries[target] = axes.errorbar(
                [apart.mean],
                [one.mean],
                [[_half(one)]] * 2,
                [[_half(apart)]] * 2,
                color=colours[place],
                marker=_MARKERS[place % len(_MARKERS)],
                markersize=4.5,
                elinewidth=0.6,
                linestyle="none",
            )
    axes.axhline(0.0, color=style.GREY, linewidth=0.6)
    axes.set_xlabel("distance between the exponents of source and target")
    axes.set_ylabel("accuracy lost against\nthe native ticket (points)")
    if entries:
        style.legend(figure, entries, 1, "right upper", "target")
    else:
        style.say_empty(axes)
    return figure
