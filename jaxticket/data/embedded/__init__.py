"""The two sets that come with the package, so that every example runs anywhere at once.

`LICENSES.md` beside this file has their licences; `make.py` made them.
"""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxticket.data.dataset import DataError, Dataset, Splits, make_dataset, make_examples, shown

FOLDER = Path(__file__).parent


class Embedded(NamedTuple):
    """An embedded file: its digest, its largest pixel value and how its splits were made."""

    sha256: str
    largest: int
    sentence: str


EMBEDDED = {
    "digits": Embedded(
        sha256="91dacbedefe343cb3d2b52e57c016c792fb9658f913eb91360e74c18436de3a6",
        largest=16,
        sentence=(
            "stratified and evenly spread in file order: 360 test, then 180 validation, the rest "
            "(1,257) train. Pixels 0..16 are returned as `pixel * 255 // 16`"
        ),
    ),
    "fashion_mnist_5k": Embedded(
        sha256="243dbecb93500a69a2c16d386225d82ec883c0d555680f1440cfbe28d970c1a6",
        largest=255,
        sentence=(
            "balanced and evenly spread in file order: 500 train and 100 validation examples a "
            "class from Fashion-MNIST's official train split, 200 a class from its test split"
        ),
    ),
}


def read_embedded(name: str) -> Dataset:
    """An embedded set.

    Args:
      name: `"digits"` (8x8x1) or `"fashion_mnist_5k"` (28x28x1).

    Returns:
      The set, 10 classes.

    Raises:
      DataError: the installed file is missing or is not the one that was released.

    >>> read_embedded("digits").train.images.shape
    (1257, 8, 8, 1)
    """
    embedded, path = EMBEDDED[name], FOLDER / f"{name}.npz"
    data = path.read_bytes() if path.is_file() else b""
    found = hashlib.sha256(data).hexdigest()
    if found != embedded.sha256:
        raise DataError(
            f"{shown(path)} is damaged or missing (sha256 {found[:12]}, expected "
            f"{embedded.sha256[:12]}): install jaxticket again"
        )
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        train, validation, test = (
            make_examples(
                _scale(arrays[f"{part}_images"], embedded.largest)[..., None],
                arrays[f"{part}_labels"],
            )
            for part in ("train", "validation", "test")
        )
    return make_dataset(name, Splits(train, validation, test, embedded.sentence), 10, "embedded")


def _scale(images: np.ndarray, largest: int) -> np.ndarray:
    """Pixels 0..largest as 0..255."""
    return images if largest == 255 else (images.astype(np.uint16) * 255 // largest).astype("u1")
