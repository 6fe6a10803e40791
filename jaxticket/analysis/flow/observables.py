"""What flows under pruning: the layers' shares of the remaining magnitude."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxticket.allocate.leaves import by_path
from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Params


class Shares(NamedTuple):
    """How the magnitude of a network's kept weights is shared out.

    Attributes:
      names: of the layers or blocks.
      values: `float64[..., layers]`, M_i; they sum to 1.
    """

    names: tuple[str, ...]
    values: np.ndarray


def magnitude_shares(
    params: Params, mask: Mask, *, axes: int = 0, blocks: Mapping[str, str] | None = None
) -> Shares:
    """Gives each layer's share of the remaining magnitude: M_i = Σ_{j∈i} |m_j θ_j| / Σ_j |m_j θ_j|.

    Both sums are over what is prunable, in float64 on the host. An empty layer has a share of
    exactly 0; a weight that is not finite makes all shares of its network NaN.

    Args:
      params: `float[*population, ...]` leaves, of one network or of many.
      mask: `bool` leaves of the same shapes, `None` where not prunable.
      axes: how many leading axes are the population's, such as levels and replicates.
      blocks: names of blocks by shell-style pattern of the leaves' paths, of which the last that
        matches counts; every prunable leaf is a block of its own if `None`.

    Returns:
      The shares, `float64[*population, layers]`; NaN for a network that keeps nothing.

    Raises:
      TicketError: for a mask without prunable leaves, and for blocks that do not name each leaf.

    Example:
      >>> params = {"a": np.array([3.0, -1.0]), "b": np.array([4.0]), "bias": np.array([9.0])}
      >>> mask = {"a": np.array([True, False]), "b": np.array([True]), "bias": None}
      >>> magnitude_shares(params, mask)
      Shares(names=('a', 'b'), values=array([0.42857143, 0.57142857]))

    Source: the observable of 2110.03210, from memory (unverified).
    """
    sums: dict[str, np.ndarray] = {}

    def add(path: str, weights: np.ndarray, kept: np.ndarray) -> None:
        inner = tuple(range(axes, weights.ndim))
        sums[path] = np.abs(np.where(kept, weights, 0)).sum(axis=inner, dtype=np.float64)

    leaves = dict(leaves_by_path(params))
    for path, kept in leaves_by_path(mask):
        add(path, np.asarray(jax.device_get(leaves[path])), np.asarray(jax.device_get(kept)))
    if not sums:
        raise TicketError("magnitude shares: got a mask without prunable leaves, expected some")
    names = dict.fromkeys(sums) if blocks is None else by_path("blocks", blocks, sums)
    grouped: dict[str, np.ndarray] = {}
    for path, total in sums.items():
        name = names[path] or path
        grouped[name] = grouped.get(name, np.float64(0)) + total
    together = np.stack(list(grouped.values()), axis=-1)
    with np.errstate(invalid="ignore"):
        values = together / together.sum(axis=-1, keepdims=True)
    return Shares(tuple(grouped), values)
