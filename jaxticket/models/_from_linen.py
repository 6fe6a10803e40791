"""A Flax Linen module as a `Model`."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import errors, linen
from flax.core import meta
from jax.typing import ArrayLike, DTypeLike

from jaxticket.errors import TicketError, unknown
from jaxticket.models._arguments import (
    first_line,
    plain_dict,
    positive_integers,
    train_flags,
)
from jaxticket.types import Model, ModelState, Params

# What Flax and JAX raise at an input of the wrong shape.
_SHAPE_ERRORS = (TypeError, ValueError, IndexError, AssertionError, errors.FlaxError)


def from_linen(
    module: linen.Module,
    input_shape: Sequence[int],
    *,
    dtype: DTypeLike = jnp.float32,
    arguments: Mapping[str, Any] | None = None,
) -> Model:
    """A `Model` of a Flax Linen module.

    `params` is the module's "params" collection, `model_state` a dict of all others
    ("batch_stats" ...), `{}` if there are none. `apply` passes the module's `__call__` those
    of `train`, `training`, `is_training`, `deterministic` and `use_running_average` that it
    names. Collections change only where `train` is True. `key` is the "dropout" stream. Layers
    with `features` (dense, convolution ...) are as wide as the kernels in `params` that `apply`
    is given, so that a network can be made smaller.

    Args:
      module: a Linen module whose `__call__` takes `dtype[batch, *input_shape]`.
      input_shape: the shape of one example, without the batch axis.
      dtype: the dtype of the examples (`int32` for token ids).
      arguments: what `__call__` is given besides, by name: numbers or arrays, which may be
        traced, where a module's own fields may not.

    Returns:
      A `Model`. Its parameters have the dtypes that the module gives them.

    Raises:
      TypeError: `module` is not an instance of `flax.linen.Module`.
      TicketError: the module does not accept `input_shape`, or does not name an argument.
        `apply` raises it for an `x` of another rank or one that does not fit (a convolution
        may take other sizes), and where the module draws random numbers and has no `key`.

    >>> import jax
    >>> from flax import linen
    >>> from jaxticket.models import from_linen
    >>> model = from_linen(linen.Dense(3), (4,))
    >>> params, model_state = model.init(jax.random.key(0))
    >>> jax.tree.map(jax.numpy.shape, params), model_state
    ({'bias': (3,), 'kernel': (4, 3)}, {})
    >>> output, _ = model.apply(params, model_state, jax.numpy.ones((2, 4)), train=False)
    >>> output.shape
    (2, 3)

    Source: Flax, https://flax.readthedocs.io.
    """
    if not isinstance(module, linen.Module):
        given = module.__name__ if isinstance(module, type) else f"a {type(module).__name__}"
        raise TypeError(
            f"from_linen: module is {given}, expected a flax.linen.Module instance: Network(...)"
        )
    example_shape = positive_integers("from_linen", "input_shape", input_shape)
    call = type(module).__call__
    others = _check_arguments(call, arguments or {})

    def init(key: jax.Array) -> tuple[Params, ModelState]:
        example = jnp.zeros((1, *example_shape), dtype)
        options: dict[str, Any] = {**others, **train_flags(call, False)}
        variables = module.init(key, example, **options)
        collections = plain_dict(meta.unbox(variables))
        return collections.pop("params", {}), collections

    def apply(
        params: Params,
        model_state: ModelState,
        x: ArrayLike,
        *,
        train: bool,
        key: jax.Array | None = None,
    ) -> tuple[Any, ModelState]:
        options: dict[str, Any] = {**others, **train_flags(call, train)}
        options["rngs"] = None if key is None else {"dropout": key}
        variables = {"params": params, **model_state}
        # A dense layer takes an example without its batch axis and says nothing.
        if jnp.ndim(x) != 1 + len(example_shape):
            raise TicketError(_input_message(module, jnp.shape(x), example_shape))
        x = jnp.asarray(x)
        try:
            with linen.intercept_methods(_fit_to_kernel):
                if not train:
                    return module.apply(variables, x, mutable=False, **options), model_state
                output, updates = module.apply(variables, x, mutable=[*model_state], **options)
        except errors.InvalidRngError as error:
            raise TicketError(_key_message(module, key, error)) from error
        except _SHAPE_ERRORS as error:
            if jnp.shape(x)[1:] == example_shape:
                raise
            raise TicketError(_input_message(module, jnp.shape(x), example_shape)) from error
        return output, {**model_state, **plain_dict(meta.unbox(updates))}

    _check_input_shape(module, init, example_shape)
    return Model(init, apply)


def _fit_to_kernel(call: Any, arguments: Any, options: Any, context: Any) -> Any:
    """Calls a layer with as many features as its kernel has, which compaction may have cut.

    Flax compares a kernel's shape with the layer's `features`. Modules are frozen, so the field
    is set from outside; the layer is a copy that Flax makes for every application.
    """
    layer, features = context.module, getattr(context.module, "features", None)
    if context.method_name != "__call__" or features is None or layer.scope is None:
        return call(*arguments, **options)
    kernel = layer.get_variable("params", "kernel")
    if kernel is None:
        return call(*arguments, **options)
    shape = jnp.shape(kernel)
    fitting = shape[-1] if isinstance(features, int) else shape[-len(features) :]
    object.__setattr__(layer, "features", fitting)
    return call(*arguments, **options)


def _check_arguments(call: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    accepted = inspect.signature(call).parameters
    for name in arguments:
        if name not in accepted:
            raise unknown("argument of __call__", name, accepted)
    return arguments


def _check_input_shape(module: linen.Module, init: Any, example_shape: tuple[int, ...]) -> None:
    """Trace `init`, so that a shape that does not fit is told of before any training."""
    abstract_key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        jax.eval_shape(init, abstract_key)
    except _SHAPE_ERRORS as error:
        raise TicketError(
            f"from_linen: {type(module).__name__} does not accept input_shape={example_shape}, "
            f"expected the shape of one example without the batch axis: {first_line(error)}"
        ) from error


def _key_message(module: linen.Module, key: jax.Array | None, error: Exception) -> str:
    name = type(module).__name__
    if key is None:
        return f"apply: {name} draws random numbers, and key=None: pass apply(..., key=...)"
    return f"apply: {name} draws from a stream that is not 'dropout', key's: {first_line(error)}"


def _input_message(
    module: linen.Module, given: tuple[int, ...], example_shape: tuple[int, ...]
) -> str:
    expected = ", ".join(map(str, ("batch", *example_shape)))
    return (
        f"apply: {type(module).__name__} was given x of shape {given}, expected ({expected}), "
        f"from its input_shape={example_shape}"
    )
