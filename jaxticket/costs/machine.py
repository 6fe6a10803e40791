"""What the machine can do, what a program asks of it, and how much memory was in use."""

import dataclasses
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxticket.population import Plan, populate

_SIDE, _PRODUCTS, _TRIES = 1024, 4, 3


def matrix_rate(plan: Plan) -> float:
    """Measures how fast this machine multiplies `float32` matrices, on all devices of a plan.

    Each device multiplies square matrices of side 1,024, all devices at once, and the best of
    three tries counts: a tenth of a second each on a laptop.

    Args:
      plan: how populations run here.

    Returns:
      Floating point operations a second, all devices together.

    Example:
      >>> matrix_rate(Plan("map")) > 1e8
      True
    """

    def multiply(matrix: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("float32"):
            return jax.lax.fori_loop(0, _PRODUCTS, lambda _, m: matrix @ m, matrix)

    # Devices that share a batch would multiply the same matrices.
    each = dataclasses.replace(plan, devices=plan.all_devices, batch_devices=1)
    run = populate(multiply, each)
    identity = np.eye(_SIDE, dtype=np.float32)
    matrices = jax.device_put(np.broadcast_to(identity, (each.devices, _SIDE, _SIDE)))
    jax.block_until_ready(run(matrices))
    best = float("inf")
    for _ in range(_TRIES):
        began = time.perf_counter()
        jax.block_until_ready(run(matrices))
        best = min(best, time.perf_counter() - began)
    return each.devices * _PRODUCTS * 2 * _SIDE**3 / best


def flops_of(function: Callable[..., Any], *arguments: Any) -> float | None:
    """Counts the floating point operations of a function, by XLA's analysis of its program.

    A loop counts as one pass through its body: give it one step, not a loop of steps. The
    program is the one for TPUs, in which no operation is cut into loops to fit a cache.

    Args:
      function: pure.
      *arguments: arrays or their shapes.

    Returns:
      The number of operations, or `None` where XLA does not tell.

    Example:
      >>> flops_of(jax.numpy.matmul, np.ones((2, 3)), np.ones((3, 4)))
      48.0
    """
    try:
        lowered = jax.jit(function).trace(*arguments).lower(lowering_platforms=("tpu",))
    except NotImplementedError:  # an operation that only another platform has
        return None
    analysis = lowered.cost_analysis()
    return float(analysis["flops"]) if analysis and "flops" in analysis else None


def peak_memory() -> int | None:
    """Reads the most memory that was in use: of a device that tells, else of this process.

    Returns:
      Bytes, or `None` where the system does not tell.

    Example:
      >>> peak_memory() > 1_000_000
      True
    """
    devices = jax.local_devices()
    told = [(device.memory_stats() or {}).get("peak_bytes_in_use") for device in devices]
    if any(told):
        return max(int(peak or 0) for peak in told)
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
