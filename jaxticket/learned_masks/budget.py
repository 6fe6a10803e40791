"""How many weights a learned mask keeps, and which: by the scores, as `allocate` selects."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from jaxticket import masks
from jaxticket.allocate.base import Counts, Select
from jaxticket.allocate.layerwise import select_by_layer
from jaxticket.allocate.rates import as_number
from jaxticket.allocate.sparing import check_spared, sparing
from jaxticket.errors import TicketError
from jaxticket.masks.prunable import path_string
from jaxticket.types import Mask, Scores

Density = Any
"""The share that is kept, in (0, 1], possibly traced; or counts, by leaf path or `{"*": total}`."""


def supermask(
    scores: Scores,
    density: Density,
    *,
    select: Select = select_by_layer,
    empty_layers: bool = False,
) -> Mask:
    """Keeps the highest scores, as pruning would: the mask that scores stand for.

    Args:
      scores: float leaves, higher = keep; `None` where not prunable.
      density: see `counts_at`.
      select: which are kept, from an `allocate.Allocation`.
      empty_layers: whether a layer may be left without a weight where layers compete. If not,
        every layer keeps its best one, and as many are kept in all.

    Returns:
      The mask, with exact counts.

    Raises:
      TicketError: see `counts_at`.
      MaskError: for counts without room for a weight of every layer, unless `empty_layers`.

    Example:
      >>> supermask({"kernel": jnp.array([3.0, 1.0, 2.0]), "bias": None}, 0.67)["kernel"].tolist()
      [True, False, True]
    """
    everything = whole(scores)
    counts = counts_at(density, everything)
    # Layers that do not compete have the counts that were asked for.
    if empty_layers or select is select_by_layer:
        return select(scores, everything, counts)
    if all(isinstance(count, int) for count in counts.values()):
        check_spared("density", select, everything, counts)
    return sparing(select)(scores, everything, counts)


def hardened(
    scores: Scores, density: Density | None, *, select: Select, empty_layers: bool
) -> Mask:
    """Keeps the scores above zero, or as many of the highest as a density says.

    Where it says as many as are above zero, it is those: both are the same mask.

    Args:
      scores: float leaves; `None` where not prunable.
      density: see `counts_at`; `None` for what is above zero, however many that are.
      select: see `supermask`, only used with a density.
      empty_layers: likewise; zero as the threshold may leave any layer empty.

    Returns:
      The mask.

    Raises:
      TicketError: see `supermask`.

    Example:
      >>> choices = {"select": select_by_layer, "empty_layers": False}
      >>> scores = {"kernel": jnp.array([0.3, -2.0, -1.0])}
      >>> [hardened(scores, one, **choices)["kernel"].tolist() for one in (None, 0.67)]
      [[True, False, False], [True, False, True]]
    """
    if density is None:
        return jax.tree.map(lambda score: score > 0, scores)
    return supermask(scores, density, select=select, empty_layers=empty_layers)


def whole(scores: Scores) -> Mask:
    """Makes the mask that keeps everything that has a score.

    Args:
      scores: `None` where not prunable.

    Returns:
      `bool` leaves.
    """
    return jax.tree.map(lambda leaf: jnp.ones(leaf.shape, bool), scores)


def counts_at(density: Density, mask: Mask) -> Counts:
    """Counts what a density keeps: k_i = round(d n_i) in each layer, and round(d Σ n_i) in all.

    Args:
      density: d. A number of Python or NumPy is read as the decimal that was written, and halves
        round to even; one of JAX, traced or not, is rounded in float32, which in a layer of more
        than some 100,000 weights may be one off, and keeps at least one weight a layer. Counts are
        what `Allocation.schedule` gives, in the place of a density.
      mask: what there is to keep of, by shape.

    Returns:
      Counts by leaf path, and under `"*"` of all together, so that any selection finds its own.

    Raises:
      TicketError: for a number outside (0, 1] that is not traced, or one of Python or NumPy that
        leaves a layer empty.

    Example:
      >>> counts_at(0.5, {"a": jnp.ones(10, bool), "b": jnp.ones(5, bool)})
      {'a': 5, 'b': 2, '*': 8}
      >>> counts_at(0.05, {"a": jnp.ones(10, bool)})
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: density: got 0.05, which keeps no weight of a (10); expected \
a higher density, or counts
    """
    if isinstance(density, Mapping):
        return dict(density)
    sizes = masks.sizes(mask)
    sizes_and_total = {**sizes, "*": sum(sizes.values())}
    number = check_density(density)
    if number is None or isinstance(density, jax.Array):
        least = dict.fromkeys(sizes, 1) | {"*": len(sizes)}
        return {path: _rounded(density, n, least[path]) for path, n in sizes_and_total.items()}
    counts = {path: round(Fraction(str(number)) * size) for path, size in sizes_and_total.items()}
    empty = [f"{path} ({size})" for path, size in sizes.items() if counts[path] == 0]
    if empty:
        raise TicketError(
            f"density: got {density}, which keeps no weight of {', '.join(empty)}; expected a "
            "higher density, or counts"
        )
    return counts


def check_density(density: Density) -> float | Fraction | None:
    """Checks that a density is a share, where it is a number that can be read.

    Args:
      density: see `counts_at`.

    Returns:
      The number; `None` for counts and what is traced.

    Raises:
      TicketError: for a number outside (0, 1].

    Example:
      >>> check_density(0.5), check_density({"*": 9})
      (0.5, None)
    """
    number = as_number(density)
    if number is not None and not 0 < number <= 1:
        raise TicketError(f"density: got {number}, expected a share in (0, 1], such as 0.5")
    return number


def shares(density: Density, mask: Mask) -> Any:
    """Gives what share of each layer a density keeps, or of all layers where counts are a total.

    Args:
      density: see `counts_at`.
      mask: what there is to keep of, by shape.

    Returns:
      `float32[]` leaves, of the mask's structure.

    Example:
      >>> float(shares(0.25, {"a": jnp.ones(10, bool)})["a"])  # 2 of 10: halves round to even
      0.20000000298023224
    """
    counts, total = counts_at(density, mask), sum(masks.sizes(mask).values())

    def of(path: tuple[Any, ...], leaf: Any) -> Array:
        name = path_string(path)
        kept, size = (counts[name], leaf.size) if name in counts else (counts["*"], total)
        return jnp.asarray(kept, jnp.float32) / size

    return jax.tree_util.tree_map_with_path(of, mask)


def _rounded(density: Any, size: int, least: int) -> Array:
    kept = jnp.round(jnp.asarray(density, jnp.float32) * size).astype(jnp.int32)
    return jnp.clip(kept, least, size)
