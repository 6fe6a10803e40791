"""In what precision a network computes; its weights are float32 throughout."""

from contextlib import nullcontext
from typing import Any

import jax
import jax.numpy as jnp

from jaxticket.errors import TicketError, unknown
from jaxticket.types import Model, ModelState, Params

# What jax.default_matmul_precision calls them; bfloat16 casts, so it needs none of its names.
_MATRIX_PRODUCTS = {"float32": "float32", "tf32": "tensorfloat32", "bfloat16": None}

PRECISIONS = tuple(_MATRIX_PRODUCTS)
"""Names that `in_precision` understands."""


def in_precision(model: Model, precision: str) -> Model:
    """Makes a network compute in a precision: f̃(x; θ) = float32(f(round(x); round(θ))).

    Weights, masks, gradients, optimizer moments and batch statistics stay `float32`; only what
    happens inside `apply` is rounded.

    | name | what is rounded |
    | --- | --- |
    | float32 | nothing; on GPUs, JAX's own default rounds to tf32 |
    | tf32 | the operands of matrix products and convolutions, to 10 bits, on NVIDIA GPUs only |
    | bfloat16 | weights, inputs and activations, to 7 bits |

    Args:
      model: the network.
      precision: a name of `PRECISIONS`.

    Returns:
      A network with the same weights, whose output is `float32`.

    Raises:
      TicketError: for another name.

    Example:
      >>> linear = Model(
      ...     init=lambda key: ({"w": jnp.ones(1)}, {}),
      ...     apply=lambda params, state, x, *, train, key=None: (x * params["w"], state),
      ... )
      >>> rounded = in_precision(linear, "bfloat16")
      >>> rounded.apply({"w": jnp.ones(1)}, {}, jnp.full(1, 1.001), train=False)[0].tolist()
      [1.0]
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    rounds = precision == "bfloat16"
    cast = _to_bfloat16 if rounds else lambda tree: tree
    promotion = (lambda: jax.numpy_dtype_promotion("standard")) if rounds else nullcontext

    def apply(
        params: Params, model_state: ModelState, x: jax.Array, *, train: bool, key: Any = None
    ) -> tuple[Any, ModelState]:
        # Backward passes multiply in the precision that was chosen when the product was traced.
        # Layers that keep statistics in float32 mix it with bfloat16, which strict promotion
        # would refuse.
        with jax.default_matmul_precision(_MATRIX_PRODUCTS[precision]), promotion():
            output, state = model.apply(cast(params), model_state, cast(x), train=train, key=key)
        like = lambda new, old: new.astype(jnp.asarray(old).dtype)  # noqa: E731
        return _to_float32(output), jax.tree.map(like, state, model_state)

    return Model(model.init, apply)


def at_least_single(numbers: jax.Array) -> jax.Array:
    """Gives lower precisions as `float32`, in which matrices can be decomposed.

    Args:
      numbers: floats of any precision.

    Returns:
      The same; those of `float32` and `float64` as they are.

    Example:
      >>> at_least_single(jnp.ones(2, jnp.bfloat16)).dtype
      dtype('float32')
    """
    return numbers.astype(jnp.float32) if numbers.dtype.itemsize < 4 else numbers


def check_precision(precision: str, platform: str | None = None) -> None:
    """Checks that a precision is known, and is not silently another one here.

    Args:
      precision: a name of `PRECISIONS`.
      platform: "cpu", "gpu" or "tpu", from `jax.default_backend()`; only the name is checked if
        `None`.

    Raises:
      TicketError: for an unknown name, or tf32 where there is none.

    Example:
      >>> check_precision("tf32", "cpu")
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: precision: got tf32 on cpu, where matrix products have no \
such rounding; choose float32 or bfloat16
    """
    if precision not in PRECISIONS:
        raise unknown("precision", precision, PRECISIONS)
    if precision == "tf32" and platform not in (None, "gpu"):
        raise TicketError(
            f"precision: got tf32 on {platform}, where matrix products have no such rounding; "
            "choose float32 or bfloat16"
        )


def _to_bfloat16(tree: Any) -> Any:
    return jax.tree.map(
        lambda a: a.astype(jnp.bfloat16) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree
    )


def _to_float32(tree: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(jnp.float32) if a.dtype == jnp.bfloat16 else a, tree)
