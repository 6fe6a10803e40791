"""Orbax steps that are believed only if they are what was saved, in the order of saving."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.runs.empty import put_back
from jaxticket.runs.encoding import ORIGIN, has_origin
from jaxticket.runs.files import DamagedError
from jaxticket.runs.forms import check_form
from jaxticket.runs.json_files import SCHEMA
from jaxticket.runs.manifest import check_manifest
from jaxticket.runs.sealing import (
    WITHOUT_CHECKSUMS,
    check_checksum,
    check_description,
    check_place,
    is_sealed,
    leaf_checksums,
)
from jaxticket.runs.thinning import PARAMS, was_thinned

try:
    import orbax.checkpoint.v1 as ocp  # pyright: ignore[reportMissingImports]
except ImportError:  # where the v1 API has not left its first home
    import orbax.checkpoint.experimental.v1 as ocp


def damaged(path: Path, why: str) -> DamagedError:
    """Makes the error for a step that is not what was saved.

    Args:
      path: of the step.
      why: what is wrong.

    Returns:
      The error, to be raised by the caller.
    """
    fix = "restore it, or rerun the command of the run, which goes on from what is whole before it"
    return DamagedError(path, why, fix)


class Steps:
    """The steps in a folder; reading changes nothing there."""

    def __init__(self, directory: Path, identity: Mapping[str, str] | None = None) -> None:
        """Names the folder.

        Args:
          directory: where Orbax put the steps; it may not be there.
          identity: what must be the same in all of them, by name.
        """
        self.directory = directory
        self.identity: dict[str, str] = dict(identity or {})

    def numbers(self) -> list[int]:
        """Lists the steps that are there, whole or not.

        Returns:
          Ascending numbers.
        """
        names = os.listdir(self.directory) if self.directory.is_dir() else []
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def path(self, number: int) -> Path:
        """Gives the folder of one step."""
        return self.directory / str(number)

    def is_sealed(self, number: int) -> bool:
        """Says whether a step carries checksums; those of older versions do not."""
        return is_sealed(self.metadata(number))

    def metadata(self, number: int) -> dict[str, Any]:
        """Reads what a step says of itself.

        Args:
          number: of the step.

        Returns:
          Coordinates, shapes and checksums.

        Raises:
          DamagedError: if it was not saved like this.
          TicketError: if it has a schema that this version does not know.
        """
        return self._open(number)[0]

    def read(self, number: int, *items: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads a step.

        Args:
          number: of the step.
          *items: which of its items.

        Returns:
          What it says of itself, and the items as nested dicts of arrays.

        Raises:
          DamagedError: if a leaf is not what was saved.
          TicketError: if it has a schema that this version does not know.
        """
        metadata, declared = self._open(number)
        if PARAMS in items and not self._has_params(number, metadata):
            items = tuple(name for name in items if name != PARAMS)
        if not has_origin(metadata):
            items = tuple(name for name in items if name != ORIGIN)
        taken = metadata.get("empty", [])
        held = [name for name in items if declared.get(name) is not None]
        missing = set(items) - {*held, *(one["path"][0] for one in taken)}
        if missing:
            raise damaged(self.path(number), f"has no {min(missing)} that can be read")
        try:
            content = ocp.load_checkpointables(self._for_orbax(number), dict.fromkeys(held))
            content = put_back(content, taken, items)
        except Exception as error:  # whatever Orbax makes of damaged files
            raise damaged(self.path(number), _cannot_be_read(error)) from None
        if "leaves" in metadata:
            self._check_leaves(number, metadata["leaves"], content)
        return metadata, content

    def _for_orbax(self, number: int) -> str:
        """Gives the path as Orbax takes it, which refuses relative ones."""
        return str(self.path(number).absolute())

    def _open(self, number: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Reads and checks everything but the arrays; their sizes, before they are read."""
        path = self.path(number)
        if not path.is_dir():
            raise damaged(path, "is not there")
        try:
            check_manifest(path)
        except (OSError, ValueError) as error:
            raise damaged(path, str(error)) from None
        try:
            found = ocp.checkpointables_metadata(self._for_orbax(number))
        except Exception as error:  # whatever Orbax makes of damaged files
            raise damaged(path, _cannot_be_read(error)) from None
        metadata: Any = found.custom_metadata
        declared: Any = found.metadata
        try:
            check_form(metadata, {"schema": int})
            if is_sealed(metadata):
                check_checksum(metadata)
        except ValueError as error:
            raise damaged(path, str(error)) from None
        schema = metadata["schema"]
        if schema not in (SCHEMA, WITHOUT_CHECKSUMS):
            raise TicketError(
                f"{path}: has schema {schema!r}, expected {SCHEMA}; read it with the version that "
                "wrote it or start again with --fresh"
            )
        try:
            if schema != WITHOUT_CHECKSUMS and not is_sealed(metadata):
                raise ValueError("has lost its checksums")
            check_description(metadata)
            if is_sealed(metadata):
                check_place(metadata, number, self.identity)
            _check_sizes(declared)
        except ValueError as error:
            raise damaged(path, str(error)) from None
        return metadata, declared

    def _has_params(self, number: int, metadata: dict[str, Any]) -> bool:
        """Says whether params are to be read; they may never have been kept, or been dropped."""
        saved = any(path.startswith(f"{PARAMS}/") for path in metadata.get("leaves", {}))
        return saved and not was_thinned(self.path(number))

    def _check_leaves(self, number: int, saved: dict[str, str], content: dict[str, Any]) -> None:
        found = leaf_checksums(content)
        expected = {path: sha for path, sha in saved.items() if path.split("/")[0] in content}
        differ = sorted(p for p in found | expected if found.get(p) != expected.get(p))
        if differ:
            raise damaged(
                self.path(number), f"{differ[0]} has another sha256 than it was saved with"
            )


def _check_sizes(declared: Any) -> None:
    """Refuses what this machine could not hold, since no run on it has written that."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    size = 0
    for leaf in jax.tree.leaves(declared, is_leaf=lambda one: hasattr(one, "shape")):
        shape = [int(length) for length in getattr(leaf, "shape", None) or ()]
        if min(shape, default=0) < 0:
            raise ValueError(f"declares an array of shape {shape}")
        dtype = getattr(leaf, "dtype", None)
        size += math.prod(shape) * (np.dtype(dtype).itemsize if dtype is not None else 1)
    if size > memory:
        raise ValueError(f"declares {size} bytes, more than the {memory} of this machine's memory")


def _cannot_be_read(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"cannot be read ({type(error).__name__}: {text[:200]})"
