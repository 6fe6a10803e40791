"""JSON files that carry their own checksum, and are believed only if it is right."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from jaxticket.errors import TicketError
from jaxticket.runs.files import DamagedError, replacing, storing
from jaxticket.runs.forms import Form, check_form, parse

SCHEMA = 3
"""Version of what a run directory holds: JSON files, results and checkpoints. 3 brought checksums;
what carries no number is older."""

_LARGEST = 2**26
"""Bytes. A file of a run is far below; one above is none of ours, and is not read into memory."""

_SEAL = ("schema", "sha256")


def write_json(path: Path, content: dict[str, Any], run: str | None = None) -> None:
    """Writes JSON that people can read; numbers that are not finite become `null`.

    The file also holds the schema's version and the sha256 of everything else in it, so that
    both are replaced in one moment.

    Args:
      path: the file.
      content: dicts, lists, strings, numbers.
      run: which run it is of, which it then holds too.

    Raises:
      StorageError: if it cannot be written.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.json"
      >>> write_json(path, {"loss": float("nan")})
      >>> read_json(path)
      {'loss': None}
    """
    sealed = {"schema": SCHEMA, **({} if run is None else {"run": run}), **_finite(content)}
    sealed["sha256"] = checksum(sealed)
    text = json.dumps(sealed, indent=2, allow_nan=False, ensure_ascii=False)
    with storing(path), replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, form: Form = dict, run: str | None = None) -> Any:
    """Reads JSON, and believes it if its checksum is right; older files carry none.

    Args:
      path: the file.
      form: what is expected in it.
      run: which run it must be of, if it says so.

    Returns:
      Its content, without version, run and checksum.

    Raises:
      DamagedError: if it is damaged or not of the form, naming the file.
      TicketError: if it is not there.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.json"
      >>> write_json(path, {"levels": 3})
      >>> _ = path.write_text(path.read_text().replace("3,", "7,"))
      >>> read_json(path)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      jaxticket.runs.files.DamagedError: ...: cannot be read (ValueError: ... restore it or ...
    """
    try:
        content = _unsealed(parse(_read(path)), run)
        check_form(content, form)
    except FileNotFoundError:
        raise TicketError(f"{path}: not there; is {path.parent} a run directory?") from None
    except (OSError, ValueError) as error:
        why = f"cannot be read ({type(error).__name__}: {error})"
        raise DamagedError(path, why, "restore it or start the run again with --fresh") from None
    return content


def checksum(content: dict[str, Any]) -> str:
    """Computes the sha256 of JSON, however it is laid out.

    Args:
      content: as JSON has it.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> checksum({"a": 1, "b": 2}) == checksum({"b": 2, "a": 1}) != checksum({})
      True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        text = file.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError(f"more than {_LARGEST} bytes")
    return text


def _unsealed(content: Any, run: str | None) -> Any:
    """Takes version, run and checksum off, if they are right."""
    if not isinstance(content, dict) or not any(name in content for name in _SEAL):
        return content
    check_form(content, {"schema": int, "sha256": str})
    if content["schema"] > SCHEMA:
        raise ValueError(f"schema {content['schema']}, this version knows {SCHEMA}: update it")
    rest = {name: part for name, part in content.items() if name != "sha256"}
    if checksum(rest) != content["sha256"]:
        raise ValueError("its sha256 is not that of its content, so it was damaged or edited")
    of = rest.pop("run", None)
    if None not in (of, run) and of != run:
        raise ValueError(f"it is of the run {of!r}, not of {run!r}")
    del rest["schema"]
    return rest


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
