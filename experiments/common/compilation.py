"""Compiled programs are kept on disk, so that only the first run of its kind waits for them."""

import hashlib
import os
import platform
from pathlib import Path
from typing import Any

import jax

_SECONDS = 0.3
"""Programs that took less to compile are not kept."""


def use_compilation_cache() -> Path | None:
    """Keeps compiled programs between runs, in a folder for this kind of machine.

    The environment decides if it says anything: `JAX_COMPILATION_CACHE_DIR` is the folder, and
    `JAX_ENABLE_COMPILATION_CACHE=0` keeps nothing. Otherwise the folder is
    `$XDG_CACHE_HOME/jaxticket` or `~/.cache/jaxticket`. To be called before JAX compiles.

    Returns:
      The folder, `None` if nothing is kept.
    """
    config: Any = jax.config
    if not config.jax_enable_compilation_cache:
        return None
    if config.jax_compilation_cache_dir is None:
        folder = _home() / "jaxticket" / f"compiled-{machine_kind()}"
        config.update("jax_compilation_cache_dir", str(folder))
        config.update("jax_persistent_cache_min_compile_time_secs", _SECONDS)
    return Path(str(config.jax_compilation_cache_dir))


def machine_kind() -> str:
    """Names the kind of processor: a program compiled for one may not run on another.

    Returns:
      Architecture and eight hexadecimal digits.

    Example:
      >>> machine_kind() == machine_kind()
      True
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
        facts = sorted({x for x in lines if x.startswith(("flags", "model name", "Features"))})
    except OSError:  # not Linux
        facts = [platform.processor()]
    digits = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:8]
    return f"{platform.machine()}-{digits}"


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
