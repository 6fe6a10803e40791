"""Checksums of the files of a checkpoint, so that damaged ones are never given to a parser."""

import hashlib
from pathlib import Path

from jaxticket.runs.files import DamagedError
from jaxticket.runs.json_files import read_json, write_json
from jaxticket.runs.thinning import DROPPED, PARAMS, was_thinned

MANIFEST = "sha256.json"
"""Its name in the folder of a step, beside what Orbax put there."""


def write_manifest(step: Path) -> None:
    """Writes down what a committed checkpoint consists of.

    A kill may come before; the leaves' own checksums tell then whether it is whole.

    Args:
      step: its folder.

    Raises:
      StorageError: if it cannot be written.

    Example:
      >>> import tempfile
      >>> step = Path(tempfile.mkdtemp())
      >>> _ = (step / "data").write_text("whole")
      >>> write_manifest(step)
      >>> check_manifest(step)
      >>> _ = (step / "data").write_text("whale")
      >>> check_manifest(step)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      ValueError: data has another sha256 than it was written with
    """
    write_json(step / MANIFEST, {"files": {name: _digest(step / name) for name in _names(step)}})


def check_manifest(step: Path) -> None:
    """Checks the files of a checkpoint, if it says what they were; params may have been dropped.

    Args:
      step: its folder.

    Raises:
      ValueError: naming the first file that is not what was written.
      OSError: if one cannot be read.
    """
    if not (step / MANIFEST).is_file():
        return
    try:
        files = read_json(step / MANIFEST, {"files": dict})["files"]
    except DamagedError as error:
        raise ValueError(error.said.removeprefix(f"{step}/")) from None
    there = _names(step)
    for name in sorted({*files, *there}):
        if name not in there and name.startswith(f"{PARAMS}/") and was_thinned(step):
            continue
        if name not in there:
            raise ValueError(f"{name} is missing")
        if name not in files:
            raise ValueError(f"{name} was not written with it")
        if _digest(step / name) != files[name]:
            raise ValueError(f"{name} has another sha256 than it was written with")


def _names(step: Path) -> list[str]:
    every = (path for path in step.rglob("*") if path.is_file())
    ours = (MANIFEST, DROPPED)
    return sorted(str(path.relative_to(step)) for path in every if path.name not in ours)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
