"""Whether a mask fits the params."""

from typing import Any

import numpy as np

from jaxticket.errors import MaskError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Params


def check(mask: Mask, params: Params) -> None:
    """Checks that a mask fits the params: structure, shapes and `bool` leaves.

    Args:
      mask: what should be a mask.
      params: the params it should fit.

    Raises:
      MaskError: one line that lists every offending leaf with what was given, what was
        expected and the fix.

    Example:
      >>> import jax.numpy as jnp
      >>> check({"w": jnp.ones(2)}, {"w": jnp.zeros(3)})
      Traceback (most recent call last):
      ...
      jaxticket.errors.MaskError: mask does not fit params: w: got float32[2], expected bool[3] \
or None; make a dense mask with masks.ones(params)
    """
    given = dict(leaves_by_path(mask, keep_none=True))
    wanted = dict(leaves_by_path(params))
    faults = [
        f"{path}: got {_describe(given[path])}, expected bool{list(leaf.shape)} or None"
        for path, leaf in wanted.items()
        if path in given and not _fits(given[path], leaf)
    ]
    faults += [f"{path}: missing" for path in wanted if path not in given]
    faults += [f"{path}: not in params" for path in given if path not in wanted]
    if faults:
        raise MaskError(
            f"mask does not fit params: {'; '.join(faults)}; "
            "make a dense mask with masks.ones(params)"
        )


def _fits(mask_leaf: Any, leaf: Any) -> bool:
    return mask_leaf is None or (
        getattr(mask_leaf, "dtype", None) == np.dtype(bool) and mask_leaf.shape == leaf.shape
    )


def _describe(leaf: Any) -> str:
    if hasattr(leaf, "dtype"):
        return f"{leaf.dtype}{list(leaf.shape)}"
    return f"{type(leaf).__name__} {leaf!r}"
