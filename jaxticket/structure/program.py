"""A traced function as a flat list of equations: what the rest of this room reads and runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from jax.extend import source_info_util
from jax.extend.core import ClosedJaxpr, Literal

from jaxticket.masks.prunable import path_string

# Where primitives that only call another function keep it.
_BODIES = ("jaxpr", "call_jaxpr", "fun_jaxpr")
_CALLS = {
    "checkpoint",
    "closed_call",
    "core_call",
    "custom_jvp_call",
    "custom_vjp_call",
    "custom_vjp_call_jaxpr",
    "jit",
    "pjit",
    "remat2",
}


class Constant(NamedTuple):
    """A value that is written into the program.

    Attributes:
      value: an array or a scalar.
    """

    value: Any


Operand = int | Constant
"""A value by its number, or one that is written into the program."""


class Equation(NamedTuple):
    """One primitive and what it is applied to.

    Attributes:
      primitive: JAX's own.
      choices: its parameters.
      operands: what it is applied to.
      results: numbers of the values that it makes.
      source: where it was traced.
    """

    primitive: Any
    choices: dict[str, Any]
    operands: tuple[Operand, ...]
    results: tuple[int, ...]
    source: Any

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.primitive.name

    @property
    def where(self) -> str:
        """The primitive, the module and the line, for messages."""
        module = str(self.source.name_stack)
        line = source_info_util.summarize(self.source)
        return f"{self.name!r}{f' of {module}' if module else ''} at {line}"


class Program(NamedTuple):
    """A function of arrays, all calls within it written out.

    Attributes:
      inputs: numbers of the arguments' leaves.
      equations: in the order in which they run.
      outputs: of the results' leaves.
      shapes: of every value, by its number.
    """

    inputs: tuple[int, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Operand, ...]
    shapes: tuple[tuple[int, ...], ...]

    def shape(self, operand: Operand) -> tuple[int, ...]:
        """Gives the shape of a value or constant."""
        if isinstance(operand, Constant):
            return tuple(jax.numpy.shape(operand.value))
        return self.shapes[operand]


def read(function: Callable[..., Any], *arguments: Any) -> Program:
    """Traces a function into a program.

    Functions that it calls (`jit`, `custom_jvp`, `checkpoint` ...) are written out, so derivative
    rules of their own are lost: a program is there to be read and run. Loops and branches stay
    equations.

    Args:
      function: of arrays in pytrees.
      *arguments: arrays, or their shapes and dtypes.

    Returns:
      The program, its inputs the leaves of all arguments in order.

    Example:
      >>> import jax.numpy as jnp
      >>> program = read(lambda x: jax.nn.relu(x) + 1.0, jnp.ones(3))
      >>> [equation.name for equation in program.equations], program.shapes[program.outputs[0]]
      (['max', 'add'], (3,))
    """
    closed = jax.make_jaxpr(function)(*arguments)
    shapes: list[tuple[int, ...]] = []
    equations: list[Equation] = []

    def number(variable: Any) -> int:
        shapes.append(tuple(getattr(variable.aval, "shape", ())))
        return len(shapes) - 1

    def write_out(closed: ClosedJaxpr, given: Sequence[Operand]) -> tuple[Operand, ...]:
        jaxpr = closed.jaxpr
        known: dict[Any, Operand] = dict(zip(jaxpr.invars, given, strict=True))
        known |= zip(jaxpr.constvars, map(Constant, closed.consts), strict=True)

        def look_up(atom: Any) -> Operand:
            return Constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for equation in jaxpr.eqns:
            operands = tuple(map(look_up, equation.invars))
            body = _body(equation)
            if body is None:
                results = tuple(map(number, equation.outvars))
                primitive, choices = equation.primitive, dict(equation.params)
                made = Equation(primitive, choices, operands, results, equation.source_info)
                equations.append(made)
            else:
                results = write_out(body, operands)
            known |= zip(equation.outvars, results, strict=True)
        return tuple(map(look_up, jaxpr.outvars))

    inputs = tuple(map(number, closed.jaxpr.invars))
    outputs = write_out(closed, inputs)
    return Program(inputs, tuple(equations), outputs, tuple(shapes))


def _body(equation: Any) -> ClosedJaxpr | None:
    """What a call calls; None for every other primitive."""
    if equation.primitive.name not in _CALLS:
        return None
    body = next(equation.params[name] for name in _BODIES if name in equation.params)
    return body if isinstance(body, ClosedJaxpr) else ClosedJaxpr(body, ())


def run(program: Program, arguments: Iterable[Any], wanted: Iterable[Operand]) -> list[Any]:
    """Runs a program and gives some of its values, results or not.

    Args:
      program: from `read`.
      arguments: arrays for its inputs.
      wanted: numbers of values.

    Returns:
      Their values, in this order.

    Example:
      >>> import jax.numpy as jnp
      >>> program = read(lambda x: jnp.exp(x) * 2.0, jnp.zeros(2))
      >>> run(program, [jnp.zeros(2)], [*program.equations[0].results, *program.outputs])
      [Array([1., 1.], dtype=float32), Array([2., 2.], dtype=float32)]
    """
    values = dict(zip(program.inputs, arguments, strict=True))

    def value(operand: Operand) -> Any:
        return operand.value if isinstance(operand, Constant) else values[operand]

    for equation in program.equations:
        made = equation.primitive.bind(*map(value, equation.operands), **equation.choices)
        made = made if equation.primitive.multiple_results else (made,)
        values |= zip(equation.results, made, strict=True)
    return [value(operand) for operand in wanted]


def views(program: Program, leaves: Mapping[int, str], through: Iterable[str]) -> dict[int, str]:
    """Finds the values that are a leaf in another layout.

    Args:
      program: from `read`.
      leaves: paths of leaves by the numbers of their values.
      through: names of the primitives that a leaf may have gone through.

    Returns:
      Paths by the numbers of values, the leaves themselves included.

    Example:
      >>> import jax.numpy as jnp
      >>> program = read(lambda w: 2 * w.T, jnp.ones((2, 3)))
      >>> views(program, {program.inputs[0]: "kernel"}, ["transpose"])
      {0: 'kernel', 1: 'kernel'}
    """
    found, passed = dict(leaves), set(through)
    for equation in program.equations:
        first = equation.operands[0] if equation.operands else None
        if equation.name in passed and isinstance(first, int) and first in found:
            found[equation.results[0]] = found[first]
    return found


def paths(*trees: Any) -> list[str]:
    """Lists the paths of the leaves of several trees, in the order of a program's inputs.

    Args:
      *trees: pytrees.

    Returns:
      Names joined by `/`.

    Example:
      >>> paths({"output": {"bias": 0.0, "kernel": 1.0}}, {})
      ['output/bias', 'output/kernel']
    """
    leaves = (leaf for tree in trees for leaf in jax.tree.leaves_with_path(tree))
    return [path_string(path) for path, _ in leaves]
