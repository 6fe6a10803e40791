"""Unstructured tickets as sparse arrays."""

from typing import Any

import jax
import numpy as np

from jaxticket.masks.check import check
from jaxticket.types import Mask, Params


def to_bcoo(params: Params, mask: Mask) -> Any:
    """Exports a ticket's pruned kernels as BCOO arrays: values and where they are.

    A kept weight takes its value and an `int32` index an axis, so a kernel of two axes becomes
    smaller in memory below a third of its weights. It is slower on dense hardware until far fewer
    are left: on two cores 0.14 of the dense speed at half of the weights, about equal at a
    twentieth, 2.4 times at a hundredth (512 x 512, `python -m benchmarks.compaction`). `compact`
    is faster wherever whole units are gone.

    Args:
      params: concrete.
      mask: concrete; leaves that are None stay dense.

    Returns:
      The params' structure with a `BCOO` for each prunable leaf, whose entries are those that the
      mask keeps, zeros among them too; `from_bcoo` gives the masked params back to the bit.

    Raises:
      MaskError: the mask does not fit the params.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"kernel": jnp.array([[1.0, 2.0], [3.0, 4.0]]), "bias": jnp.ones(2)}
      >>> mask = {"kernel": np.array([[True, False], [False, True]]), "bias": None}
      >>> to_bcoo(params, mask)["kernel"]
      BCOO(float32[2, 2], nse=2)
    """
    check(mask, params)
    return jax.tree.map(_export, params, mask)


def from_bcoo(params: Any) -> Params:
    """Makes every BCOO leaf dense again.

    Args:
      params: from `to_bcoo`.

    Returns:
      The masked params.

    Example:
      >>> import jax.numpy as jnp
      >>> kept = {"kernel": np.array([True, False])}
      >>> from_bcoo(to_bcoo({"kernel": jnp.array([2.0, 3.0])}, kept))["kernel"].tolist()
      [2.0, 0.0]
    """
    from jax.experimental import sparse  # as slow to import as half of JAX

    is_sparse = lambda leaf: isinstance(leaf, sparse.BCOO)  # noqa: E731
    return jax.tree.map(
        lambda leaf: leaf.todense() if is_sparse(leaf) else leaf, params, is_leaf=is_sparse
    )


def _export(leaf: Any, kept: Any) -> Any:
    from jax.experimental import sparse  # as slow to import as half of JAX

    if kept is None:
        return leaf
    places = np.nonzero(np.asarray(kept))
    indices = np.stack(places, axis=1).astype(np.int32)
    values = jax.numpy.asarray(np.asarray(leaf)[places])
    return sparse.BCOO(
        (values, jax.numpy.asarray(indices)),
        shape=leaf.shape,
        indices_sorted=True,
        unique_indices=True,
    )
