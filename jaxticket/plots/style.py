"""How every figure looks: sizes, colours, lines with bars, legends.

All of it is set on the figure's own objects: the user's `matplotlib.rcParams` stay as they are,
and figures stay readable under a dark style.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from jaxticket.arms import CROSSED
from jaxticket.plots.networks import Range, over_replicates

if TYPE_CHECKING:
    import xarray

TEXT = 9.0
"""Size of labels, in points; ticks and legends are one point smaller."""

INK = "#000000"
"""Of text."""

GREY = "#6e6e6e"
"""For what is only a reference: the dense network, the whole network."""

LOST = "without replicates that have no value there"
"""What a cross on a mean says."""


class Appearance(NamedTuple):
    """What an arm looks like in every figure: a colour and, for print without colour, a marker."""

    colour: str
    marker: str


# The default arms have the colours of Okabe and Ito, which colour-blind readers tell apart;
# the others black and darker ones of Tol's "muted" set.
APPEARANCES: dict[str, Appearance] = {
    "ticket": Appearance("#0072b2", "o"),
    "reinit": Appearance("#d55e00", "s"),
    "shuffle": Appearance("#009e73", "^"),
    "shuffle_reinit": Appearance("#cc79a7", "v"),
    "oneshot": Appearance("#e69f00", "D"),
    "oneshot_reinit": Appearance("#56b4e9", "P"),
    "reshuffle": Appearance("#882255", "X"),
    "random_signed_constant": Appearance("#000000", "*"),
    "signed_reinit": Appearance("#999933", "<"),
    "signed_reshuffle": Appearance("#332288", ">"),
    "signed_constant": Appearance("#117733", "p"),
    "sparsity_aware": Appearance("#ddcc77", "H"),
    "orthogonalized": Appearance("#cc6677", "2"),
    "isometric": Appearance("#a0522d", "3"),
    "rewound": Appearance("#88ccee", "h"),
    "copy": Appearance("#44aa99", "1"),
    "reinit_copy": Appearance("#ee8866", "4"),
    "shuffle_copy": Appearance("#bbcc33", "|"),
    "dense": Appearance("#661100", "_"),
    "frozen": Appearance("#aa4499", "d"),
    "frozen_unless_shrunk": Appearance("#6699cc", "8"),
    "frozen_unless_shrunk_all": Appearance("#994455", "+"),
}
"""The look of every arm, by name."""

# Those that cross two actions have the colour of the one and the marker of the other.
for (_kept, _pruned), _name in CROSSED.items():
    _first, _second = (
        APPEARANCES[arm] for arm in (CROSSED[_kept, "zero"], CROSSED["rewind", _pruned])
    )
    APPEARANCES.setdefault(_name, Appearance(_first.colour, _second.marker))


def appearance(arm: str) -> Appearance:
    """Looks an arm up; one that is not in the table, from other software, is grey."""
    return APPEARANCES.get(arm, Appearance(GREY, "h"))


def depth_colours(number: int) -> list[str]:
    """Colours for things in an order (levels, layers): from dark violet to yellow-green.

    Args:
      number: how many.

    Returns:
      Their hexadecimal names; the palest end of the scale is left out, as it fades on white.

    Example:
      >>> depth_colours(2)
      ['#440154', '#7ad151']
    """
    return [to_hex(colormaps["viridis"](place)) for place in np.linspace(0, 0.8, number)]


def panels(columns: int, width: float, height: float, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Makes a figure with a row (or rows) of axes in the house style.

    Args:
      columns: axes in a row.
      width: of the figure, in inches.
      height: of the figure, in inches.
      rows: rows of axes.

    Returns:
      The figure and its axes, row by row.
    """
    figure = Figure(figsize=(width, height), facecolor="white")
    figure.set_layout_engine("constrained", w_pad=0.08, wspace=0.03)
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for each in axes:
        each.set_facecolor("white")
        each.tick_params(labelsize=TEXT - 1, labelcolor=INK, width=0.6, length=3, color=GREY)
        for text in (each.xaxis.label, each.yaxis.label, each.title):
            text.set(color=INK, fontsize=TEXT)
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set(linewidth=0.6, color=GREY)
        each.grid(True, which="major", color="#e6e6e6", linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def legend(
    target: Figure,
    entries: dict[str, Any],
    columns: int = 1,
    place: str = "right upper",
    title: str | None = None,
) -> None:
    """Puts a legend beside the axes, where it cannot cover data.

    Args:
      target: the figure.
      entries: artists by label; `LOST` comes last.
      columns: of the legend.
      place: at which side, as in `Figure.legend(loc="outside ...")`.
      title: a line above it.
    """
    beside: Any = f"outside {place}"
    entries = dict(sorted(entries.items(), key=lambda entry: entry[0] == LOST))
    made = target.legend(
        list(entries.values()),
        list(entries),
        loc=beside,
        ncols=columns,
        title=title,
        title_fontproperties={"size": TEXT - 1},
        fontsize=TEXT - 1,
        labelcolor=INK,
        frameon=False,
        columnspacing=1.6,
        handlelength=2.2,
    )
    made.get_title().set_color(INK)


def line_with_bars(
    axes: Axes, x: np.ndarray, summary: Range, *, colour: str, size: float = 1.0, **looks: Any
) -> ErrorbarContainer:
    """Draws means with bars from the least to the greatest.

    Args:
      axes: where.
      x: `float[points]`.
      summary: of as many points.
      colour: of the line, its markers and its bars.
      size: of the line and the markers, relative to the usual.
      looks: more arguments of `Axes.errorbar`.

    Returns:
      The line, for a legend.
    """
    return axes.errorbar(
        x,
        summary.mean,
        summary.bars,
        color=colour,
        linewidth=1.3 * size,
        markersize=4.5 * size,
        elinewidth=0.8,
        capsize=1.8,
        capthick=0.8,
        **looks,
    )


def line_over_replicates(
    axes: Axes, x: np.ndarray, values: "xarray.DataArray", name: str, **looks: Any
) -> dict[str, Any]:
    """Draws means over replicates with bars, and crosses on those that lack a replicate.

    Args:
      axes: where.
      x: `float[points]`.
      values: (point, replicate), in any order.
      name: of the line.
      looks: arguments of `line_with_bars`.

    Returns:
      The line and the crosses by name, for a legend; nothing of what is nowhere finite.
    """
    summary = over_replicates(values)
    line = line_with_bars(axes, x, summary, label=name, **looks)
    shown = {name: line} if np.isfinite(summary.mean).any() else {}
    return shown | mark_lost(axes, x, summary)


def mark_lost(axes: Axes, x: np.ndarray, summary: Range) -> dict[str, Any]:
    """Crosses the means that lack a replicate, since it is not finite there.

    Args:
      axes: where the means are.
      x: `float[points]`.
      summary: of as many points.

    Returns:
      The crosses by name, for a legend; nothing where no replicate is lost.
    """
    if not summary.lost.any():
        return {}
    at, means = np.asarray(x)[summary.lost], summary.mean[summary.lost]
    looks: dict[str, Any] = {"color": INK, "marker": "x", "markersize": 7.0, "linestyle": "none"}
    (crosses,) = axes.plot(at, means, zorder=4, **looks)
    return {LOST: crosses}


def say_empty(axes: Axes) -> None:
    """Says on the axes that there is nothing to draw, so that no one takes it for a fault."""
    axes.text(0.5, 0.5, "no valid network", transform=axes.transAxes, ha="center", color=GREY)
