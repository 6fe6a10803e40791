"""Pairs of networks on whose way the loss is not finite: where it happens, listed and shown."""

from typing import Any

import numpy as np
import xarray
from rich import box
from rich.table import Table

SUFFIX = "_undefined_at"
"""Of a barrier's name, gives that of the variable that says where its pairs are not finite."""


def undefined_at(curves: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Finds where errors along ways are first not finite, since a loss is not.

    Args:
      curves: `float[..., points]`, E_α.
      alphas: `float[points]`, increasing; the second network is at 0.

    Returns:
      `float64[...]`, α; NaN where all errors of a way are finite.

    Example:
      >>> undefined_at(np.array([[0.1, np.nan, np.nan], [0.1, 0.2, 0.3]]), np.array([0, 0.5, 1]))
      array([0.5, nan])
    """
    wrong = ~np.isfinite(curves)
    first = np.asarray(alphas, np.float64)[wrong.argmax(axis=-1)]
    return np.where(wrong.any(axis=-1), first, np.nan)


def undefined_pairs(results: xarray.Dataset) -> list[dict[str, Any]]:
    """Lists the pairs on whose way the loss is not finite.

    Args:
      results: with variables whose names end with `SUFFIX`, α by pair.

    Returns:
      Of each pair `measure`, the barrier that it lacks, `between`, its place in words, and `alpha`,
      where from the second network on the loss is first not finite.

    Example:
      >>> at = xarray.DataArray([np.nan, 0.25], {"replicate": [0, 1]}, ["replicate"])
      >>> undefined_pairs(xarray.Dataset({"barrier_undefined_at": at}))
      [{'measure': 'barrier', 'between': 'replicate 1', 'alpha': 0.25}]
    """
    return [
        {
            "measure": str(name).removesuffix(SUFFIX),
            "between": _named(variable, place),
            "alpha": float(variable.values[tuple(place)]),
        }
        for name, variable in results.data_vars.items()
        if str(name).endswith(SUFFIX)
        for place in np.argwhere(np.isfinite(variable.values))
    ]


def describe_undefined(pairs: list[dict[str, Any]], shown: int = 5) -> str:
    """Says in one line between which networks the loss is not finite.

    Args:
      pairs: from `undefined_pairs`, at least one.
      shown: how many to name.

    Returns:
      The line.

    Example:
      >>> describe_undefined([{"measure": "barrier", "between": "replicate 1", "alpha": 0.25}])
      'the loss is not finite on the way of 1 pair: barrier of replicate 1 from α = 0.25 on'
    """
    named = [
        f"{p['measure']} of {p['between']} from α = {p['alpha']:.2g} on" for p in pairs[:shown]
    ]
    more = f" and {len(pairs) - shown} more" * (len(pairs) > shown)
    count = f"{len(pairs)} pair{'s' * (len(pairs) > 1)}"
    return f"the loss is not finite on the way of {count}: {', '.join(named)}{more}"


def undefined_tables(results: xarray.Dataset, shown: int = 20) -> list[Table]:
    """Makes the table of pairs on whose way the loss is not finite.

    Args:
      results: as in `undefined_pairs`.
      shown: rows at most.

    Returns:
      The table; none where every loss is finite.
    """
    pairs = undefined_pairs(results)
    if not pairs:
        return []
    table = Table(
        title="pairs on whose way the loss is not finite, which have no barrier",
        caption=f"and {len(pairs) - shown} more" if len(pairs) > shown else None,
        box=box.SIMPLE_HEAD,
    )
    for name in ("barrier", "pair", "first α"):
        table.add_column(name, no_wrap=name != "pair")
    for pair in pairs[:shown]:
        table.add_row(pair["measure"], pair["between"], f"{pair['alpha']:.3g}")
    return [table]


def _named(variable: xarray.DataArray, place: np.ndarray) -> str:
    """Names a place by its coordinates, where a dimension has none by its number."""
    words = []
    for dimension, number in zip(variable.dims, place.tolist(), strict=True):
        there = dimension in variable.coords
        words.append(f"{dimension} {variable[dimension].values[number] if there else number}")
    return ", ".join(words)
