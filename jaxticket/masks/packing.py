"""Masks at one bit a weight, and params without the zeros that a mask explains."""

import math
from typing import Any

import jax
import numpy as np

from jaxticket.types import Mask, Params


def pack(mask: Mask) -> Any:
    """Packs each leaf of a mask into bits, eight weights a byte.

    Args:
      mask: `bool` leaves of any shape.

    Returns:
      The same structure with `uint8[ceil(size / 8)]` leaves on the host.

    Example:
      >>> pack({"w": np.array([True, False, True])})["w"].tolist()
      [160]
    """
    return jax.tree.map(lambda leaf: np.packbits(np.asarray(leaf, bool).reshape(-1)), mask)


def unpack(packed: Any, like: Any) -> Mask:
    """Undoes `pack`.

    Args:
      packed: the output of `pack`.
      like: a pytree of the params' structure whose leaves have the original shapes; its
        leaves that are not in the mask are ignored.

    Returns:
      The mask, NumPy `bool` leaves, `None` where `packed` is `None`.

    Example:
      >>> mask = {"w": np.array([[True, False], [True, True]]), "b": None}
      >>> unpack(pack(mask), {"w": np.zeros((2, 2)), "b": np.zeros(2)})["w"].tolist()
      [[True, False], [True, True]]
    """

    def restore(leaf: Any, bits: np.ndarray | None) -> np.ndarray | None:
        if bits is None:
            return None
        flat = np.unpackbits(np.asarray(bits), count=math.prod(leaf.shape))
        return flat.astype(bool).reshape(leaf.shape)

    return jax.tree.map(restore, like, packed)


def compress(params: Params, mask: Mask) -> Any:
    """Drops the pruned weights, which are zero by contract: θ[m].

    Args:
      params: float leaves.
      mask: the mask whose pruned weights are zero in `params`.

    Returns:
      The params' structure; a prunable leaf becomes `float[kept]` in flat order, others stay.

    Example:
      >>> compress({"w": np.array([0.0, 2.0])}, {"w": np.array([False, True])})["w"].tolist()
      [2.0]
    """
    return jax.tree.map(
        lambda p, m: np.asarray(p) if m is None else np.asarray(p)[np.asarray(m)], params, mask
    )


def expand(values: Any, mask: Mask) -> Params:
    """Undoes `compress`: puts the kept values back, exact zeros elsewhere.

    Args:
      values: the output of `compress`.
      mask: the same mask.

    Returns:
      The params, NumPy leaves.

    Example:
      >>> expand({"w": np.array([2.0])}, {"w": np.array([False, True])})["w"].tolist()
      [0.0, 2.0]
    """

    def restore(kept: Any, m: Any) -> np.ndarray:
        if m is None:
            return np.asarray(kept)
        full = np.zeros(m.shape, kept.dtype)
        full[np.asarray(m)] = kept
        return full

    return jax.tree.map(restore, values, mask)
