"""What pruned weights are held at: zero, or a value that training does not change.

A function `held(initial, final, mask) -> values` gives the params' structure, 0.0 where the mask
keeps and `None` where a leaf is not prunable. A network then computes f(x; m ⊙ θ + held), while
θ itself stays exactly zero where pruned. These are the mask-0 actions of "Deconstructing Lottery
Tickets" (1905.01067). One of them, in `FROM_ZERO`, is about kept weights too.
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
    value = lambda first, last: _unless_shrunk(first, first, last)  # noqa: E731
    return _where_pruned(value, mask, initial, final)


def initial_unless_shrunk_all(initial: Params, final: Params, mask: Mask) -> Any:
    """Freezes pruned weights as `initial_unless_shrunk` does; kept ones that shrank begin at zero.

    What is held is the same, (1 − m) ⊙ θ_0 ⊙ [|θ_T| ≥ |θ_0|]; that the kept weights begin at
    θ ⊙ [|θ_T| ≥ |θ_0|], to be trained from there, is done by `zero_where_shrunk`.

    Args:
      initial: θ_0.
      final: θ_T.
      mask: which weights are kept.

    Returns:
      θ_0 where pruned and not shrunk, else 0.0.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, 2.0, 3.0])}, {"w": jnp.array([True, False, False])}
      >>> initial_unless_shrunk_all(w, {"w": jnp.array([0.5, 1.0, 4.0])}, mask)["w"].tolist()
      [0.0, 0.0, 3.0]

    Source: "freeze_init_zero_all" of the authors' code of 1905.01067 (train_lottery.py), where all
    that shrank is zero, kept or not; that it is variant 2 of the paper's section 4 is from memory
    and unverified.
    """
    return initial_unless_shrunk(initial, final, mask)


HELD: dict[str, Held] = {
    held.__name__: held
    for held in (zero, initial, initial_unless_shrunk, initial_unless_shrunk_all)
}
"""Every function by name."""

FROM_ZERO = frozenset({initial_unless_shrunk_all.__name__})
"""Those under which kept weights begin at zero where training made them smaller."""


def zero_where_shrunk(params: Params, initial: Params, final: Params, mask: Mask) -> Params:
    """Lets weights begin at zero that training made smaller: θ ⊙ [|θ_T| ≥ |θ_0|].

    Args:
      params: θ, what they would begin at otherwise.
      initial: θ_0.
      final: θ_T.
      mask: leaves that are `None` are not prunable and stay as they are; else it says nothing here.

    Returns:
      The weights.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([True, True])}
      >>> zero_where_shrunk({"w": jnp.array([5.0, 6.0])}, w, {"w": jnp.array([-3.0, -1.0])}, mask)
      {'w': Array([5., 0.], dtype=float32)}

    Source: as `initial_unless_shrunk_all`. That it acts on what a mask-1 action made of the
    weights, and leaves the optimizer's moments as that action does, is this project's choice.
    """

    def begun(kept: Any, leaf: Any, first: Any, last: Any) -> Any:
        return leaf if kept is None else _unless_shrunk(leaf, first, last)

    return jax.tree.map(begun, mask, params, initial, final, is_leaf=lambda leaf: leaf is None)


def _unless_shrunk(value: Any, first: Any, last: Any) -> Any:
    """Gives 0.0 where training made a weight smaller, or no number of it."""
    return jnp.where(jnp.abs(last) >= jnp.abs(first), value, 0.0)


def _where_pruned(value: Callable[..., Any], mask: Mask, *params: Params) -> Any:
    def held(kept: Any, *leaves: Any) -> Any:
        return None if kept is None else jnp.where(kept, 0.0, value(*leaves))

    return jax.tree.map(held, mask, *params, is_leaf=lambda leaf: leaf is None)
