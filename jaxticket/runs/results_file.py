"""Results in a netCDF file that carries its own checksum."""

import hashlib
import json
import math
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

_SEAL = ("schema", "run", "sha256")


def write_results(path: Path, dataset: "xarray.Dataset", run: str = "") -> None:
    """Writes a dataset as netCDF 4; the same dataset gives the same bytes.

    Its attributes gain the schema's version and a checksum of everything in it.

    Args:
      path: the file.
      dataset: from `to_dataset`.
      run: which run they are of; `""` if of none.

    Raises:
      StorageError: if it cannot be written.
    """
    named = dataset.assign_attrs(schema=SCHEMA, run=run)
    sealed = named.assign_attrs(sha256=_checksum(named))
    with storing(path), replacing(path) as temporary:
        sealed.to_netcdf(temporary, engine="h5netcdf")


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
        _check_declared(path)
        return _unsealed(xarray.load_dataset(path, engine="h5netcdf"), run)
    except Exception as error:  # whatever HDF5 and its readers make of damaged files
        text = " ".join(str(error).split())[:200]
        raise DamagedError(
            path,
            f"cannot be read ({type(error).__name__}: {text})",
            "rerun the command of the run, which makes it again from the checkpoints",
        ) from None


def _unsealed(dataset: "xarray.Dataset", run: str | None) -> "xarray.Dataset":
    """Takes version, run and checksum off, if they are right."""
    for name, variable in dataset.variables.items():
        check_text(str(name))
        if variable.dtype.kind in "OU":
            for text in variable.values.flat:
                check_text(str(text))
    attributes = dict(dataset.attrs)
    seal = {name: attributes[name] for name in _SEAL if name in attributes}
    if not seal:
        return dataset
    if set(seal) != set(_SEAL) or int(seal["schema"]) > SCHEMA:
        raise ValueError(f"schema {seal.get('schema')}, expected {SCHEMA} with a sha256")
    del attributes["sha256"]
    if seal["sha256"] != _checksum(_with_attributes(dataset, attributes)):
        raise ValueError("its sha256 is not that of its content, so it was damaged or edited")
    if run is not None and seal["run"] not in ("", run):
        raise ValueError(f"it is of the run {seal['run']!r}, not of {run!r}")
    left = {name: value for name, value in attributes.items() if name not in _SEAL}
    return _with_attributes(dataset, left)


def _with_attributes(dataset: "xarray.Dataset", attributes: dict[Any, Any]) -> "xarray.Dataset":
    copied = dataset.copy()
    copied.attrs = attributes
    return copied


def _checksum(dataset: "xarray.Dataset") -> str:
    """Computes the sha256 of names, dimensions, attributes, dtypes and values, in sorted order."""
    found = hashlib.sha256(_described(dataset.attrs))
    for name, variable in sorted(dataset.variables.items(), key=lambda item: str(item[0])):
        values = np.ascontiguousarray(variable.values)
        text = values.dtype.kind in "OU"
        kind = "text" if text else values.dtype.str
        coordinate = name in dataset.coords
        head = [str(name), coordinate, list(variable.dims), list(values.shape), kind]
        found.update(json.dumps(head).encode() + _described(variable.attrs))
        if text:
            found.update(json.dumps([str(one) for one in values.flat]).encode())
        else:
            found.update(values.reshape(-1).view(np.uint8).data)
    return found.hexdigest()


def _described(attributes: dict[Any, Any]) -> bytes:
    """Gives attributes as bytes; NumPy's numbers as those that they stand for."""
    plain = {str(name): np.ravel(value).tolist() for name, value in attributes.items()}
    return json.dumps(plain, sort_keys=True).encode()


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
