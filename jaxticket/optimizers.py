"""Any optax transformation, made to respect a mask and to be rewound."""

from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxticket.errors import TicketError
from jaxticket.types import Mask, Params

OptimizerState = Any


def masked(optimizer: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Wraps an optimizer so that pruned weights and their moments are exactly zero.

    With mask m, gradient g, params θ and moments μ the wrapped optimizer sees m ⊙ g, m ⊙ θ and
    m ⊙ μ; its update is kept where m holds and is −θ elsewhere, so that a pruned weight that is
    finite becomes exactly 0.0 even if it was not before. One that is not becomes NaN, since
    updates are added: set it to zero with `masks.apply` first. Its moments are then those of a
    weight at zero that never had a gradient: exactly 0.0, unless the optimizer itself adds noise
    to moments, in which case `mask_moments` clears the last step's.

    Args:
      optimizer: any optax transformation.

    Returns:
      A transformation with the same state, whose `update(grads, state, params, *, mask)` takes
      the mask at every call; other keyword arguments go through to `optimizer`.

    Raises:
      TicketError: from `update`, if `params` is not given.

    Example:
      >>> tx = masked(optax.adam(0.1))
      >>> params, mask = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([True, False])}
      >>> updates, state = tx.update(params, tx.init(params), params, mask=mask)
      >>> optax.apply_updates(params, updates)["w"].tolist()[1]
      0.0
    """
    inner = optax.with_extra_args_support(optimizer)

    def update(
        updates: Params,
        state: OptimizerState,
        params: Params | None = None,
        *,
        mask: Mask,
        **extra: Any,
    ) -> tuple[Params, OptimizerState]:
        if params is None:
            raise TicketError(
                "masked(optimizer).update: got params=None, expected the params, whose pruned "
                "weights are set to zero; call update(grads, state, params, mask=mask)"
            )
        # Moments are masked on their way in, not out: masked on the way out they would be other
        # arrays than those the update is computed from, and XLA would copy both in every step.
        state = mask_moments(optimizer, state, mask)
        # optax multiplies floats by integer counts, which strict promotion would refuse.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = inner.update(_keep(updates, mask), state, _keep(params, mask), **extra)
        updates = jax.tree.map(
            lambda u, p, m: u if m is None else jnp.where(m, u, -p), updates, params, mask
        )
        return updates, state

    return optax.GradientTransformationExtraArgs(optimizer.init, cast(Any, update))


def mask_moments(
    optimizer: optax.GradientTransformation, state: OptimizerState, mask: Mask
) -> OptimizerState:
    """Sets the moments of pruned weights to exactly zero.

    Args:
      optimizer: the transformation that made the state.
      state: its state.
      mask: which weights are kept.

    Returns:
      The state; arrays that are not shaped like their weight (factored moments) are untouched, and
      so is `optax.MaskedNode`, where a transformation has no moments of a weight.

    Example:
      >>> tx, params = optax.trace(0.9), {"w": jnp.ones(2)}
      >>> state = optax.TraceState(trace={"w": jnp.ones(2)})
      >>> mask_moments(tx, state, {"w": jnp.array([True, False])}).trace["w"].tolist()
      [1.0, 0.0]
    """
    return optax.tree.map_params(optimizer, _keep_leaf, state, mask, is_leaf=_is_hole)


def restart(
    optimizer: optax.GradientTransformation, state: OptimizerState, params: Params
) -> OptimizerState:
    """Restarts the optimizer's memory and lets its schedules go on.

    A part of the state that holds arrays shaped like the params (Adam's moments with the count
    that corrects their bias, momentum, averages) starts anew at `params`; a part that holds
    none (the counts of learning-rate schedules) keeps its values. So the learning rate goes on
    from the rewind step while the moments start at zero with a right bias correction.

    Args:
      optimizer: the transformation that made the state.
      state: its state at the rewind step.
      params: where training restarts.

    Returns:
      The state to start with.

    Example:
      >>> tx, params = optax.adam(optax.constant_schedule(0.1)), {"w": jnp.ones(1)}
      >>> _, state = masked(tx).update(params, tx.init(params), params, mask={"w": None})
      >>> [int(part.count) for part in restart(tx, state, params)]
      [0, 1]

    Source: 1912.05671, section 2 rewinds the schedule with the weights; that moments restart
    is this project's default, stated because open_lth restarts them unasked.
    """
    # One mark for all of a moment: a NamedTuple that it is made of is no part of the state.
    shaped_like_params = optax.tree.map_params(
        optimizer,
        lambda _: True,
        state,
        transform_non_params=lambda _: False,
        is_leaf=lambda _: True,
    )
    return _merge(shaped_like_params, state, optimizer.init(params))


def _merge(marks: Any, old: Any, new: Any) -> Any:
    """Takes, part by part, the new state where the part has memory of the params."""
    if hasattr(marks, "_fields"):
        nested = {name for name in marks._fields if _holds_parts(getattr(marks, name))}
        own = {name: getattr(marks, name) for name in marks._fields if name not in nested}
        source = new if any(jax.tree.leaves(own)) else old
        fields = {name: getattr(source, name) for name in own}
        fields |= {n: _merge(getattr(marks, n), getattr(old, n), getattr(new, n)) for n in nested}
        return type(old)(**fields)
    if isinstance(marks, dict):
        return {name: _merge(mark, old[name], new[name]) for name, mark in marks.items()}
    if isinstance(marks, tuple | list):
        return type(marks)(_merge(*parts) for parts in zip(marks, old, new, strict=True))
    return new if marks else old


def _holds_parts(field: Any) -> bool:
    """Says whether a field holds states of other transformations."""
    is_part = lambda node: hasattr(node, "_fields")  # noqa: E731
    return any(is_part(node) for node in jax.tree.leaves(field, is_leaf=is_part))


def _keep(tree: Params, mask: Mask) -> Params:
    return jax.tree.map(_keep_leaf, tree, mask)


def _keep_leaf(leaf: Any, mask: Any) -> Any:
    if mask is None or _is_hole(leaf) or leaf.shape != mask.shape:
        return leaf
    return jnp.where(mask, leaf, jnp.zeros((), leaf.dtype))


def _is_hole(node: Any) -> bool:
    """Says whether a node stands for weights that a transformation has no moments of."""
    return isinstance(node, optax.MaskedNode)
