"""A JAX primitive of two operands: compiled as a function is, batched one by one."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir


def make_primitive(
    name: str, compute: Callable[..., jax.Array], static: tuple[str, ...]
) -> Primitive:
    """Makes a primitive of two arrays; its derivatives are for the caller to define.

    Args:
      name: as it shows in a jaxpr.
      compute: `compute(first, second, *, for_cpu=False, **choices)`, of JAX's own operations;
        `for_cpu` is set where it is compiled for one.
      static: the names of the choices.

    Returns:
      The primitive.
    """
    primitive = Primitive(name)
    primitive.def_impl(jax.jit(primitive.bind, static_argnames=static))
    primitive.def_abstract_eval(lambda *operands, **choices: _result(compute, operands, choices))
    for_cpu = functools.partial(compute, for_cpu=True)
    mlir.register_lowering(primitive, mlir.lower_fun(compute, multiple_results=False))
    mlir.register_lowering(primitive, mlir.lower_fun(for_cpu, multiple_results=False), "cpu")
    batching.primitive_batchers[primitive] = functools.partial(_one_by_one, primitive)
    return primitive


def _result(compute: Callable[..., jax.Array], operands: Any, choices: dict[str, Any]) -> Any:
    like = [jax.ShapeDtypeStruct(operand.shape, operand.dtype) for operand in operands]
    result = jax.eval_shape(functools.partial(compute, **choices), *like)
    return ShapedArray(result.shape, result.dtype)


def _one_by_one(primitive: Primitive, operands: Any, axes: Any, **choices: Any) -> Any:
    """Computes the networks of a `vmap` one after the other, as each would be alone."""
    first, second = operands
    moved = [
        operand if axis is None else jnp.moveaxis(operand, axis, 0)
        for operand, axis in zip((first, second), axes, strict=True)
    ]
    bind = functools.partial(primitive.bind, **choices)
    if axes[0] is None:
        return lax.map(lambda b: bind(moved[0], b), moved[1]), 0
    if axes[1] is None:
        return lax.map(lambda a: bind(a, moved[1]), moved[0]), 0
    return lax.map(lambda pair: bind(*pair), tuple(moved)), 0
