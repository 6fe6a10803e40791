"""What a benchmark runs on: chosen before JAX starts, described afterwards."""

import importlib.metadata
import os
from typing import Any

import jax

from jaxticket.errors import TicketError
from jaxticket.population import Plan, use_all_cores
from jaxticket.runs.environment import describe_environment, processor

DEVICES = ("auto", "cpu", "gpu")
"""What `--device` understands."""


def start(device: str) -> None:
    """Starts JAX on the device that was asked for, with one CPU device a core.

    Where JAX has started already (a notebook, a test) only the device is checked.

    Args:
      device: one of `DEVICES`.

    Raises:
      TicketError: if JAX has another device.
    """
    use_all_cores("auto")
    if device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    found = jax.default_backend()
    if device not in ("auto", found):
        raise TicketError(f"--device: got {device}, but JAX has {found} here; use auto or {found}")


def cores() -> int:
    """Counts the cores that this process may use.

    Returns:
      Their number.

    Example:
      >>> cores() >= 1
      True
    """
    # Only Linux tells.
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def kind() -> str:
    """Names the kind of machine, by which targets are stated.

    Returns:
      The platform, with the number of cores where it is a CPU.

    Example:
      >>> kind().startswith("cpu x ")
      True
    """
    found = jax.default_backend()
    return f"cpu x {cores()}" if found == "cpu" else found


def describe() -> dict[str, Any]:
    """Describes the machine, the packages and what else it was doing.

    Returns:
      JSON-like facts.

    Example:
      >>> sorted(describe())[:4]
      ['command', 'cores', 'date', 'devices']
    """
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = None
    return {
        "kind": kind(),
        "processor": processor(),
        "cores": cores(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "torch": torch,
        **describe_environment(),
    }


def line() -> str:
    """Says in one line what is measured on.

    Returns:
      The line.
    """
    facts = describe()
    load = facts["load_average"]
    busy = f"; load before the start {load[0]:.1f}" if load else ""
    return (
        f"{facts['kind']}, {facts['devices']['kind']}, {facts['processor']}; "
        f"jax {jax.__version__}; plan: {Plan.auto()}{busy}"
    )
