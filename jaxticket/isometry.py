"""Weights under a mask through which a signal keeps its length, and the actions made of them.

A kernel stands for the matrix W of shape (inputs, outputs), all its axes but the last one flattened
into inputs. A layer is a (partial) isometry if all singular values of what remains of W are equal:
W W^T = g² I or W^T W = g² I, whichever is the smaller, with a gain g that makes up for what the
activation takes away.

Leaves of fewer than two axes, such as biases, are no matrices: where they are prunable they are
masked and keep their values. Whatever the precision of the params, all is computed in `float32` at
least and rounded once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from jaxticket import masks
from jaxticket.decompositions import matrix_by_matrix
from jaxticket.keys import derive
from jaxticket.masks.prunable import path_string
from jaxticket.precision import at_least_single
from jaxticket.types import Mask, Params

RELU_GAIN = 2**0.5
"""The gain of the actions here: a ReLU halves the square of a symmetric signal (1502.01852)."""


def orthogonalize(params: Params, mask: Mask, *, gain: float) -> Params:
    """Replaces each remaining matrix by the nearest one whose singular values are all equal: OrthP.

    m ⊙ W = U diag(s) V^T becomes g U_r V_r^T, r the number of s that are not zero in float32. Rows
    and columns that are pruned whole stay zero, so what is left of a layer that lost units is
    orthogonal. Under other masks U_r V_r^T is not zero where the mask is; it is set to zero there,
    and is then no isometry: use `approximate_isometry`. A remaining matrix that lacks rank keeps
    lacking it.

    Args:
      params: float leaves.
      mask: which weights are kept; leaves that are not prunable are left as they are, and those of
        fewer than two axes are only masked.
      gain: g, 1 for linear layers, √2 before a ReLU.

    Returns:
      The masked params.

    Example:
      >>> w, mask = {"w": jnp.diag(jnp.array([3.0, -2.0, 0.5]))}, {"w": jnp.eye(3, dtype=bool)}
      >>> mask["w"] = mask["w"].at[2, 2].set(False)
      >>> jnp.diag(orthogonalize(w, mask, gain=1.0)["w"]).round(5).tolist()
      [1.0, -1.0, 0.0]

    Source: "OrthP" of 2105.05916, whose code takes Q of a QR decomposition of the existing weights
    (unverified); the polar factor, which is nearest to them in the Frobenius norm, is our choice.
    """

    def polar(leaf: Array, kept: Bool[Array, "..."]) -> Array:
        matrix = _matrix(jnp.where(kept, leaf, jnp.zeros((), leaf.dtype)))
        left, values, right = _decomposed(matrix)
        smallest = values[0] * max(matrix.shape) * jnp.finfo(leaf.dtype).eps
        signs = jnp.where(values > smallest, jnp.asarray(gain, leaf.dtype), 0)
        return ((left * signs[None]) @ right).reshape(leaf.shape)

    return _by_matrix(polar, params, mask)


def approximate_isometry(
    params: Params, mask: Mask, *, gain: float, steps: int, learning_rate: float
) -> Params:
    """Brings each layer as near to an isometry as its mask lets it: min_W ‖(m ⊙ W)^T (m ⊙ W) − I‖².

    By Adam from the given weights, each layer by itself, of W / g. Where W has fewer inputs than
    outputs, W W^T takes the place of W^T W, which differs by a constant.

    Args:
      params: float leaves, where Adam begins.
      mask: which weights are kept, any mask; leaves that are not prunable are left as they are, and
        those of fewer than two axes are only masked.
      gain: g, 1 for linear layers, √2 before a ReLU.
      steps: of Adam.
      learning_rate: of Adam, constant, in units of W / g.

    Returns:
      The masked params.

    Example:
      >>> w, mask = {"w": jnp.diag(jnp.array([3.0, -2.0]))}, {"w": jnp.eye(2, dtype=bool)}
      >>> near = approximate_isometry(w, mask, gain=1.0, steps=300, learning_rate=0.05)["w"]
      >>> jnp.diag(near).round(2).tolist()
      [1.0, -1.0]

    Source: "approximate dynamical isometry" of 1906.06307, section 4; Adam, as in the code of
    2105.05916 (both unverified).
    """
    optimizer = optax.adam(learning_rate)

    def descend(leaf: Array, kept: Bool[Array, "..."]) -> Array:
        scaled = jnp.where(kept, leaf, jnp.zeros((), leaf.dtype)) / jnp.asarray(gain, leaf.dtype)
        slope = jax.grad(lambda weights: _distance(jnp.where(kept, weights, 0)))

        def step(_: Array, carry: tuple[Array, optax.OptState]) -> tuple[Array, optax.OptState]:
            weights, state = carry
            # optax raises floats to integer counts, which strict promotion would refuse.
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(slope(weights), state)
            return weights + jnp.asarray(updates), state

        first = scaled, optimizer.init(scaled)
        return jax.lax.fori_loop(0, steps, step, first)[0] * jnp.asarray(gain, leaf.dtype)

    return _by_matrix(descend, params, mask)


def orthogonalized(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Goes back to the nearest weights whose remaining matrices are isometries of gain √2.

    Args:
      key: unused.
      initial: the weights at the rewind point.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      `orthogonalize(initial, mask, gain=RELU_GAIN)`.

    Example:
      >>> w, mask = {"w": jnp.eye(2)}, {"w": jnp.array([[True, False], [False, True]])}
      >>> jnp.diag(orthogonalized(jax.random.key(0), w, w, mask)["w"] ** 2).round(5).tolist()
      [2.0, 2.0]

    Source: OrthP of 2105.05916, as an action.
    """
    del key, fresh
    return orthogonalize(initial, mask, gain=RELU_GAIN)


def isometric(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Goes back to weights that are as near to isometries of gain √2 as any mask lets them be.

    Args:
      key: unused.
      initial: the weights at the rewind point, where Adam begins.
      fresh: unused.
      mask: which weights are kept.

    Returns:
      `approximate_isometry` of them, with 200 steps of Adam at a rate of 0.01: our choice.

    Example:
      >>> w, mask = {"w": jnp.eye(2)}, {"w": jnp.array([[True, False], [False, True]])}
      >>> jnp.diag(isometric(jax.random.key(0), w, w, mask)["w"] ** 2).round(1).tolist()
      [2.0, 2.0]

    Source: 1906.06307, section 4, as an action.
    """
    del key, fresh
    return approximate_isometry(initial, mask, gain=RELU_GAIN, steps=200, learning_rate=0.01)


def sparsity_aware(key: PRNGKeyArray, initial: Params, fresh: Params, mask: Mask) -> Params:
    """Draws weights by how many inputs each unit has kept: w_ij ~ N(0, 2 / fan_in_j).

    Args:
      key: decides the weights.
      initial: unused.
      fresh: a new initialisation, of which all leaves are taken that are not prunable or have fewer
        than two axes.
      mask: which weights are kept; fan_in_j is how many of unit j, the last axis.

    Returns:
      The masked weights.

    Example:
      >>> w, mask = {"w": jnp.zeros((9000, 2))}, {"w": jnp.ones((9000, 2), bool)}
      >>> mask["w"] = mask["w"].at[1000:, 1].set(False)
      >>> (sparsity_aware(jax.random.key(0), w, w, mask)["w"] ** 2).sum(axis=0).round().tolist()
      [2.0, 2.0]

    Source: 2010.03533, section 3 (unverified), which corrects 1502.01852 by unit.
    """
    del initial

    def drawn(path: tuple[Any, ...], leaf: Array, kept: Array | None) -> Array:
        if kept is None or leaf.ndim < 2:
            return leaf
        inputs, dtype = jnp.sum(_matrix(kept), axis=0, dtype=jnp.int32), at_least_single(leaf).dtype
        deviation = jnp.sqrt(2 / jnp.maximum(inputs, 1).astype(dtype))
        normal = jax.random.normal(derive(key, path_string(path)), leaf.shape, dtype)
        return (normal * deviation.reshape((1,) * (leaf.ndim - 1) + (-1,))).astype(leaf.dtype)

    return masks.apply(jax.tree_util.tree_map_with_path(drawn, fresh, mask), mask)


def _by_matrix(change: Callable[[Array, Array], Array], params: Params, mask: Mask) -> Params:
    def changed(leaf: Any, kept: Any) -> Any:
        if kept is None or jnp.ndim(leaf) < 2:
            return leaf
        leaf = jnp.asarray(leaf)
        return change(at_least_single(leaf), jnp.asarray(kept)).astype(leaf.dtype)

    return masks.apply(jax.tree.map(changed, params, mask), mask)


_decomposed = matrix_by_matrix(lambda matrix: jnp.linalg.svd(matrix, full_matrices=False))


def _matrix(leaf: Array) -> Array:
    return leaf.reshape(-1, leaf.shape[-1])


def _distance(weights: Array) -> Float[Array, ""]:
    """Gives the square of the distance to an isometry, of the smaller Gram matrix."""
    matrix = _matrix(weights)
    tall = matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T
    gram = jnp.matmul(tall.T, tall)
    return jnp.sum(jnp.square(gram - jnp.eye(len(gram), dtype=gram.dtype)))
