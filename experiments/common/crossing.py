"""Axes of a sweep, crossed: one search for every choice of a value on each."""

import itertools
from collections.abc import Mapping
from typing import Any

from jaxticket.imp import Variant


def crossed(*axes: Mapping[str, Variant]) -> dict[str, Variant] | None:
    """Crosses axes.

    Args:
      *axes: of each what its values are called and what each changes, which no other axis does;
        hyperparameters are mappings, of different names. An empty axis sweeps nothing.

    Returns:
      A variant for every choice of one value of each axis; `None` where nothing is swept.

    Example:
      >>> slow = {"rate 0.1": Variant({"learning_rate": 0.1})}
      >>> made = crossed(slow, {}, {"k = 5": Variant(rewind_step=5)})
      >>> made["rate 0.1, k = 5"].rewind_step, made["rate 0.1, k = 5"].hyperparameters
      (5, {'learning_rate': 0.1})
    """
    swept = [axis.items() for axis in axes if axis]
    if not swept:
        return None
    return {
        ", ".join(name for name, _ in chosen): _merged([variant for _, variant in chosen])
        for chosen in itertools.product(*swept)
    }


def _merged(variants: list[Variant]) -> Variant:
    whole, hyperparameters = Variant(), dict[str, Any]()
    for variant in variants:
        whole = variant.over(whole)
        hyperparameters |= variant.hyperparameters or {}
    return Variant(hyperparameters=hyperparameters or None).over(whole)
