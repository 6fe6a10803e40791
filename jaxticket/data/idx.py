"""The idx files of MNIST and the sets made like it, gzipped or not.

Format: http://yann.lecun.com/exdb/mnist/ (two zero bytes, the type, the number of dimensions,
each dimension as a big endian `uint32`, then the bytes).
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxticket.archives import EXPANSION
from jaxticket.data.dataset import DataError, make_examples, one_line, shown
from jaxticket.types import Examples

_UNSIGNED_BYTE = 0x08
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def has_idx(folder: Path) -> bool:
    """Whether at least one of the four idx files is in the folder."""
    return any(_find(folder, name) for names in FILES.values() for name in names)


def read_idx_folder(folder: Path) -> dict[str, Examples]:
    """The official train and test splits of a folder with the four idx files.

    Args:
      folder: holds `{train,t10k}-images-idx3-ubyte` and `{train,t10k}-labels-idx1-ubyte`, each
        with or without `.gz`; `train-images.idx3-ubyte` and so on are found as well.

    Returns:
      `{"train": ..., "test": ...}`, images `uint8[n, height, width, 1]`, labels `int32[n]`.

    Raises:
      DataError: a file is missing, damaged, or does not fit its partner.
    """
    found = {name: _find(folder, name) for names in FILES.values() for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise DataError(
            f"{shown(folder)} lacks {', '.join(missing)}: expected the four idx files of the set, "
            "with or without .gz; copy the rest there"
        )
    paths = {name: path for name, path in found.items() if path is not None}
    return {
        part: _read_pair(paths[images], paths[labels]) for part, (images, labels) in FILES.items()
    }


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """One idx file of unsigned bytes.

    Args:
      path: the file; gzip is told by its first bytes, not by its name.
      dimensions: how many the array must have: 3 for images, 1 for labels.

    Returns:
      The array, `uint8`.

    Raises:
      DataError: not readable, not gzip, or not an idx file of that many dimensions and size.
    """
    start, magic = 4 + 4 * dimensions, bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    data = _read_bytes(path, start, magic)
    if len(data) < start or data[:4] != magic:
        raise DataError(
            f"{shown(path)} starts with {data[:4].hex() or 'nothing'}: expected an idx file of "
            f"{dimensions}-dimensional unsigned bytes (0000080{dimensions}); fetch it again"
        )
    shape = tuple(int(size) for size in np.frombuffer(data[4:start], ">u4"))
    if len(data) - start != math.prod(shape):
        raise DataError(
            f"{shown(path)} holds {len(data) - start} bytes of data, expected "
            f"{math.prod(shape)} for its shape {list(shape)}: damaged or cut short; fetch it again"
        )
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _find(folder: Path, name: str) -> Path | None:
    spellings = (name, name.replace("-idx", ".idx"))
    paths = (folder / f"{spelling}{suffix}" for spelling in spellings for suffix in ("", ".gz"))
    return next((path for path in paths if path.is_file()), None)


def _read_bytes(path: Path, start: int, magic: bytes) -> bytes:
    """Reads what the header declares and not a byte more of what may be packed without end."""
    try:
        with path.open("rb") as plain:
            packed = plain.read(2) == b"\x1f\x8b"
            plain.seek(0)
            file = gzip.GzipFile(fileobj=plain) if packed else plain
            head = file.read(start)
            if len(head) < start or head[:4] != magic:
                return head
            declared = math.prod(map(int, np.frombuffer(head[4:], ">u4")))
            size = path.stat().st_size
            if declared > EXPANSION * size:
                raise ValueError(f"declares {declared} bytes, more than {size} can expand to")
            # The byte after the end, where there is none, makes gzip check what it has read.
            return head + file.read(declared) + file.read(1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(
            f"{shown(path)} cannot be read ({one_line(error)}): expected an idx file, "
            "gzipped or not; fetch it again"
        ) from error


def _read_pair(images_path: Path, labels_path: Path) -> Examples:
    images, labels = read_idx(images_path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels):
        raise DataError(
            f"{shown(images_path)} has {len(images)} images and {labels_path.name} has "
            f"{len(labels)} labels: expected equally many; the files are of different sets"
        )
    return make_examples(images[..., None], labels)
