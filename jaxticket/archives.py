"""NumPy archives of unknown origin: what they declare is checked before anything is read."""

import math
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

EXPANSION = 1032
"""The most that deflate expands: 258 bytes from a length and a distance of one bit each."""

ENTRY = 46
"""Bytes that an entry of an archive's directory has at least; NumPy's have no extras so long."""

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
    SyntaxError,
    tokenize.TokenError,
)
"""What reading a damaged archive raises; `RuntimeError` where a flag says that it is encrypted, the
last two where NumPy reads the header of an array."""


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Reads all arrays of an `.npz` file, each against its own checksum.

    Args:
      path: the file.

    Returns:
      Arrays by name, never of Python objects.

    Raises:
      ValueError: for more than the file can hold, for names that lead elsewhere, for objects.
      Exception: the others of `UNREADABLE`, for what is damaged otherwise.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "a.npz"
      >>> np.savez(path, weights=np.arange(3))
      >>> read_archive(path)["weights"].tolist()
      [0, 1, 2]
    """
    # Opened here, since NumPy leaves the file open if it is no zip archive.
    with path.open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            check_members(archive, path.stat().st_size)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def check_members(archive: zipfile.ZipFile, size: int) -> None:
    """Checks names, sizes and shapes that an archive declares, from its headers alone.

    Args:
      archive: an open `.npz` file.
      size: its bytes on disk, by which what it expands to is bounded.

    Raises:
      ValueError: naming the first member that is not what NumPy writes.
    """
    members = archive.infolist()
    names = [member.filename for member in members]
    if len(set(names)) != len(names):
        raise ValueError("two members of one name")
    expanded = sum(member.file_size for member in members)
    if expanded > EXPANSION * size:
        raise ValueError(f"declares {expanded} bytes, more than {size} can expand to")
    for member in members:
        # What one entry claims as its own extras may be the entries after it, which are then gone.
        if len(member.extra) + len(member.comment) >= ENTRY:
            raise ValueError(f"the member {member.filename!r}, whose entry is too long")
        if not member.filename.endswith(".npy") or leads_elsewhere(member.filename):
            raise ValueError(f"the member {member.filename!r}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ValueError(f"the compression of {member.filename!r}")
        _check_header(archive, member)


def leads_elsewhere(name: str) -> bool:
    """Says whether a name, joined to a folder, leads out of it.

    Args:
      name: with `/` between its parts.

    Returns:
      True for `..`, for what begins at the root and for what is no name.

    Example:
      >>> leads_elsewhere("hidden_0/kernel"), leads_elsewhere("../kernel"), leads_elsewhere("/etc")
      (False, True, True)
    """
    return "\0" in name or "\\" in name or any(p in ("", ".", "..") for p in name.split("/"))


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version not in _READERS:
            raise ValueError(f"{member.filename!r} is of another format")
        shape, _, dtype = _READERS[version](content)
        end = content.tell()
    if dtype.hasobject:
        raise ValueError(f"{member.filename!r} holds Python objects")
    declared = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or end + declared != member.file_size:
        raise ValueError(f"{member.filename!r} declares {list(shape)} of {dtype}, not what it has")


_READERS: dict[Any, Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
