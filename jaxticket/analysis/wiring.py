"""How a mask is wired: what each unit is connected to, and which weights are on a path at all."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.structure import Graph, Group
from jaxticket.structure.program import read
from jaxticket.types import Batch, Mask, ModelState, Objective, Params

CURVED = ("cos", "erf", "exp", "log", "log1p", "logistic", "pow", "sin", "tanh")
"""Primitives through which a path is no product of weights."""


class Degrees(NamedTuple):
    """How many weights each unit of a group keeps; under `vmap`, networks come before the units.

    Attributes:
      incoming: `int32[units]`, those that make it; `None` where none of them is prunable.
      outgoing: `int32[units]`, those that read it; `None` likewise.
    """

    incoming: Int[Array, "*networks units"] | None
    outgoing: Int[Array, "*networks units"] | None

    @property
    def dead(self) -> Bool[Array, "*networks units"]:
        """Units without a weight on one side; of `Paths.effective`, all that are on no path."""
        sides = [side == 0 for side in self if side is not None]
        return sides[0] | sides[-1]


def degrees(graph: Graph, mask: Mask) -> dict[str, Degrees]:
    """Counts the kept weights into and out of every unit: neuron, channel or head.

    Units are those of the traced network, whatever its leaves are called; a channel's degree
    counts every place of a convolution's window. Leaves that are not prunable do not count.

    Args:
      graph: from `structure.trace`.
      mask: `bool` leaves, may be traced.

    Returns:
      Degrees by the group's name.

    Example:
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((2, 1, 1), widths=(3,), outputs=1)
      >>> graph = trace(model, *jax.eval_shape(model.init, jax.random.key(0)), (2, 1, 1))
      >>> hidden = {"bias": None, "kernel": jnp.array([[True, True, False], [False, True, False]])}
      >>> output = {"bias": None, "kernel": jnp.array([[True], [False], [True]])}
      >>> found = degrees(graph, {"hidden_0": hidden, "output": output})["hidden_0/kernel"]
      >>> found.incoming.tolist(), found.outgoing.tolist(), found.dead.tolist()
      ([1, 2, 0], [1, 0, 1], [False, True, True])
    """
    leaves = dict(leaves_by_path(mask))
    return {
        group.name: Degrees(*(_degrees(group, leaves, reads) for reads in (False, True)))
        for group in graph.groups
        if any(member.path in leaves for member in group.members)
    }


def _degrees(group: Group, leaves: dict[str, Any], reads: bool) -> Array | None:
    total = None
    for member in group.members:
        if member.path not in leaves or member.reads != reads or member.tree != "params":
            continue
        leaf = leaves[member.path]
        others = tuple(axis for axis in range(leaf.ndim) if axis != member.axis)
        sums = jnp.sum(leaf, axis=others, dtype=jnp.int32)
        total = jnp.zeros(group.size, jnp.int32) if total is None else total
        # The entries of an axis that are no unit of this group fall off the end.
        places = jnp.where(member.units >= 0, member.units, group.size)
        total = total.at[places].add(sums, mode="drop")
    return total


class Paths(NamedTuple):
    """The paths of kept weights from the inputs to the outputs.

    Attributes:
      log_number: `float[]`, the natural logarithm of how many there are; −inf for none.
      effective: a mask, the kept weights that are on a path.
      number: `float[]`, how many there are: exact up to 2^24 in float32, 2^53 in float64.
    """

    log_number: Float[Array, ""]
    effective: Mask
    number: Float[Array, ""]


def paths(
    objective: Objective, params: Params, model_state: ModelState, mask: Mask, examples: Batch
) -> Paths:
    """Counts the paths through a mask, and finds which of its weights are on any.

    R = 1ᵀ J 1 with J the Jacobian of the outputs to the inputs of the network whose prunable
    weights are the mask's ones and zeros and whose other numbers are one: each path of kept
    weights adds the product of ones. A weight is effective where ∂R/∂m ≠ 0; the effective density
    is `masks.density` of the result. For kernels, ReLUs and sums the number is exact as long as
    floats count by ones, in float32 up to 2^24 paths, and to their precision beyond. Float64 params
    and examples under `jax.enable_x64` count exactly up to 2^53. Past the range (3e38 in float32)
    there is no answer, which raises where masks are concrete; where they are traced, dead weights
    can then seem effective. In a convolution each
    place of the output is an end of its own; average pooling weights a path by its share, maximal
    pooling follows the greatest, and batch normalisation takes 1/√(1 + ε) of it.

    Args:
      objective: how the network is applied, such as `learner.objective`.
      params: their shapes and dtypes; the numbers do not matter.
      model_state: likewise.
      mask: `bool` leaves, may be traced.
      examples: a batch, of which shapes matter alone.

    Returns:
      The logarithm of R, the effective weights, and R.

    Raises:
      TicketError: for a network with another curve than a ReLU's, such as tanh, in which a path
        is no product of weights, for inputs that are no floats, and for more paths than the range
        holds, where masks are concrete.

    Example:
      >>> from jaxticket import masks
      >>> linear = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["a"] @ p["b"], s), None)
      >>> params = {"a": jnp.zeros((2, 2)), "b": jnp.zeros((2, 3))}
      >>> mask = {"a": jnp.array([[True, False], [True, True]]), "b": jnp.ones((2, 3), bool)}
      >>> mask["b"] = mask["b"].at[1].set(False)
      >>> found = paths(linear, params, {}, mask, jnp.ones((1, 2)))
      >>> int(found.number), found.effective["a"].tolist()
      (6, [[True, False], [True, False]])

    Source: the trick of ones is that of 2006.05467; effective density as in 2107.02306
    (unverified).
    """
    dense = jax.tree.map(
        lambda p, m: jnp.ones_like(p) if m is None else m.astype(p.dtype), params, mask
    )
    number = _counting(objective, model_state, examples)
    value, slopes = jax.value_and_grad(number)(dense)
    kept = jax.tree.map(lambda s, m: None if m is None else jnp.where(m, s, 0.0), slopes, mask)
    _check_range(value, kept)
    return Paths(jnp.log(value), jax.tree.map(lambda slope: slope != 0, kept), value)


def _check_range(value: Array, slopes: Params) -> None:
    numbers = [value, *jax.tree.leaves(slopes)]
    if any(isinstance(number, Tracer) for number in numbers):
        return
    if not all(np.isfinite(number).all() for number in numbers):
        raise TicketError(
            f"paths: their number leaves the range of {value.dtype}, past which dead weights seem "
            "effective; count in float64, with params and examples of it under jax.enable_x64(True)"
        )


def _counting(objective: Objective, model_state: ModelState, examples: Batch) -> Any:
    """Gives R as a function of the weights."""
    shapes = jax.eval_shape(objective.prepare, examples)
    wrong = [leaf.dtype for leaf in jax.tree.leaves(shapes) if leaf.dtype.kind != "f"]
    if wrong:
        raise TicketError(f"paths: the network's inputs are {wrong[0]}, expected floats")
    ones = jax.tree.map(lambda leaf: jnp.ones((1, *leaf.shape[1:]), leaf.dtype), shapes)
    state = jax.tree.map(_one, model_state)

    def number(weights: Params) -> Array:
        apply = lambda x: objective.apply(weights, state, x, train=False)[0]  # noqa: E731
        _refuse_curves(apply, ones)
        # Along the inputs, so that what biases add is no path; they only hold ReLUs open.
        _, outputs = jax.jvp(apply, (ones,), (ones,))
        sums = [jnp.sum(output) for output in jax.tree.leaves(outputs)]
        return sum(sums[1:], start=sums[0])

    return number


def _one(leaf: Any) -> Array:
    return jnp.ones_like(leaf) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


def _refuse_curves(apply: Any, ones: Any) -> None:
    found = [equation for equation in read(apply, ones).equations if equation.name in CURVED]
    if found:
        raise TicketError(
            f"paths: the network has {found[0].where}, expected kernels, ReLUs and sums, through "
            "which a path is the product of its weights; count degrees instead"
        )
