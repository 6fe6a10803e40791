"""Where a run ran: what would have to be the same to get the same bits."""

import datetime
import importlib.metadata
import os
import platform
import sys
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


def describe_environment() -> dict[str, Any]:
    """Describes Python, packages, machine and devices.

    Returns:
      JSON-like facts.

    Example:
      >>> describe_environment()["devices"]["platform"]
      'cpu'
    """
    devices = jax.devices()
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": {
            "system": platform.platform(),
            "cores": os.cpu_count(),
            "processor": processor(),
        },
        "devices": {
            "platform": devices[0].platform,
            "kind": devices[0].device_kind,
            "count": len(devices),
            "processes": jax.process_count(),
        },
        "flags": {
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "x64": jax.config.read("jax_enable_x64"),
        },
        "command": [os.path.basename(sys.argv[0]), *sys.argv[1:]],
    }


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
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
