"""Layerwise allocation: every layer loses its own share."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from jaxticket.allocate.base import Allocation, Counts, keep_highest, totals
from jaxticket.allocate.leaves import by_path, map_prunable
from jaxticket.allocate.rates import Rate, check_rates
from jaxticket.masks.basic import counts as mask_counts
from jaxticket.types import Mask, Scores


def layerwise(rates: Mapping[str, Rate]) -> Allocation:
    """Prunes within each layer, at a rate chosen by its path.

    Layer i keeps k_i − round(p_i k_i) of the k_i weights it kept before.

    Args:
      rates: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on, by shell-style pattern of the leaf's path; the last pattern
        that matches counts.

    Returns:
      The allocation; its counts are by leaf path.

    Raises:
      TicketError: for a rate outside (0, 1); later, when a schedule is made, for a leaf that no
        pattern matches and for a pattern that matches no leaf.

    Example:
      >>> import numpy as np
      >>> mask = {"hidden_0": np.ones(500, bool), "output": np.ones(100, bool)}
      >>> layerwise({"*": 0.2, "output": 0.1}).schedule(mask, 2)[1]
      {'hidden_0': 400, 'output': 90}

    Source: 1803.03635, section 2 (LeNet, Conv-2/4/6).
    """
    for pattern, rate in rates.items():
        check_rates(f"prune rate of {pattern!r}", rate)

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        dense = mask_counts(mask)
        each = by_path("layerwise rates", rates, dense)
        kept = {path: totals(each[path], n, levels) for path, n in dense.items()}
        return [{path: left[level] for path, left in kept.items()} for level in range(levels)]

    return Allocation(schedule, select_by_layer)


def uniform(rate: Rate) -> Allocation:
    """Prunes every layer by the same share, so that all have the same density.

    Args:
      rate: share of the remaining weights that goes at each level, in (0, 1), or the density of
        every level from level 1 on.

    Returns:
      The allocation: `layerwise({"*": rate})`.

    Example:
      >>> import numpy as np
      >>> uniform(0.5).schedule({"a": np.ones(10, bool), "b": np.ones(4, bool)}, 2)[1]
      {'a': 5, 'b': 2}
    """
    return layerwise({"*": rate})


def select_by_layer(scores: Scores, mask: Mask, counts: Counts) -> Mask:
    """Keeps in each leaf the `counts[path]` highest scores.

    Args:
      scores: float leaves; those of leaves that are not prunable are ignored.
      mask: what is kept now.
      counts: by leaf path, possibly traced.

    Returns:
      A subset of `mask`.
    """

    def chosen(path: str, score: Any, kept: Any) -> Any:
        return keep_highest(jnp.ravel(score), jnp.ravel(kept), counts[path]).reshape(kept.shape)

    return map_prunable(chosen, scores, mask)
