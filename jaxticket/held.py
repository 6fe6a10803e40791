"""What pruned weights are held at: zero, or a value that training does not change.

A function `held(initial, final, mask) -> values` gives the params' structure, 0.0 where the mask
keeps and `None` where a leaf is not prunable. A network then computes f(x; m ⊙ θ + held), while
θ itself stays exactly zero where pruned. These are the mask-0 actions of "Deconstructing Lottery
Tickets" (1905.01067).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxticket.types import Mask, Params

Held = Callable[[Params, Params, Mask], Any]


def zero(initial: Params, final: Params, mask: Mask) -> Any:
    """Holds pruned weights at zero, as pruning is usually meant.

    Args:
      initial: θ_0.
      final: unused.
      mask: which weights are kept.

    Returns:
      Zeros.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([True, False])}
      >>> zero(w, w, mask)["w"].tolist()
      [0.0, 0.0]
    """
    del final
    return _where_pruned(lambda first: jnp.zeros_like(first), mask, initial)


def initial(initial: Params, final: Params, mask: Mask) -> Any:
    """Freezes pruned weights where they began: (1 − m) ⊙ θ_0.

    Args:
      initial: θ_0.
      final: unused.
      mask: which weights are kept.

    Returns:
      θ_0 where pruned, 0.0 where kept.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([True, False])}
      >>> initial(w, w, mask)["w"].tolist()
      [0.0, 2.0]

    Source: "freeze_init" of 1905.01067, section 4.
    """
    del final
    return _where_pruned(lambda first: first, mask, initial)


def initial_unless_shrunk(initial: Params, final: Params, mask: Mask) -> Any:
    """Freezes pruned weights where they began, but those at zero that training made smaller.

    (1 − m) ⊙ θ_0 ⊙ [|θ_T| ≥ |θ_0|], with θ_T the trained dense network. That it is the dense
    network, and not the one before each pruning, is this project's choice.

    Args:
      initial: θ_0.
      final: θ_T.
      mask: which weights are kept.

    Returns:
      θ_0 where pruned and not shrunk, else 0.0.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, 2.0, 3.0])}, {"w": jnp.array([True, False, False])}
      >>> initial_unless_shrunk(w, {"w": jnp.array([9.0, 1.0, 4.0])}, mask)["w"].tolist()
      [0.0, 0.0, 3.0]

    Source: "freeze_init_zero_mask" of 1905.01067, section 4.
    """
    grew = lambda first, last: jnp.where(jnp.abs(last) >= jnp.abs(first), first, 0.0)  # noqa: E731
    return _where_pruned(grew, mask, initial, final)


HELD: dict[str, Held] = {held.__name__: held for held in (zero, initial, initial_unless_shrunk)}
"""Every function by name."""


def _where_pruned(value: Callable[..., Any], mask: Mask, *params: Params) -> Any:
    def held(kept: Any, *leaves: Any) -> Any:
        return None if kept is None else jnp.where(kept, 0.0, value(*leaves))

    return jax.tree.map(held, mask, *params, is_leaf=lambda leaf: leaf is None)
