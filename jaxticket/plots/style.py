"""How every figure looks: sizes, colours, and the axis of densities.

All of it is set on the figure's own objects, so that what a user has in `matplotlib.rcParams`
stays as it is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter

TEXT = 9.0
"""Size of labels, in points; ticks and legends are one point smaller."""

GREY = "#6e6e6e"
"""For what is only a reference: the dense network, the whole network."""

BARS = {"linewidth": 1.3, "markersize": 4.5, "capsize": 1.8, "elinewidth": 0.8, "capthick": 0.8}
"""Of a line with bars (`Axes.errorbar`)."""

LABELLED_DENSITIES = 7
"""Densities with a number on the axis; with the papers' 20 % a level, 100, 51.3, 26.3, 13.5 ..."""


class Appearance(NamedTuple):
    """What an arm looks like in every figure: a colour and, for print without colour, a marker."""

    colour: str
    marker: str


# The default arms have the colours of Okabe and Ito, which colour-blind readers tell apart;
# the others darker ones, of Tol's "muted" and "vibrant" sets.
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
}
"""The look of every arm, by name."""


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
    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    axes = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for each in axes:
        each.set_facecolor("white")
        each.tick_params(labelsize=TEXT - 1, width=0.6, length=3, color=GREY)
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set(linewidth=0.6, color=GREY)
        each.grid(True, which="major", color="#e6e6e6", linewidth=0.6)
        each.set_axisbelow(True)
    return figure, axes


def legend(target: Figure, entries: dict[str, Any], columns: int, place: str = "lower center"):
    """Puts a legend beside the axes, where it cannot cover data.

    Args:
      target: the figure.
      entries: artists by label.
      columns: of the legend.
      place: at which side, as in `Figure.legend(loc="outside ...")`.
    """
    target.legend(
        list(entries.values()),
        list(entries),
        loc=f"outside {place}",
        ncols=columns,
        fontsize=TEXT - 1,
        frameon=False,
        columnspacing=1.6,
        handlelength=2.2,
    )


def percent(density: float) -> str:
    """Writes a density as the papers do.

    Args:
      density: a fraction.

    Returns:
      Percent, without its sign.

    Example:
      >>> [percent(density) for density in (1.0, 0.0695, 0.00046)]
      ['100', '7.0', '0.046']
    """
    value = 100 * density
    return f"{value:.2g}" if value < 0.95 else "100" if value >= 99.95 else f"{value:.1f}"


def density_axis(axes: Axes, densities: Sequence[float]) -> None:
    """Makes x the papers' axis: percent of weights remaining, in logarithms, falling from 100.

    Args:
      axes: whose x values are percent.
      densities: the fractions that there are; each gets a tick, and those far enough apart to
        be read get a number.
    """
    values = sorted({100 * float(density) for density in densities}, reverse=True)
    numbered = spread(values)
    axes.set_xscale("log")
    axes.set_xlim(values[0] * 1.12, values[-1] / 1.12)
    axes.xaxis.set_major_locator(FixedLocator(numbered))
    axes.xaxis.set_minor_locator(FixedLocator([v for v in values if v not in numbered]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: percent(value / 100)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.tick_params(axis="x", which="minor", length=1.5, width=0.6, color=GREY)
    axes.set_xlabel("weights remaining (%)", fontsize=TEXT)


def spread(values: Sequence[float]) -> list[float]:
    """Chooses values far enough apart, in logarithms, for their numbers not to touch.

    Args:
      values: positive, falling.

    Returns:
      The first value and each that is far enough from the one chosen before it.

    Example:
      >>> spread([100.0, 99.9, 50.0, 10.0])
      [100.0, 50.0, 10.0]
    """
    # The tolerance keeps levels evenly spaced, whose gaps differ in their last digits.
    gap = 0.99 * np.log(values[0] / values[-1]) / (LABELLED_DENSITIES - 1)
    chosen = [values[0]]
    for value in values[1:]:
        if np.log(chosen[-1] / value) >= gap:
            chosen.append(value)
    return chosen


def say_empty(axes: Axes) -> None:
    """Says on the axes that there is nothing to draw, so that no one takes it for a fault."""
    axes.text(0.5, 0.5, "no valid network", transform=axes.transAxes, ha="center", color=GREY)
