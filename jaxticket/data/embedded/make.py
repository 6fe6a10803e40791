"""Make the embedded files again: `python -m jaxticket.data.embedded.make [FOLDER]`.

Needs scikit-learn (its `load_digits`) and Debian's package dataset-fashion-mnist. The same input
gives the same bytes wherever Python is built with the usual zlib; the digests that it prints
belong in `__init__.py`. Without FOLDER it replaces the files beside this script.
"""

import hashlib
import importlib
import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jaxticket.data.dataset import stratified_choice
from jaxticket.data.embedded import FOLDER
from jaxticket.data.idx import read_idx_folder

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip file can hold

Arrays = dict[str, NDArray[np.generic]]


def digits() -> Arrays:
    """scikit-learn's 1,797 digits: 360 test, 180 validation, 1,257 train, pixels 0..16."""
    # Imported by name: scikit-learn is no dependency of the package, so checkers need not see it.
    bunch = importlib.import_module("sklearn.datasets").load_digits()
    images, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    everything = np.arange(len(labels))
    test = stratified_choice(labels, 360)
    rest = np.setdiff1d(everything, test)
    validation = rest[stratified_choice(labels[rest], 180)]
    train = np.setdiff1d(rest, validation)
    return (
        _part("train", images, labels, train)
        | _part("validation", images, labels, validation)
        | _part("test", images, labels, test)
    )


def fashion_mnist_5k(folder: Path = FASHION_MNIST) -> Arrays:
    """500 train, 100 validation and 200 test examples a class of Fashion-MNIST."""
    official = read_idx_folder(folder)
    images, labels = (np.asarray(array) for array in official["train"])
    test_images, test_labels = (np.asarray(array) for array in official["test"])
    # Both official splits are balanced, so a stratified choice is balanced exactly.
    train = stratified_choice(labels, 5_000)
    rest = np.setdiff1d(np.arange(len(labels)), train)
    validation = rest[stratified_choice(labels[rest], 1_000)]
    test = stratified_choice(test_labels, 2_000)
    return (
        _part("train", images[..., 0], labels, train)
        | _part("validation", images[..., 0], labels, validation)
        | _part("test", test_images[..., 0], test_labels, test)
    )


def _part(
    name: str, images: NDArray[np.uint8], labels: NDArray[np.integer], index: NDArray[np.integer]
) -> Arrays:
    """One split, with each example's position in its official file."""
    return {
        f"{name}_images": images[index],
        f"{name}_labels": labels[index].astype(np.uint8),
        f"{name}_index": index.astype(np.int32),
    }


def npz_bytes(arrays: Arrays) -> bytes:
    """An npz file whose bytes depend on the arrays alone, not on the clock or the user."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            archive.writestr(entry, member.getvalue(), compresslevel=9)
    return file.getvalue()


def main(folder: Path) -> None:
    """Write both files and print their digests."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("digits", digits()), ("fashion_mnist_5k", fashion_mnist_5k())):
        data = npz_bytes(arrays)
        (folder / f"{name}.npz").write_bytes(data)
        print(f"{name}.npz {len(data)} bytes sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
