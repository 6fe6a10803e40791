"""Logarithmic axes of percent: weights remaining in the network, and in a layer."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from jaxticket.plots.style import GREY

NUMBERS = 7
"""Numbers on an axis, at most; with the papers' 20 % a level, 100, 51.3, 26.3, 13.5 ..."""


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


def density_axis(axes: Axes, densities: np.ndarray) -> None:
    """Makes x the papers' axis: percent of weights remaining, in logarithms, falling from 100.

    Args:
      axes: whose x values are percent.
      densities: `float[levels]`, the fractions that there are; each gets a tick, and those
        far enough apart to be read get a number.
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
    axes.set_xlabel("weights remaining (%)")


def share_axis(axes: Axes, values: np.ndarray) -> None:
    """Makes y logarithmic, with a few round numbers between 100 and the least value.

    Args:
      axes: whose y values are percent.
      values: those drawn, of any shape; NaN where there is none.
    """
    axes.set_yscale("log")
    least = np.min(values[np.isfinite(values)], initial=100)
    powers = 10.0 ** np.arange(2, np.log10(least) - 1, -1)
    ticks = [digit * power for power in powers for digit in range(9, 0, -1)]
    ticks = [tick for tick in ticks if 0.99 * least <= tick <= 100]
    axes.yaxis.set_major_locator(FixedLocator(spread(ticks)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


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
    gap = 0.99 * np.log(values[0] / values[-1]) / (NUMBERS - 1)
    chosen = [values[0]]
    for value in values[1:]:
        if np.log(chosen[-1] / value) >= gap:
            chosen.append(value)
    return chosen
