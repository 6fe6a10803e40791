"""What a run is called: its hash is that of what its configuration changes."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any


def run_hash(config: Any) -> str:
    """Hashes what a configuration changes: fields that differ from their defaults.

    A field that is added later with a default moves no old run. Fields whose metadata hold
    `{"science": False}` (where results go, how they are computed) do not count.

    Args:
      config: a frozen dataclass with defaults.

    Returns:
      Twelve hexadecimal digits.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Config:
      ...     levels: int = 16
      >>> run_hash(Config()) == run_hash(Config(levels=16)) != run_hash(Config(levels=3))
      True
    """
    changed = {
        field.name: getattr(config, field.name)
        for field in science_fields(config)
        if getattr(config, field.name) != field.default
    }
    text = json.dumps(changed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run_path(experiment: str, config: Any, out: Path | None = None) -> Path:
    """Names the folder of a run.

    Args:
      experiment: its name.
      config: a frozen dataclass with defaults.
      out: the folder that was asked for, if any.

    Returns:
      `out`, or `runs/<experiment>/<hash>`.

    Example:
      >>> run_path("lenet", None, Path("mine")).name
      'mine'
    """
    return out or Path("runs") / experiment / run_hash(config)


def science_fields(config: Any) -> list[dataclasses.Field[Any]]:
    """Lists the fields of a configuration that count for what is found.

    Args:
      config: a dataclass.

    Returns:
      All but those whose metadata hold `{"science": False}`.
    """
    return [field for field in dataclasses.fields(config) if field.metadata.get("science", True)]
