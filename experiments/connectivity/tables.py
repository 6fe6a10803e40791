"""Tables of connectivity: a row a control and a step k, a column a density."""

import xarray
from rich.console import RenderableType

from experiments.common import sweeps
from experiments.common.undefined import undefined_tables

TITLES = {
    ("barrier", "copies"): "test-error barrier between two orders of the data",
    ("barrier", "pruned"): "test-error barrier to the network of the level before",
    ("disagreement", "pruned"): "disagreement with the network of the level before",
    ("ensemble_gain", "copies"): "what an ensemble of two orders of the data gains",
}


def tables(results: xarray.Dataset) -> list[RenderableType]:
    """Makes the tables.

    Args:
      results: with what the experiment measures.

    Returns:
      Rich tables; those of barriers name the batch statistics.
    """
    pairs = [_of_pairs(results, *key) for key in TITLES]
    return [*pairs, *_of_kinds(results), *undefined_tables(results)]


def _of_pairs(results: xarray.Dataset, measure: str, relation: str) -> RenderableType:
    columns = ["dense", *(f"{density:.1%}" for density in results["search_density"].values[0, 1:])]
    here = results[measure].sel(relation=relation)
    rows = {
        f"{search} {control}": [
            here.sel(search=search, control=control, level=level).values
            for level in results["level"].values
        ]
        for search in results["search"].values
        for control in results["control"].values
    }
    chosen = f" (batch statistics {results['chosen_statistics'].item()})"
    title = TITLES[measure, relation] + chosen * (measure == "barrier")
    return sweeps.make_table(title, results, columns, rows)


def _of_kinds(results: xarray.Dataset) -> list[RenderableType]:
    if "dense_barrier" not in results:
        return []
    names = [str(name) for name in results["statistics"].values]
    rows = {
        str(kind): [
            results["dense_barrier"].sel(kind=kind, statistics=name).values for name in names
        ]
        for kind in results["kind"].values
    }
    title = "test-error barrier of dense pairs, by batch statistics"
    return [sweeps.make_table(title, results, names, rows)]
