"""Kept weights that make up for pruned ones, from what the layer is given: least squares."""

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from jaxticket import masks
from jaxticket.criteria.base import Evidence, check_reads
from jaxticket.criteria.layer_inputs import check_all_found, check_damping, damped_products
from jaxticket.decompositions import matrix_by_matrix
from jaxticket.masks.basic import leaves_by_path
from jaxticket.precision import at_least_single
from jaxticket.structure.inputs import layer_inputs
from jaxticket.types import Mask, Params


def reconstruct(evidence: Evidence, mask: Mask, damping: float = 0.01) -> Params:
    """Changes kept weights so that layers give what they gave: least squares under a mask.

    In each layer Ŵ = argmin ½ ‖X W − X Ŵ‖² + ½ λ ‖W − Ŵ‖² with Ŵ zero where it is pruned. For the
    weights to one output, K kept and P pruned, that is ŵ_K = w_K + [H_KK]⁻¹ H_KP w_P, with
    H = Xᵀ X + λ I. The layer's error ‖X W − X Ŵ‖ is never greater than that of W ⊙ m. Every layer
    is taken by itself: X is what it is given in the network before pruning. The mask may be of any
    criterion and allocation.

    Args:
      evidence: as criteria read it: `final` are the weights W before pruning.
      mask: what is kept of them, `bool` leaves, `None` where not prunable.
      damping: λ over the mean of the diagonal of Xᵀ X, above zero, as in `optimal_brain_surgeon`.

    Returns:
      The weights: Ŵ where there is a mask, exactly zero where it prunes; `final` elsewhere. Each
      output of a layer of n inputs solves a system of n equations.

    Raises:
      TicketError: for a damping that is not above zero, where the evidence lacks examples,
        objective or model state, or where a prunable kernel is applied in another way than by a
        matrix product or a plain convolution.
      MaskError: for a mask that does not fit.

    Example:
      >>> from jaxticket.types import Objective
      >>> linear = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["w"], s), lambda y, x: y)
      >>> params, x = {"w": jnp.array([[2.0], [1.0]])}, jnp.array([[1.0, 1.0], [2.0, 2.0]])
      >>> evidence = Evidence(params, params, jax.random.key(0), None, {}, x, linear)
      >>> mask = {"w": jnp.array([[True], [False]])}  # both inputs are alike
      >>> reconstruct(evidence, mask, damping=1.0)["w"].round(3).tolist()
      [[2.5], [0.0]]

    Source: the update of Hassibi and Stork 1993 for all pruned weights at once; by layer and for a
    given mask as 2301.00774, section 3.1, which then approximates it (both unverified).
    """
    who = "reconstruct"
    check_damping(damping)
    masks.check(mask, evidence.final)
    check_reads(who, ("examples", "objective", "model_state"), evidence)
    objective = evidence.objective
    assert objective is not None, "checked above"
    inputs = objective.prepare(evidence.examples)
    given = layer_inputs(objective.apply, evidence.final, evidence.model_state, inputs)
    check_all_found(who, mask, given)
    chosen = dict(leaves_by_path(mask))
    leaves = [
        _updated(leaf, chosen[path], given[path], damping) if path in chosen else leaf
        for path, leaf in leaves_by_path(evidence.final)
    ]
    return jax.tree.unflatten(jax.tree.structure(evidence.final), leaves)


def _updated(leaf: Array, mask: Array, given: Array, damping: float) -> Array:
    """Updates one kernel as a matrix, output by output."""
    kernel, inputs = at_least_single(jnp.asarray(leaf)), at_least_single(given)
    columns = inputs.shape[1], -1
    products = damped_products(inputs, damping)
    weights, kept = (array.reshape(columns).T for array in (kernel, jnp.asarray(mask)))
    # Output after output: all their systems at once would not fit.
    found = jax.lax.map(lambda column: _one_output(products, *column), (weights, kept))
    return found.T.reshape(leaf.shape).astype(leaf.dtype)


def _one_output(
    products: Float[Array, "inputs inputs"],
    weights: Float[Array, " inputs"],
    kept: Bool[Array, " inputs"],
) -> Float[Array, " inputs"]:
    lost = products @ jnp.where(kept, 0.0, weights)
    # Pruned rows and columns are those of the identity, so that the system keeps its size.
    both = kept[:, None] & kept[None, :]
    system = jnp.where(both, products, jnp.eye(len(products), dtype=products.dtype))
    moved = _solve(system, jnp.where(kept, lost, 0.0))
    return jnp.where(kept, weights + moved, 0.0)


@matrix_by_matrix
def _solve(system: Array, right: Array) -> Array:
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(system), right)
