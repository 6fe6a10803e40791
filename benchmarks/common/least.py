"""The least that a training step needs: which matrix products, and how much traffic."""

import math
from collections import Counter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.common.problems import Problem
from jaxticket import masks

BLOCK_ROWS = 4_096
"""Taller products are computed in blocks of so many rows, so that a block stays in the cache."""


class Product(NamedTuple):
    """A matrix product: contraction of two matrices over one axis of each.

    Attributes:
      left: shape.
      right: shape.
      axes: the contracted axis of each.
    """

    left: tuple[int, int]
    right: tuple[int, int]
    axes: tuple[int, int]

    @property
    def operations(self) -> int:
        """Multiplications and additions."""
        return 2 * self.left[0] * self.left[1] * self.right[1 - self.axes[1]]


class Least(NamedTuple):
    """The least that one step of one ticket needs.

    Attributes:
      products: how many of each matrix product.
      operations: multiplications and additions.
      bytes: read and written.
      parameters: number of weights.
    """

    products: Counter[Product]
    operations: int
    bytes: int
    parameters: int


def least_of(problem: Problem) -> Least:
    """Counts the least arithmetic and traffic of a step.

    Args:
      problem: which network, batch and optimizer.

    Returns:
      The counts.

    Example:
      >>> from benchmarks.common.problems import make_problem
      >>> least = least_of(make_problem("lenet_300_100"))
      >>> f"{least.operations:,} operations, {least.bytes:,} bytes"
      '67,608,000 operations, 8,845,000 bytes'
    """
    shapes = jax.eval_shape(problem.learner.init, jax.random.key(0)).params
    leaves = jax.tree_util.tree_flatten_with_path(shapes)[0]
    kernels = [leaf.shape for path, leaf in leaves if masks.kernels(masks.path_string(path), leaf)]
    setting = problem.setting
    pixels = setting.side**2 * setting.channels
    products: Counter[Product] = Counter()
    for shape in kernels:
        # The first layer reads the image's channels or its pixels, and needs no input's gradient.
        first = shape[-2] == (setting.channels if len(shape) == 4 else pixels)
        rows = setting.batch_size * _positions(problem, shape)
        products += _products(rows, math.prod(shape[:-1]), shape[-1], first=first)
    parameters = sum(math.prod(leaf.shape) for _, leaf in leaves)
    moments = {"adam": 2, "momentum": 1}[setting.optimizer]
    return Least(
        products,
        sum(number * product.operations for product, number in products.items()),
        4 * 2 * (2 + moments) * parameters
        + sum(map(math.prod, kernels))
        + setting.batch_size * (pixels + 4),
        parameters,
    )


def _positions(problem: Problem, shape: tuple[int, ...]) -> int:
    """Counts the places of an image that a kernel is applied to."""
    if len(shape) == 2:
        return 1
    # ResNet-20 halves the side whenever it doubles its 16 features.
    side = problem.setting.side
    return (side * 16 // shape[-1]) ** 2 if problem.name == "resnet_20" else side**2


def _products(rows: int, inputs: int, outputs: int, *, first: bool) -> Counter[Product]:
    """Lists the products of one layer, in blocks of rows."""
    blocks = math.ceil(rows / BLOCK_ROWS)
    rows = rows // blocks
    forward = Product((rows, inputs), (inputs, outputs), (1, 0))
    kernel = Product((rows, inputs), (rows, outputs), (0, 0))
    backward = Product((rows, outputs), (inputs, outputs), (1, 1))
    return Counter({forward: blocks, kernel: blocks} | ({} if first else {backward: blocks}))


def multiply(products: Counter[Product]) -> Any:
    """Makes a function that computes products again and again.

    Args:
      products: which, and how many of each.

    Returns:
      `function(value, repeats)`: fills the matrices with a scalar and returns one as well.
    """

    def one(product: Product, number: int, value: Any, repeats: Any) -> Any:
        def body(_: Any, carry: Any) -> Any:
            # A barrier, or the product of what never changes would be computed once.
            (left, right), _ = jax.lax.optimization_barrier(carry)
            dimensions = (((product.axes[0],), (product.axes[1],)), ((), ()))
            return (left, right), jax.lax.dot_general(left, right, dimensions)

        operands = (jnp.full(product.left, value), jnp.full(product.right, value))
        shape = (product.left[1 - product.axes[0]], product.right[1 - product.axes[1]])
        start = (operands, jnp.full(shape, value))
        return jax.lax.fori_loop(0, number * repeats, body, start)[1][0, 0]

    def function(value: Any, repeats: Any) -> Any:
        return sum(one(product, number, value, repeats) for product, number in products.items())

    return function


def stream(floats: int) -> Any:
    """Makes a function that adds one array to another again and again.

    Args:
      floats: in each of both.

    Returns:
      `function(value, repeats)`; each repeat reads both arrays and writes one.
    """

    def function(value: Any, repeats: Any) -> Any:
        start = (jnp.full(floats, value), jnp.full(floats, value))
        # Both are carried, or the compiler would know that one of them holds a single number.
        body = lambda _, carry: (  # noqa: E731
            jax.lax.optimization_barrier((carry[0] * 0.5 + carry[1], carry[1]))
        )
        return jax.lax.fori_loop(0, repeats, body, start)[0][0]

    return function
