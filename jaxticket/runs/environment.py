"""Where a run ran: what would have to be the same to get the same bits."""

import datetime
import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

_PACKAGES = (
    "jaxticket",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "numpy",
    "scipy",
    "xarray",
    "tensorflow-datasets",
)

_ACCELERATORS = ("jax-cuda", "nvidia-cublas", "nvidia-cudnn", "libtpu", "jax-rocm")
"""What packages that compute on an accelerator begin with; those that are installed are listed."""

_VARIABLES = ("XLA_FLAGS", "LIBTPU_INIT_ARGS", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG")

_OPTIONS = (
    "jax_default_matmul_precision",
    "jax_default_prng_impl",
    "jax_disable_most_optimizations",
    "jax_exec_time_optimization_effort",
    "jax_threefry_partitionable",
)

_HARMLESS = ("command", "data", "date")
"""What may differ between two starts without a bit of a network changing; data have their own
check."""


def describe_environment() -> dict[str, Any]:
    """Describes Python, packages, machine, devices and flags: where they differ, bits may.

    Returns:
      JSON-like facts; `features` is a digest of what the processor can do, for which XLA compiles.

    Example:
      >>> describe_environment()["devices"]["platform"]
      'cpu'
    """
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES} | dict(_accelerators()),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "usable_cores": _usable_cores(),
            "processor": processor(),
            "features": _features(),
        },
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
            "runtime": " ".join(devices[0].client.platform_version.split()),
        },
        "flags": {name: os.environ.get(name, "") for name in _VARIABLES}
        | {name: jax.config.values.get(name) for name in _OPTIONS}
        | {"x64": jax.config.read("jax_enable_x64")},
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
    }


def environment_differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Lists what may make the bits of two starts differ.

    Args:
      then: from `describe_environment`, and what else is known, such as the plan.
      now: likewise; what only one of the two says is not compared.

    Returns:
      One phrase a fact.

    Example:
      >>> environment_differences({"python": "3.11.1", "date": "x"}, {"python": "3.12.0"})
      ['python 3.11.1 then, 3.12.0 now']
    """
    first, second = (dict(_facts(each)) for each in (then, now))
    common = [name for name in first if name in second]
    return [
        f"{name} {first[name]} then, {second[name]} now"
        for name in common
        if first[name] != second[name]
    ]


def _facts(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if not prefix and name in _HARMLESS:
            continue
        if isinstance(value, Mapping):
            yield from _facts(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _accelerators() -> Iterator[tuple[str, str]]:
    found = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
    for name in sorted(found):
        if name.startswith(_ACCELERATORS):
            yield name, found[name]


def _usable_cores() -> int | None:
    """Counts the cores that this process may use, by which matrix products are shared out."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count()


def _features() -> str:
    lines = _processor_lines("flags", "Features")
    return hashlib.sha256(lines[0].encode()).hexdigest()[:12] if lines else ""


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """Gives the processor's name; Linux has it in a file of its own.

    Returns:
      The name.

    Example:
      >>> bool(processor())
      True
    """
    names = [line.partition(":")[2].strip() for line in _processor_lines("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _processor_lines(*starts: str) -> list[str]:
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    return [line for line in lines if line.startswith(starts)]
