"""Compiled programs of a function, one for each shape of its arguments, none too large to run."""

import functools
from typing import Any

import jax
from jax.core import Tracer

from jaxticket.errors import TicketError
from jaxticket.population import hosts
from jaxticket.population.memory import MemoryLimitError, check_fits, is_out_of_memory
from jaxticket.population.plan import Plan

# LLVM's first level and XLA's older emitters: half the time to compile random initialisations, at
# the same speed (docs/performance.md). Training would take twice as long under the second.
_COMPILED_FAST: dict[str, Any] = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
}


class Programs:
    """A jitted function of a population, compiled ahead so that its memory is known.

    Example:
      >>> import jax.numpy as jnp
      >>> double = Programs(jax.jit(lambda number, x: 2 * x), Plan("map"))
      >>> double(3, jnp.arange(3)).tolist(), len(double.compiled)
      ([0, 2, 4], 1)
    """

    def __init__(self, jitted: Any, plan: Plan, own: int = 2, compile_fast: bool = False) -> None:
        """Compiles nothing yet.

        Args:
          jitted: from `jax.jit`; its first argument is the number of networks.
          plan: how the population runs.
          own: how many of its first arguments are not shared by all networks.
          compile_fast: whether to compile fast rather than for speed.
        """
        self._jitted = jitted
        self._plan = plan
        self._own = own
        here = compile_fast and jax.default_backend() == "cpu"
        self._options = _compiled_fast() if here else None
        self.compiled: dict[Any, jax.stages.Compiled] = {}

    def __call__(self, *arguments: Any) -> Any:
        """Runs the program for these shapes, compiling it first where there is none.

        Args:
          *arguments: arrays.

        Returns:
          What the function returns.

        Raises:
          MemoryLimitError: if the devices have no memory for so many networks.
        """
        leaves, structure = jax.tree.flatten(arguments)
        if any(isinstance(leaf, Tracer) for leaf in leaves):
            return self._jitted(*arguments)
        networks = jax.tree.leaves(arguments[1])[0].shape[0]
        shapes = (structure, *(jax.api_util.shaped_abstractify(leaf) for leaf in leaves))
        try:
            if shapes not in self.compiled:
                compiled = self._jitted.lower(*arguments).compile(self._options)
                others = jax.tree.leaves(arguments[self._own :])
                shared = sum(getattr(leaf, "nbytes", 0) for leaf in others)
                check_fits(compiled, networks, self._plan, shared)
                self.compiled[shapes] = compiled
            return self.compiled[shapes](*arguments)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if hosts.several():
                raise TicketError(
                    f"memory: {networks} networks ran out of memory in process "
                    f"{jax.process_index()} of {jax.process_count()}, expected that they fit; "
                    "train fewer at a time, or leave more of each host's memory free"
                ) from error
            half = self._plan.padded(networks // 2) if networks > self._plan.devices else 0
            raise MemoryLimitError(f"{networks} networks ran out of memory", half) from error


@functools.cache
def _compiled_fast() -> dict[str, Any]:
    """Gives the options that this XLA has; it forgets them from one version to the next."""
    lowered = jax.jit(lambda: 0).lower()
    known = {}
    for name, value in _COMPILED_FAST.items():
        try:
            lowered.compile({name: value})
        except jax.errors.JaxRuntimeError as error:
            if "No such compile option" not in str(error):
                raise
        else:
            known[name] = value
    return known
