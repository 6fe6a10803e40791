"""How much memory a compiled population needs, how much there is, and what fits."""

import os
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxticket.errors import TicketError
from jaxticket.population import hosts
from jaxticket.population.plan import Plan

SHARE = 0.8
"""Of the memory that is there, what one program may take; this project's own choice."""


class MemoryLimitError(TicketError):
    """A population does not fit the memory of its devices.

    Attributes:
      fits: how many networks would, as far as can be told.
    """

    def __init__(self, message: str, fits: int) -> None:
        """Makes the error.

        Args:
          message: what was given, what was expected and the fix.
          fits: how many networks would fit.
        """
        super().__init__(message)
        self.fits = fits


class Memory(NamedTuple):
    """The memory of one device.

    Attributes:
      free: bytes, `None` where nobody tells.
      whole: bytes, likewise.
      whose: what it is the memory of, for people.
    """

    free: int | None
    whole: int | None
    whose: str


def device_memory(plan: Plan) -> Memory:
    """Reads the memory of one of a plan's devices.

    A device that tells (`memory_stats`) is believed. CPU devices share the machine's memory, or
    the control group's where that is less, so each of them gets an equal part.

    Args:
      plan: how populations run here.

    Returns:
      What is free and what there is.

    Example:
      >>> memory = device_memory(Plan("map"))
      >>> memory.free is None or 0 < memory.free <= memory.whole
      True
    """
    device: Any = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        whole = int(stats["bytes_limit"])
        return Memory(whole - int(stats.get("bytes_in_use", 0)), whole, device.device_kind)
    free, whole = host_memory() if device.platform == "cpu" else (None, None)
    if free is None or whole is None:
        return Memory(None, None, f"a {device.platform} that does not tell")
    here = min(plan.all_devices, jax.local_device_count())
    whose = "this machine" if here == 1 else f"this machine, in {here} parts"
    return Memory(free // here, whole // here, whose)


def host_memory() -> tuple[int | None, int | None]:
    """Reads the memory of the machine, or of its control group where that has less.

    Returns:
      What is free and what there is, in bytes; `None` where the system does not tell.

    Example:
      >>> free, whole = host_memory()
      >>> free is None or 0 < free <= whole
      True
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        facts = {name: int(rest.split()[0]) * 1024 for name, rest in (x.split(":") for x in lines)}
        free, whole = facts["MemAvailable"], facts["MemTotal"]
    except (OSError, ValueError, KeyError):
        return _portable_memory()
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii"))
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):  # no control group, or one without a limit
        return free, whole
    return min(free, max(limit - used, 0)), min(whole, limit)


def program_bytes(compiled: jax.stages.Compiled) -> int | None:
    """Reads what a compiled program needs on each device: arguments, results, what is between.

    Args:
      compiled: the program.

    Returns:
      Bytes, results that take the place of donated arguments counted once; `None` where XLA does
      not tell.

    Example:
      >>> import jax.numpy as jnp
      >>> program_bytes(jax.jit(lambda x: x + 1).lower(jnp.ones(1000)).compile()) >= 8000
      True
    """
    analysis: Any = compiled.memory_analysis()
    if analysis is None:
        return None
    return (
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )


def check_fits(
    compiled: jax.stages.Compiled, networks: int, plan: Plan, shared_bytes: int = 0
) -> None:
    """Refuses to start a program that the devices have no memory for.

    Args:
      compiled: the program of a population.
      networks: how many it computes, on all devices.
      plan: how the population runs.
      shared_bytes: of its arguments that are on every device already, whatever the population.

    Raises:
      MemoryLimitError: saying how many networks would fit.
    """
    # Of several processes all must go on with as many networks.
    program, memory = program_bytes(compiled), Memory(*hosts.once(lambda: [*device_memory(plan)]))
    if program is None or memory.free is None:
        return
    needed, one_on_each = max(1, program - shared_bytes), networks <= plan.devices
    # A share is left for what else the process does, unless nothing smaller could be tried.
    allowed = memory.free if one_on_each else int(SHARE * memory.free)
    if needed <= allowed:
        return
    fits = max(1, networks * allowed // needed // plan.devices) * plan.devices
    raise MemoryLimitError(
        f"{networks} networks need {readable(needed)} on each device, expected at most "
        f"{readable(allowed)} of {readable(memory.free)} free on {memory.whose}",
        0 if one_on_each else fits,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Says whether XLA ran out of memory.

    Args:
      error: what was raised.

    Returns:
      True if so.

    Example:
      >>> is_out_of_memory(RuntimeError("RESOURCE_EXHAUSTED: Out of memory"))
      True
    """
    return isinstance(error, RuntimeError | MemoryError) and (
        isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
    )


def readable(size: int | float) -> str:
    """Writes a number of bytes for people.

    Args:
      size: bytes.

    Returns:
      Text.

    Example:
      >>> readable(3 * 2**30)
      '3 GiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.4g} {unit}"
        size /= 1024
    return f"{size:.4g} TiB"


def _portable_memory() -> tuple[int | None, int | None]:
    try:
        whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None, None
    # What is free is not to be had everywhere, so half of what there is.
    return whole // 2, whole
