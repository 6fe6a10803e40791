"""Where training restarts: the ticket's own weights, and the controls that take other ones.

An action is `action(key, initial, fresh, mask) -> params`: `initial` are the weights at the
rewind point, `fresh` those of a new initialisation, and what comes back is zero where pruned.
Those of this file are the mask-1 actions of "Deconstructing Lottery Tickets" (1905.01067); those of
`jaxticket.isometry` are about how signals pass through what is left.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PRNGKeyArray

from jaxticket import masks
from jaxticket.isometry import isometric, orthogonalized, sparsity_aware
from jaxticket.keys import derive
from jaxticket.masks.prunable import path_string
from jaxticket.types import Mask, Params

Action = Callable[[PRNGKeyArray, Params, Params, Mask], Params]


def rewind(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Goes back to the weights at the rewind point: m ⊙ θ_k, bit for bit.

    Args:
      key: unused.
      initial: θ_k.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      The masked weights.

    Example:
      >>> w = {"w": jnp.array([1.0, 2.0])}
      >>> rewind(jax.random.key(0), w, w, {"w": jnp.array([True, False])})["w"].tolist()
      [1.0, 0.0]

    Source: 1803.03635, section 1 (k = 0); 1912.05671, section 2 (k > 0).
    """
    del key, fresh
    return masks.apply(initial, mask)


def reinit(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Draws all weights anew: m ⊙ θ'_0, biases included.

    Args:
      key: unused; `fresh` was drawn already.
      initial: unused.
      fresh: a new initialisation θ'_0.
      mask: which weights are kept.

    Returns:
      The masked weights.

    Example:
      >>> w, fresh = {"w": jnp.array([1.0, 2.0])}, {"w": jnp.array([5.0, 6.0])}
      >>> reinit(jax.random.key(0), w, fresh, {"w": jnp.array([True, False])})["w"].tolist()
      [5.0, 0.0]

    Source: "random reinit" of 1803.03635, section 2.
    """
    del key, initial
    return masks.apply(fresh, mask)


def reshuffle(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Permutes the kept weights within each layer.

    Args:
      key: decides the permutations.
      initial: the weights at the rewind point.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      The masked weights; each layer keeps the same values at other kept places.

    Example:
      >>> w = {"w": jnp.arange(1.0, 5.0)}
      >>> mask = {"w": jnp.array([True, False, True, True])}
      >>> sorted(reshuffle(jax.random.key(0), w, w, mask)["w"].tolist())
      [0.0, 1.0, 3.0, 4.0]

    Source: "random_reshuffle" of 1905.01067.
    """
    del fresh
    return _by_layer(_permute_kept, key, initial, mask)


def random_signed_constant(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Gives every kept weight the same magnitude and a random sign: ±σ_layer.

    σ is the standard deviation of the layer's weights at the rewind point, pruned ones
    included.

    Args:
      key: decides the signs.
      initial: the weights at the rewind point.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      The masked weights.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, -1.0])}, {"w": jnp.array([True, True])}
      >>> jnp.abs(random_signed_constant(jax.random.key(0), w, w, mask)["w"]).tolist()
      [1.0, 1.0]

    Source: "rand_signed_constant" of 1905.01067; that σ is the layer's is from memory of the
    paper and unverified.
    """
    del fresh

    def signed(key: PRNGKeyArray, leaf: Array, kept: Array) -> Array:
        del kept
        return jnp.std(leaf) * jax.random.rademacher(key, leaf.shape, leaf.dtype)

    return _by_layer(signed, key, initial, mask)


def signed_reinit(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Draws magnitudes anew and keeps the signs: |θ'_0| sign(θ_k).

    Args:
      key: unused.
      initial: the weights at the rewind point, which give the signs.
      fresh: a new initialisation, which gives the magnitudes.
      mask: which weights are kept; leaves that are not prunable are taken from `fresh`.

    Returns:
      The masked weights.

    Example:
      >>> w, fresh = {"w": jnp.array([-1.0])}, {"w": jnp.array([5.0])}
      >>> signed_reinit(jax.random.key(0), w, fresh, {"w": jnp.array([True])})["w"].tolist()
      [-5.0]

    Source: "signed_reinit" of 1905.01067.
    """
    return _with_signs_of(initial, reinit(key, initial, fresh, mask), mask)


def signed_reshuffle(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Permutes the kept magnitudes within each layer and keeps the sign of each place.

    Args:
      key: decides the permutations.
      initial: the weights at the rewind point.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      The masked weights.

    Example:
      >>> w, mask = {"w": jnp.array([-1.0, 2.0])}, {"w": jnp.array([True, True])}
      >>> jnp.sign(signed_reshuffle(jax.random.key(0), w, w, mask)["w"]).tolist()
      [-1.0, 1.0]

    Source: "signed_reshuffle" of 1905.01067.
    """
    return _with_signs_of(initial, reshuffle(key, initial, fresh, mask), mask)


def signed_constant(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Gives every kept weight the same magnitude and keeps its sign: σ_layer sign(θ_k).

    Args:
      key: unused beyond `random_signed_constant`.
      initial: the weights at the rewind point.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      The masked weights.

    Example:
      >>> w, mask = {"w": jnp.array([1.0, -1.0])}, {"w": jnp.array([True, True])}
      >>> signed_constant(jax.random.key(0), w, w, mask)["w"].tolist()
      [1.0, -1.0]

    Source: "signed_constant" of 1905.01067.
    """
    return _with_signs_of(initial, random_signed_constant(key, initial, fresh, mask), mask)


ACTIONS: dict[str, Action] = {
    action.__name__: action
    for action in (
        rewind,
        reinit,
        reshuffle,
        random_signed_constant,
        signed_reinit,
        signed_reshuffle,
        signed_constant,
        sparsity_aware,
        orthogonalized,
        isometric,
    )
}
"""Every action by name."""


def _by_layer(
    change: Callable[[PRNGKeyArray, Array, Array], Array],
    key: PRNGKeyArray,
    params: Params,
    mask: Mask,
) -> Params:
    """Changes the prunable leaves, each with its own key, and masks the result."""

    def changed(path: tuple[Any, ...], leaf: Array, kept: Array | None) -> Array:
        return leaf if kept is None else change(derive(key, path_string(path)), leaf, kept)

    return masks.apply(jax.tree_util.tree_map_with_path(changed, params, mask), mask)


def _permute_kept(key: PRNGKeyArray, leaf: Array, mask: Array) -> Array:
    """Permutes values among kept places; shapes stay static, so the mask may be traced."""
    values, kept = jnp.ravel(leaf), jnp.ravel(mask)
    places = jnp.arange(kept.size, dtype=jnp.int32)
    chance = jax.random.uniform(key, kept.shape)
    _, in_order = jax.lax.sort((~kept, places), num_keys=1, is_stable=True)
    _, _, at_random = jax.lax.sort((~kept, chance, places), num_keys=2, is_stable=True)
    permuted = jnp.zeros_like(values).at[in_order].set(values[at_random], unique_indices=True)
    return permuted.reshape(leaf.shape)


def _with_signs_of(initial: Params, params: Params, mask: Mask) -> Params:
    signed = jax.tree.map(
        lambda i, p, m: p if m is None else jnp.abs(p) * jnp.sign(i), initial, params, mask
    )
    # Once more, since 0.0 with a negative sign is -0.0.
    return masks.apply(signed, mask)
