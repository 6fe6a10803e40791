"""What a weight costs: how often it is multiplied when a network is given one example."""

from collections.abc import Callable
from typing import Any

import jax

from jaxticket.structure.inputs import layer_inputs
from jaxticket.types import ModelState, Params


def multiplications(
    apply: Callable[..., tuple[Any, ModelState]],
    params: Params,
    model_state: ModelState,
    shape: Any,
) -> dict[str, int]:
    """Counts how often each weight of a kernel is multiplied in one example's forward pass.

    1 in a dense layer, the number of output positions in a convolution, the number of tokens in a
    transformer: what `allocate.by_cost` takes as costs. Nothing is computed.

    Args:
      apply: `apply(params, model_state, inputs, *, train) -> (outputs, model_state)`, of a `Model`.
      params: the network's, or their shapes.
      model_state: the network's, or its shapes.
      shape: of one example, such as (28, 28, 1), which the network is given as floats.

    Returns:
      Counts by the kernel's path. Kernels that are applied in another way than by a matrix product
      or a plain convolution are left out.

    Example:
      >>> from jaxticket.models import conv_2
      >>> model = conv_2((28, 28, 1))
      >>> shapes = jax.eval_shape(model.init, jax.random.key(0))
      >>> costs = multiplications(model.apply, *shapes, (28, 28, 1))
      >>> costs["convolution_0/kernel"], costs["output/kernel"]
      (784, 1)
    """
    example = jax.ShapeDtypeStruct((1, *shape), "float32")
    given = jax.eval_shape(
        lambda p, s, x: layer_inputs(apply, p, s, x), params, model_state, example
    )
    return {path: rows.shape[0] for path, rows in given.items()}
