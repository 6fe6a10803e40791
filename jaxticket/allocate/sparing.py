"""Selections that leave every layer its best weight, where counts of layers are not known before.

Inside compiled training nobody can be told that a layer lost its last weight, so there the default
is that none does: the number of weights that are kept stays what the budget says.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from jaxticket.allocate.base import Counts, Select, keep_highest
from jaxticket.allocate.leaves import map_prunable
from jaxticket.errors import MaskError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Scores


def sparing(select: Select) -> Select:
    """Makes a selection that takes no layer's last weight, as far as its budget goes.

    Where `select` would empty a layer that has weights, it selects again with the best weight of
    every layer ranked above all others; where it would not, nothing is changed.

    Args:
      select: from an `Allocation`; one that ranks by score.

    Returns:
      The selection.

    Example:
      >>> from jaxticket import allocate
      >>> scores = {"a": jnp.array([9.0, 8.0, 7.0]), "b": jnp.array([1.0, 2.0])}
      >>> mask = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), scores)
      >>> spared = sparing(allocate.globally(0.5).select)(scores, mask, {"*": 3})
      >>> spared["a"].tolist(), spared["b"].tolist()
      ([True, True, False], [False, True])

    Source: own.
    """

    def spared(scores: Scores, mask: Mask, counts: Counts) -> Mask:
        chosen = select(scores, mask, counts)
        lost = jnp.any(jnp.stack([lost for _, lost in _lost(mask, chosen)]))
        again = lambda: select(map_prunable(_best_first, scores, mask), mask, counts)  # noqa: E731
        return jax.lax.cond(lost, again, lambda: jax.tree.map(jnp.asarray, chosen))

    return spared


def check_spared(who: str, select: Select, shapes: Mask, counts: Counts) -> None:
    """Refuses a budget in which not even the best weight of every layer has room.

    Which layers that would be does not depend on the scores, so it is tried with made-up ones.

    Args:
      who: named in the message.
      select: from an `Allocation`.
      shapes: leaves with the shapes of the mask's, `None` where not prunable.
      counts: integers, what is kept.

    Raises:
      MaskError: naming the layers.

    Example:
      >>> from jaxticket import allocate
      >>> mask = {"a": np.ones(3, bool), "b": np.ones(2, bool)}
      >>> check_spared("gradual", allocate.globally(0.5).select, mask, {"*": 1})
      Traceback (most recent call last):
      ...
      jaxticket.errors.MaskError: gradual: the budget {'*': 1} has no room for a weight of b; \
expected one in every layer: keep more, or ask for empty_layers=True
    """
    leaves, structure = jax.tree.flatten(shapes)
    each = tuple(leaf.shape for leaf in leaves)
    empty = _without_room(select, structure, each, tuple(counts.items()))
    if empty:
        raise MaskError(
            f"{who}: the budget {counts} has no room for a weight of {', '.join(empty)}; expected "
            "one in every layer: keep more, or ask for empty_layers=True"
        )


# A network is traced many times, by each program that begins with one.
@functools.lru_cache(maxsize=64)
def _without_room(
    select: Select,
    structure: Any,
    shapes: tuple[tuple[int, ...], ...],
    counts: tuple[tuple[str, int], ...],
) -> tuple[str, ...]:
    """Lists the layers that a budget leaves no weight, whatever the scores."""
    # Also where everything around is being compiled.
    with jax.ensure_compile_time_eval():
        dense = jax.tree.unflatten(structure, [jnp.ones(shape, bool) for shape in shapes])
        scores = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), dense)
        chosen = select(map_prunable(_best_first, scores, dense), dense, dict(counts))
        return tuple(path for path, lost in _lost(dense, chosen) if np.asarray(lost))


def _lost(before: Mask, after: Mask) -> list[tuple[str, Bool[Array, ""]]]:
    """Says of every layer whether it had weights and has none."""
    pairs = zip(leaves_by_path(before), jax.tree.leaves(after), strict=True)
    return [(path, jnp.any(old) & ~jnp.any(new)) for (path, old), new in pairs]


def _best_first(path: str, scores: Any, kept: Any) -> Array:
    """Raises the best score of a layer above all that are finite."""
    del path
    flat = jnp.ravel(jnp.asarray(scores))
    best = keep_highest(flat, jnp.ravel(jnp.asarray(kept)), 1)
    return jnp.where(best, jnp.asarray(jnp.inf, flat.dtype), flat).reshape(kept.shape)
