"""`cifar10_jpeg`: the CIFAR-10 images after a lossy JPEG round, kept in one npz file.

JPEG (quality 75, 4:2:0) changed the pixels, so no result on it is a CIFAR-10 result, and the
name says so everywhere. Layout: `{train,test}_jpeg: uint8[bytes]`, all JPEG files one after
another; `{train,test}_offsets: int64[n + 1]`, where each begins; `{train,test}_labels: uint8[n]`
in CIFAR-10's class order.
"""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxticket.archives import UNREADABLE, read_archive
from jaxticket.data.dataset import DataError, make_examples, one_line, shown
from jaxticket.types import Examples

FILE = "cifar10_jpeg.npz"
CLASSES = 10
_SHAPE = (32, 32, 3)
_REAL_SET = (
    "for the real CIFAR-10 ask for cifar10 instead (add --download, or download=True, to let "
    "TFDS fetch it)"
)


def find_cifar10_jpeg(given: Path | None) -> Path:
    """The npz file: the given one, or the one in the given folder, or `../shared/data`'s.

    Args:
      given: a file or a folder; `None` looks beside the repository and the working folder.

    Returns:
      The path of an existing file.

    Raises:
      DataError: it is at none of these places.
    """
    repository = Path(__file__).parents[2]
    beside = [root.parent / "shared" / "data" / FILE for root in (repository, Path.cwd())]
    places = beside if given is None else [given / FILE if given.is_dir() else given]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        where = " or ".join(dict.fromkeys(shown(place) for place in places))
        raise DataError(
            f"cifar10_jpeg is not at {where}: expected the file {FILE}, which is not shipped; "
            f"give its path (--data-path, or path=), or {_REAL_SET}"
        )
    return found


def read_cifar10_jpeg(path: Path) -> dict[str, Examples]:
    """The official train and test splits, decoded by Pillow.

    Args:
      path: the npz file.

    Returns:
      `{"train": ..., "test": ...}`, images `uint8[n, 32, 32, 3]`, labels `int32[n]`.

    Raises:
      DataError: the file is damaged or is not laid out as described above.
    """
    try:
        arrays = read_archive(path)
        parts = {
            part: [arrays[f"{part}_{what}"] for what in ("jpeg", "offsets", "labels")]
            for part in ("train", "test")
        }
    except UNREADABLE as error:
        raise DataError(
            f"{shown(path)} cannot be read ({one_line(error)}): expected an npz file with "
            f"{{train,test}}_{{jpeg,offsets,labels}}; copy it again, or {_REAL_SET}"
        ) from error
    return {
        part: make_examples(_decode(f"{shown(path)}, {part}", data, offsets, len(labels)), labels)
        for part, (data, offsets, labels) in parts.items()
    }


def _decode(
    where: str, data: NDArray[np.uint8], offsets: NDArray[np.int64], count: int
) -> NDArray[np.uint8]:
    """All images of one split, `uint8[count, 32, 32, 3]`."""
    ends = [0, len(data)]
    if (
        len(offsets) != count + 1
        or [offsets[0], offsets[-1]] != ends
        or (np.diff(offsets) < 1).any()
    ):
        raise DataError(
            f"{where}: offsets do not cut {len(data)} bytes into {count} images: expected "
            f"{count + 1} ascending numbers from 0 to {len(data)}; copy the file again"
        )
    images = np.empty((count, *_SHAPE), np.uint8)
    for index in range(count):
        images[index] = _decode_one(where, index, data[offsets[index] : offsets[index + 1]])
    return images


def _decode_one(where: str, index: int, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image  # only here, so that no other set pays for the import

    try:
        image = np.asarray(Image.open(io.BytesIO(data.tobytes()), formats=("JPEG",)))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{where}: image {index} is not readable as JPEG ({one_line(error)}): "
            "the file is damaged; copy it again"
        ) from error
    if image.shape != _SHAPE:
        raise DataError(f"{where}: image {index} is {list(image.shape)}, expected {list(_SHAPE)}")
    return image
