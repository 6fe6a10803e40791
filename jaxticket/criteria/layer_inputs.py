"""Criteria on what pruning a weight does to its own layer's outputs, from the layer's inputs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxticket.criteria.base import Criterion, Evidence, check_reads, stateless
from jaxticket.decompositions import matrix_by_matrix
from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.precision import at_least_single
from jaxticket.structure.inputs import layer_inputs
from jaxticket.types import Mask, Scores

LayerScore = Callable[[Float[Array, "inputs outputs"], Float[Array, "rows inputs"]], Array]


def wanda() -> Criterion:
    """Scores by size times what is multiplied with it: |W_ij| ‖X_i‖₂, over the scoring examples.

    W_ij leads from input i to output j, and X_i are all values of input i. The paper compares
    weights that lead to the same output, which is `allocate.per_output`; here as everywhere the
    allocation says what is compared.

    Returns:
      The criterion; it reads `examples`, `objective` and `model_state`, in evaluation.

    Raises:
      TicketError: the score does, where the evidence lacks one of these, or where a prunable
        kernel is applied in another way than by a matrix product or a plain convolution.

    Example:
      >>> from jaxticket.types import Objective
      >>> linear = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["w"], s), lambda y, x: y)
      >>> params, x = {"w": jnp.array([[2.0], [-1.0]])}, jnp.array([[3.0, 0.0], [4.0, 1.0]])
      >>> evidence = Evidence(params, params, jax.random.key(0), None, {}, x, linear)
      >>> wanda().score((), evidence)["w"].tolist()
      [[10.0], [1.0]]

    Source: 2306.11695, equation 1.
    """
    return _by_layer("wanda", lambda w, x: jnp.abs(w) * jnp.linalg.norm(x, axis=0)[:, None])


def optimal_brain_surgeon(damping: float = 0.01) -> Criterion:
    """Scores by what a layer's outputs lose without a weight: W_ij² / 2 [H⁻¹]_ii, H = Xᵀ X + λ I.

    λ is `damping` times the mean of the diagonal of Xᵀ X, so that it means the same in every layer
    and for any number of examples. This is the least increase of ½ ‖X W − X Ŵ‖² + ½ λ ‖W − Ŵ‖²
    where Ŵ_ij is zero and all other weights to output j are free to make up for it. They are
    scored as if they did, and are left as they are; `reconstruct` changes them.

    Args:
      damping: λ over that mean, above zero.

    Returns:
      The criterion; it reads `examples`, `objective` and `model_state`, in evaluation.

    Raises:
      TicketError: for a damping that is not above zero; the score does as that of `wanda`.

    Example:
      >>> from jaxticket.types import Objective
      >>> linear = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["w"], s), lambda y, x: y)
      >>> params, x = {"w": jnp.array([[2.0], [-1.0]])}, jnp.eye(2)
      >>> evidence = Evidence(params, params, jax.random.key(0), None, {}, x, linear)
      >>> optimal_brain_surgeon(damping=1.0).score((), evidence)["w"].round(3).tolist()
      [[4.0], [1.0]]

    Source: Hassibi and Stork 1993, equation 5 (unverified); by layer and with this damping as
    2301.00774 (unverified).
    """
    check_damping(damping)

    def score(w: Array, x: Array) -> Array:
        inverse = _inverse(damped_products(x, damping))
        return w * w / (2 * jnp.diagonal(inverse))[:, None]

    return _by_layer("optimal_brain_surgeon", score)


def check_damping(damping: float) -> None:
    """Checks λ over the mean of a diagonal.

    Args:
      damping: the number.

    Raises:
      TicketError: unless it is above zero.

    Example:
      >>> check_damping(0.01)
    """
    if not damping > 0:
        raise TicketError(f"damping: got {damping}, expected a number above 0")


def damped_products(
    inputs: Float[Array, "rows inputs"], damping: float
) -> Float[Array, "inputs inputs"]:
    """Gives H = Xᵀ X + λ I, λ being `damping` times the mean of the diagonal of Xᵀ X.

    Args:
      inputs: X, what a layer is given.
      damping: above zero.

    Returns:
      H, which has an inverse.

    Example:
      >>> damped_products(jnp.eye(2), 0.5).tolist()
      [[1.5, 0.0], [0.0, 1.5]]
    """
    products = inputs.T @ inputs
    # A layer that is given nothing but zeros has no scale: any λ will do, the weights decide.
    scale = jnp.mean(jnp.diagonal(products))
    return products + damping * jnp.where(scale > 0, scale, 1.0) * jnp.eye(
        inputs.shape[1], dtype=inputs.dtype
    )


@matrix_by_matrix
def _inverse(hessian: Array) -> Array:
    factor = jax.scipy.linalg.cho_factor(hessian)
    return jax.scipy.linalg.cho_solve(factor, jnp.eye(len(hessian), dtype=hessian.dtype))


def _by_layer(who: str, score_layer: LayerScore) -> Criterion:
    """Makes a criterion that scores a kernel, as a matrix, by its layer's inputs."""

    def score(evidence: Evidence) -> Scores:
        check_reads(who, ("examples", "objective", "model_state"), evidence)
        objective = evidence.objective
        assert objective is not None, "checked above"
        given = layer_inputs(
            objective.apply,
            evidence.final,
            evidence.model_state,
            objective.prepare(evidence.examples),
        )
        check_all_found(who, evidence.mask, given)
        # What is not prunable is not looked at: zeros there are for the tree's structure.
        scores = [
            _scored(score_layer, leaf, given[path]) if path in given else jnp.zeros_like(leaf)
            for path, leaf in leaves_by_path(evidence.final)
        ]
        return jax.tree.unflatten(jax.tree.structure(evidence.final), scores)

    return stateless(score, reads=("examples", "objective", "model_state"), name=who)


def _scored(score_layer: LayerScore, leaf: Array, given: Array) -> Array:
    """Scores one kernel as a matrix."""
    kernel, inputs = at_least_single(leaf), at_least_single(given)
    scores = score_layer(kernel.reshape(inputs.shape[1], -1), inputs)
    return scores.reshape(leaf.shape).astype(leaf.dtype)


def check_all_found(who: str, mask: Mask, given: dict[str, Array]) -> None:
    """Checks that every prunable kernel is one whose inputs are known.

    Args:
      who: named in the message.
      mask: its leaves are what is prunable; `None` where that is not known.
      given: from `layer_inputs`.

    Raises:
      TicketError: naming the kernels that have no layer inputs.

    Example:
      >>> check_all_found("wanda", {"w": jnp.ones(1, bool)}, {"w": jnp.ones((3, 1))})
    """
    prunable = [] if mask is None else [path for path, _ in leaves_by_path(mask)]
    missing = [path for path in prunable if path not in given]
    if missing:
        raise TicketError(
            f"{who}: {', '.join(missing)} is not multiplied with its inputs in one product or "
            "plain convolution, so it has no layer inputs; leave it out of the prunable leaves"
        )
