"""Results in a netCDF file whose last line is its checksum.

HDF5 ignores what stands behind its data. No damaged file may reach it: some it reads for ever.
"""

import hashlib
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.runs.files import DamagedError, replacing, storing
from jaxticket.runs.forms import check_text
from jaxticket.runs.json_files import SCHEMA

if TYPE_CHECKING:
    import xarray

_SEAL = "the sha256 of all before it is the last line"
"""An attribute that says so; with it, a file without that line is told from an older one."""

_LINE = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")
_LENGTH = len("\nsha256 ") + 64 + len("\n")


def write_results(path: Path, dataset: "xarray.Dataset", run: str = "") -> None:
    """Writes a dataset as netCDF 4 and a checksum; the same dataset gives the same bytes.

    Its attributes gain the schema's version and which run it is of.

    Args:
      path: the file.
      dataset: from `to_dataset`.
      run: which run they are of; `""` if of none.

    Raises:
      StorageError: if it cannot be written.
    """
    named = dataset.assign_attrs(schema=SCHEMA, run=run, seal=_SEAL)
    with storing(path), replacing(path) as temporary:
        named.to_netcdf(temporary, engine="h5netcdf")
        seal_results(temporary)


def seal_results(path: Path) -> None:
    """Writes the sha256 of a file behind it.

    Args:
      path: of a netCDF file.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    with path.open("ab") as file:
        file.write(f"\nsha256 {found}\n".encode())


def read_results(path: Path, run: str | None = None) -> "xarray.Dataset":
    """Reads a dataset into memory, and believes it if its checksum is right; older ones carry none.

    Args:
      path: a `results.nc`.
      run: which run they must be of, if they say so.

    Returns:
      The dataset that was written.

    Raises:
      DamagedError: if it is damaged, naming the file.
      TicketError: if it is not there.
    """
    import xarray

    if not path.is_file():
        raise TicketError(f"{path}: not there; the run has not finished, so rerun its command")
    try:
        _check_bytes(path)
        _check_declared(path)
        return _checked(xarray.load_dataset(path, engine="h5netcdf"), run)
    except Exception as error:  # whatever HDF5 and its readers make of damaged files
        text = " ".join(str(error).split())[:200]
        raise DamagedError(
            path,
            f"cannot be read ({type(error).__name__}: {text})",
            "rerun the command of the run, which makes it again from the checkpoints",
        ) from None


def _check_bytes(path: Path) -> None:
    """Checks the last line of a file that has or should have one."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if path.stat().st_size > memory:
        raise ValueError(f"more than the {memory} bytes of this machine's memory")
    content = path.read_bytes()
    line = _LINE.fullmatch(content[-_LENGTH:])
    if line is None:
        if b"sha256" in content:
            raise ValueError("it has lost the line with its sha256, so it was damaged")
        return
    if hashlib.sha256(content[:-_LENGTH]).hexdigest() != line[1].decode():
        raise ValueError("its sha256 is not that of its content, so it was damaged or edited")


def _checked(dataset: "xarray.Dataset", run: str | None) -> "xarray.Dataset":
    """Takes version and run off, and checks what may be printed."""
    for name, variable in dataset.variables.items():
        check_text(str(name))
        if variable.dtype.kind in "OU":
            for text in variable.values.flat:
                check_text(str(text))
    attributes: dict[Any, Any] = dict(dataset.attrs)
    schema, of = attributes.pop("schema", 0), attributes.pop("run", "")
    if int(schema) > SCHEMA:
        raise ValueError(f"schema {schema}, this version knows {SCHEMA}: update it")
    if run is not None and of not in ("", run):
        raise ValueError(f"it is of the run {of!r}, not of {run!r}")
    attributes.pop("seal", None)
    copied = dataset.copy()
    copied.attrs = attributes
    return copied


def _check_declared(path: Path) -> None:
    """Refuses what this package does not write, before any of it is read.

    Results are written without compression, so what a file declares cannot be more than what it
    has: whatever expands, is kept elsewhere or is made up on reading is none of ours.

    Args:
      path: of the file.

    Raises:
      ValueError: naming the first object that is something else.
    """
    size = path.stat().st_size
    with h5py.File(path, "r") as file:
        left = size
        for name in map(str, file):
            if not isinstance(file.get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{name!r} is a link")
            one = file[name]
            if not isinstance(one, h5py.Dataset):
                raise ValueError(f"{name!r} is no dataset")
            left -= _declared(name, one, size)
            if left < 0:
                raise ValueError(f"declares more than the {size} bytes that it has")


def _declared(name: str, one: h5py.Dataset, size: int) -> int:
    """Counts the bytes of one dataset, those of its strings one by one."""
    if one.is_virtual or one.external or one.chunks is not None or one.compression is not None:
        raise ValueError(f"{name!r} is virtual, external, chunked or compressed")
    if one.shape is None:
        return 0
    # Python's integers do not overflow.
    declared = math.prod(int(length) for length in one.shape) * one.dtype.itemsize
    if declared > size:
        raise ValueError(f"{name!r} declares {declared} bytes in a file of {size}")
    if h5py.check_string_dtype(one.dtype) is not None and one.dtype.kind == "O":
        total = 0
        for place in np.ndindex(one.shape):
            total += len(one[place])
            if total > size:
                raise ValueError(f"{name!r} holds strings of more than {size} bytes")
    elif one.dtype.kind not in "biufSV":
        raise ValueError(f"{name!r} is of dtype {one.dtype}")
    return declared
