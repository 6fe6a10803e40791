"""What every layer of a network is given, read off the traced network."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from jaxticket.structure.program import Equation, Program, paths, read, run, views
from jaxticket.types import ModelState, Params

# After these the rows of a matrix are still the leading entries of the leaf.
_ROWS_KEPT = ("convert_element_type", "copy", "reduce_precision", "reshape")


class _Use(NamedTuple):
    """Where a kernel is applied, and the value it is applied to."""

    path: str
    given: Any
    as_rows: Callable[[Array], Array]


def layer_inputs(
    apply: Callable[..., tuple[Any, ModelState]],
    params: Params,
    model_state: ModelState,
    inputs: Any,
) -> dict[str, Float[Array, "rows inputs"]]:
    """Gives X, what each kernel is multiplied with in evaluation: a layer is X W + b.

    A row of X is one product: an example, a token, or for a convolution a position of its window,
    whose entries are in the order of the kernel's own. W is the kernel with its last axes as
    columns, `kernel.reshape(X.shape[1], -1)`. A kernel that is applied several times has the rows
    of all. Kernels that are applied in another way, such as convolutions in groups, are left out.

    Args:
      apply: `apply(params, model_state, inputs, *, train) -> (outputs, model_state)`, of a `Model`
        or an `Objective`.
      params: the network's.
      model_state: the network's.
      inputs: what it is given.

    Returns:
      `float[rows, inputs]` by the kernel's path.

    Example:
      >>> import jax
      >>> from jaxticket.models import mlp
      >>> model = mlp((2, 2, 1), widths=(3,), outputs=2)
      >>> params, model_state = model.init(jax.random.key(0))
      >>> found = layer_inputs(model.apply, params, model_state, jnp.ones((5, 2, 2, 1)))
      >>> {path: x.shape for path, x in found.items()}
      {'hidden_0/kernel': (5, 4), 'output/kernel': (5, 3)}
    """

    def evaluation(params: Params, model_state: ModelState, inputs: Any) -> Any:
        return apply(params, model_state, inputs, train=False)[0]

    program = read(evaluation, params, model_state, inputs)
    named = paths(params)
    kernels = views(program, dict(zip(program.inputs, named, strict=False)), _ROWS_KEPT)
    uses = [use for equation in program.equations for use in _uses(program, equation, kernels)]
    values = run(
        program, jax.tree.leaves((params, model_state, inputs)), [use.given for use in uses]
    )
    rows = defaultdict(list)
    for use, value in zip(uses, values, strict=True):
        rows[use.path].append(use.as_rows(value))
    return {path: jnp.concatenate(rows[path]) for path in named if path in rows}


def _uses(program: Program, equation: Equation, kernels: dict[int, str]) -> Iterator[_Use]:
    find = {"dot_general": _in_product, "convolution": _in_convolution}
    find["conv_general_dilated"] = _in_convolution
    if equation.name in find:
        yield from find[equation.name](program, equation, kernels)


def _in_product(_program: Program, equation: Equation, kernels: dict[int, str]) -> Iterator[_Use]:
    contracted, batch = equation.choices["dimension_numbers"]
    for side in (0, 1):
        kernel, given = equation.operands[side], equation.operands[1 - side]
        if not isinstance(kernel, int) or kernel not in kernels or batch[side]:
            continue
        ours, theirs = contracted[side], contracted[1 - side]
        # The kernel's leading axes, in whatever order the product names them.
        if sorted(ours) == list(range(len(ours))):
            order = tuple(axis for _, axis in sorted(zip(ours, theirs, strict=True)))
            yield _Use(kernels[kernel], given, lambda x, order=order: _flatten(x, order))


def _flatten(x: Array, last: tuple[int, ...]) -> Array:
    first = [axis for axis in range(x.ndim) if axis not in last]
    columns = math.prod(x.shape[axis] for axis in last)
    return x.transpose(*first, *last).reshape(-1, columns)


def _in_convolution(
    program: Program, equation: Equation, kernels: dict[int, str]
) -> Iterator[_Use]:
    given, kernel = equation.operands
    choices = equation.choices
    groups = choices.get("feature_group_count", 1) * choices.get("batch_group_count", 1)
    spread = set(choices.get("lhs_dilation", ())) - {1}
    if not isinstance(kernel, int) or kernel not in kernels or groups != 1 or spread:
        return
    if not _channels_last(program, equation):
        return
    strides = choices.get("strides") or choices["window_strides"]
    pads = choices.get("pads") or choices["padding"]
    dilation = choices.get("dilation") or choices["rhs_dilation"]
    window = program.shape(kernel)[:-2]
    yield _Use(kernels[kernel], given, lambda x: _patches(x, window, strides, pads, dilation))


def _channels_last(program: Program, equation: Equation) -> bool:
    numbers, rank = (
        equation.choices.get("dimension_numbers"),
        len(program.shape(equation.operands[0])),
    )
    last = (0, rank - 1, *range(1, rank - 1)), (rank - 1, rank - 2, *range(rank - 2))
    return numbers is None or tuple(numbers)[:2] == last


def _patches(x: Array, window: Any, strides: Any, pads: Any, dilation: Any) -> Array:
    """What each position of a window sees: by slices, since a convolution is slow in a loop."""
    pads = [(0, 0, 0), *((*pad, 0) for pad in pads), (0, 0, 0)]
    x = lax.pad(x, jnp.zeros((), x.dtype), pads)
    taps = [x]
    for axis, (size, stride, step) in enumerate(zip(window, strides, dilation, strict=True), 1):
        reach = x.shape[axis] - (size - 1) * step
        taps = [
            lax.slice_in_dim(tap, start * step, start * step + reach, stride, axis)
            for tap in taps
            for start in range(size)
        ]
    return jnp.stack(taps, axis=-2).reshape(-1, len(taps) * x.shape[-1])
