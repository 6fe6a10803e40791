"""Where a run ran: what would have to be the same to get the same bits."""

import importlib.metadata
import os
import platform
import sys
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
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
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
