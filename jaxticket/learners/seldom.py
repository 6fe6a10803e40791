"""A branch that is seldom taken, and stays a branch in a population."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, jaxpr_as_fun
from jaxtyping import Array, Bool

T = TypeVar("T")


def seldom(due: Bool[Array, ""], function: Callable[[Any], T], operand: Any, unchanged: T) -> T:
    """Gives `function(operand)` where it is due, and what there was where it is not.

    For one network this is `lax.cond`. Under `vmap` that would become a selection, which computes
    the function in every step; here a population computes it in the steps where it is due for any
    of its networks, and each network still takes what is its own.

    Args:
      due: whether to.
      function: may close over traced values.
      operand: what it is given, a pytree of arrays.
      unchanged: what it gives otherwise, of the structure, shapes and dtypes of its result.

    Returns:
      One of both.

    Example:
      >>> add = lambda due, x: seldom(due, lambda y: y + 1.0, x, x)
      >>> jax.vmap(add)(jnp.array([True, False]), jnp.zeros(2)).tolist()
      [1.0, 0.0]
    """
    # What the function closes over becomes an argument, which the rule for `vmap` must see.
    closed, shape = jax.make_jaxpr(function, return_shape=True)(operand)
    structure = jax.tree.structure(shape)

    def apply(closed_over: Any, operand: Any) -> T:
        run = jaxpr_as_fun(ClosedJaxpr(closed.jaxpr, closed_over))
        return jax.tree.unflatten(structure, run(*jax.tree.leaves(operand)))

    @jax.custom_batching.custom_vmap
    def chosen(due: Any, given: Any, unchanged: Any) -> Any:
        return jax.lax.cond(due, lambda: apply(*given), lambda: unchanged)

    @chosen.def_vmap
    def population(
        size: int, batched: Any, due: Any, given: Any, unchanged: Any
    ) -> tuple[Any, Any]:
        of_due, of_given, of_unchanged = (
            jax.tree.map(lambda is_batched: 0 if is_batched else None, part) for part in batched
        )
        copies = jax.vmap(
            lambda due, leaves: leaves, in_axes=(of_due, of_unchanged), axis_size=size
        )

        def own(due: Any, given: Any, unchanged: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(due, a, b), apply(*given), unchanged)

        changed = jax.vmap(own, in_axes=(of_due, of_given, of_unchanged), axis_size=size)
        result = jax.lax.cond(
            jnp.any(due),
            lambda: changed(due, given, unchanged),
            lambda: copies(due, unchanged),
        )
        return result, jax.tree.map(lambda leaf: True, result)

    return chosen(due, (closed.consts, operand), unchanged)
