"""Networks whose masks change as they train: their results by density, and exact claims."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import xarray

from jaxticket import masks
from jaxticket.analysis import Claim
from jaxticket.analysis.claims import Evidence
from jaxticket.result import Result


def by_density(
    result: Result, results: xarray.Dataset, rules: Sequence[str], counts: Sequence[dict[str, int]]
) -> xarray.Dataset:
    """Makes densities the levels of a rule, and reads the masks that training ended with.

    Args:
      result: of one level, the model states being `jaxticket.learners.Sparse`; its variants are
        every rule at every density, the densities of the first rule first.
      results: its curves.
      rules: names of the rules.
      counts: what each layer should keep, for each density.

    Returns:
      The results with a variant for each rule and a level for each density. `kept`, `scheduled`,
      `scheduled_in_layer` and `nonzero_pruned` are of the networks' own masks; `moved` (variant,
      level, replicate), weights that the last mask has and the first one had not.
    """
    shape = (len(rules), len(counts))
    sizes = masks.sizes(result.network("ticket", 0, 0, result.variants[0]).model_state.mask)
    wanted = np.array([list(count.values()) for count in counts])
    density = np.tile(wanted.sum(axis=1) / sum(sizes.values()), (shape[0], 1))
    kept, nonzero, moved = _of_masks(result)
    per, dims = (*shape, result.replicates), ("variant", "level", "replicate")
    per_arm, dims_by_arm = (shape[0], 1, *per[1:]), ("variant", "arm", "level", "replicate")
    split = {
        name: _split(array, shape)
        for name, array in results.data_vars.items()
        if name not in ("kept", "regrown", "nonzero_pruned", "scheduled", "scheduled_in_layer")
    }
    split |= {
        "kept": ((*dims_by_arm, "layer"), np.reshape(kept, (*per_arm, -1))),
        "nonzero_pruned": (dims_by_arm, np.reshape(nonzero, per_arm)),
        "moved": (dims, np.reshape(moved, per)),
        "scheduled": (("level",), wanted.sum(axis=1)),
        "scheduled_in_layer": (("level", "layer"), wanted),
    }
    coordinates: dict[str, Any] = {
        name: results[name].values for name in ("arm", "replicate", "step", "layer")
    }
    coordinates |= {
        "variant": list(rules),
        "level": np.arange(shape[1]),
        "density": (("variant", "level"), density),
    }
    return xarray.Dataset(split, coords=coordinates)


def _of_masks(result: Result) -> tuple[list[Any], list[int], list[int]]:
    """Counts in every network what is kept, what is not zero elsewhere, and what has moved."""
    kept, nonzero, moved = [], [], []
    # The origin's networks are in this order: all replicates of a variant, then the next.
    names = [(name, r) for name in result.variants for r in range(result.replicates)]
    begun = result.origin.rewound.model_state.mask
    for row, (name, replicate) in enumerate(names):
        network = result.network("ticket", 0, replicate, name)
        last = network.model_state.mask
        first = jax.tree.map(lambda leaf, row=row: leaf[row], begun)
        kept.append(list(masks.counts(last).values()))
        nonzero.append(_number(lambda now, weight: ~now & (weight != 0), last, network.params))
        moved.append(_number(lambda now, before: now & ~before, last, first))
    return kept, nonzero, moved


def _number(condition: Callable[..., Any], mask: Any, other: Any) -> int:
    held = jax.tree.map(
        lambda m, o: None if m is None else int(np.count_nonzero(condition(m, o))),
        mask,
        other,
        is_leaf=lambda leaf: leaf is None,
    )
    return sum(jax.tree.leaves(held))


def _split(array: xarray.DataArray, shape: tuple[int, int]) -> Any:
    """Puts the variants of an array into rules, and densities in the place of its one level."""
    if "variant" not in array.dims:
        return array
    one = array.isel(level=0).transpose("variant", "replicate", ...)
    values = one.values.reshape(*shape, *one.shape[1:])
    dims = ("variant", "level", "replicate", *one.dims[2:])
    order = [dim for dim in ("variant", *array.dims[1:]) if dim in dims]
    return xarray.DataArray(values, dims=dims, attrs=array.attrs).transpose(*order)


def counts_stay() -> Claim:
    """Claims that every network keeps the same number of weights all through training."""

    def test(results: xarray.Dataset) -> Evidence:
        # Of validation, since the test set is not measured at every evaluation.
        wrong = int((results["validation_kept"] != results["scheduled"]).sum())
        return Evidence(float(wrong), None, wrong == 0)

    return Claim(
        "counts-stay",
        "every network keeps exactly the scheduled number of weights at every evaluation",
        "contract 2",
        "0 evaluations off by any weight",
        exact=True,
        test=test,
    )


def only_rewired_move(still: str) -> Claim:
    """Claims that masks change in every network but those of one rule, where none does."""

    def test(results: xarray.Dataset) -> Evidence:
        moved = results["moved"] > 0
        wrong = int((moved != (moved["variant"] != still)).sum())
        return Evidence(float(wrong), None, wrong == 0)

    return Claim(
        "only-rewired-masks-move",
        f"the masks of {still} never change, those of all other rules do",
        "the definition of the rules",
        "0 networks otherwise",
        exact=True,
        test=test,
    )
