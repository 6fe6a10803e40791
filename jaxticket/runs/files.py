"""Files that are either whole or absent: written beside their place, then renamed."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxticket.errors import TicketError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path whose file takes the place of `path` if the block succeeds.

    Args:
      path: the file to be written.

    Yields:
      A path in the same folder.

    Example:
      >>> import tempfile
      >>> target = Path(tempfile.mkdtemp()) / "a.txt"
      >>> with replacing(target) as temporary:
      ...     _ = temporary.write_text("whole")
      >>> target.read_text()
      'whole'
    """
    temporary = path.with_name(f".{path.name}.partial")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON that people can read; numbers that are not finite become `null`.

    Args:
      path: the file.
      content: dicts, lists, strings, numbers.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.json"
      >>> write_json(path, {"loss": float("nan")})
      >>> read_json(path)
      {'loss': None}
    """
    with replacing(path) as temporary:
        text = json.dumps(_finite(content), indent=2, allow_nan=False, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Reads JSON.

    Args:
      path: the file.

    Returns:
      Its content.

    Raises:
      TicketError: if it is not there or not JSON, naming the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TicketError(f"{path}: not there; is {path.parent} a run directory?") from None
    except (OSError, ValueError) as error:
        raise TicketError(
            f"{path}: cannot be read ({type(error).__name__}: {error}); restore it or start the "
            "run again with --fresh"
        ) from None


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(name): _finite(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [_finite(value) for value in content]
    if isinstance(content, float) and content - content != 0:
        return None
    return content


def as_json(config: Any) -> dict[str, Any]:
    """Gives a configuration as JSON would have it.

    Args:
      config: a dataclass; values that JSON does not know are written as they print, and nested
        dataclasses that do not say how as their fields.

    Returns:
      Its fields by name.

    Example:
      >>> @dataclasses.dataclass
      ... class Config:
      ...     out: Path = Path("runs")
      >>> as_json(Config())
      {'out': 'runs'}
    """
    return json.loads(json.dumps(_fields(config), default=_plain))


def _plain(value: Any) -> Any:
    prints = type(value).__str__ is not object.__str__
    return str(value) if prints else _fields(value)


def _fields(config: Any) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
