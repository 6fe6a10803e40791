"""`load`: from a name to a data set, and where each name is looked for."""

from pathlib import Path

from jaxticket.data.dataset import DataError, Dataset, make_dataset, make_splits, shown
from jaxticket.data.embedded import EMBEDDED, read_embedded
from jaxticket.data.idx import has_idx, read_idx_folder
from jaxticket.data.jpeg import CLASSES, find_cifar10_jpeg, read_cifar10_jpeg
from jaxticket.data.tensorflow_datasets_builder import check_registered, make_builder, prepare
from jaxticket.data.tensorflow_datasets_reader import data_root, find_prepared, read_prepared

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")

# The idx files of MNIST, Fashion-MNIST and KMNIST have the same names and shapes: only the
# content tells one from the others.
FASHION_MNIST_SHA256 = "7b3d9243b41272ae4d957d5a96e45714dcbf04f8d90f828ec61451592bce2d39"

_IDX_CLASSES = {"mnist": 10, "fashion_mnist": 10, "kmnist": 10}

_AVAILABLE = {
    "fashion_mnist_5k": "8,000 Fashion-MNIST images, balanced, 28x28x1; embedded, the default",
    "digits": "1,797 handwritten digits, 8x8x1; embedded, for quick checks",
    "fashion_mnist": "70,000 articles of clothing, 28x28x1; Debian's dataset-fashion-mnist or TFDS",
    "mnist": "70,000 handwritten digits, 28x28x1; four idx files or TFDS",
    "cifar10": "60,000 photographs, 10 classes, 32x32x3; TFDS",
    "cifar100": "60,000 photographs, 100 classes, 32x32x3; TFDS",
    "svhn_cropped": "99,289 house numbers, 32x32x3; TFDS",
    "cifar10_jpeg": "CIFAR-10 after a lossy JPEG round, never reported as CIFAR-10; its npz file",
    "<TFDS name>": "any TFDS image classification set of one image size, such as emnist/letters",
}


def available() -> dict[str, str]:
    """The named data sets, and that any TFDS image classification set works by its TFDS name.

    Returns:
      One line for each name; the last key, `"<TFDS name>"`, stands for all others.

    >>> available()["digits"]
    '1,797 handwritten digits, 8x8x1; embedded, for quick checks'
    """
    return dict(_AVAILABLE)


def load(name: str, *, path: str | Path | None = None, download: bool = False) -> Dataset:
    """Load a labelled image set in three splits.

    It is looked for in this order: `path` (and then nowhere else), the system's folder, a folder
    that TFDS prepared (`TFDS_DATA_DIR`, else `~/tensorflow_datasets`), and the network only if
    `download`. Splits depend on the files alone: no random numbers, no clock.

    Args:
      name: a name of `available()`, or any TFDS image classification set's, with a configuration
        if it has several: `"emnist/letters"`.
      path: where the set is: the folder with the four idx files (mnist, fashion_mnist, kmnist),
        a TFDS data folder or one prepared version in it, or for cifar10_jpeg its npz file or
        the folder of that. `None` for the usual places.
      download: whether TFDS may fetch and prepare a set that is not there, into `path` if given.

    Returns:
      The set: images `uint8[n, height, width, channels]` in 0..255, labels `int32[n]`.

    Raises:
      DataError: unknown name, set not there, not image classification, images of varying size,
        or a damaged file; one line with the fix.

    >>> digits = load("digits")
    >>> digits.train.images.shape, digits.validation.images.shape, digits.test.images.shape
    ((1257, 8, 8, 1), (180, 8, 8, 1), (360, 8, 8, 1))
    >>> digits.classes, digits.source
    (10, 'embedded')

    Source: Debian's dataset-fashion-mnist; https://www.tensorflow.org/datasets/catalog; the
    embedded sets' in `jaxticket/data/embedded/LICENSES.md`.
    """
    given = None if path is None else Path(path).expanduser()
    if name in EMBEDDED:
        _refuse_path(name, given)
        return read_embedded(name)
    if name == "cifar10_jpeg":
        file = find_cifar10_jpeg(given)
        source = f"{shown(file)}, a lossy copy of CIFAR-10"
        return make_dataset(name, make_splits(read_cifar10_jpeg(file)), CLASSES, source)
    found = _from_usual_places(name) if given is None else _from_given(name, given)
    if found is not None:
        return found
    check_registered(name, [known for known in _AVAILABLE if known[0] != "<"])
    root = data_root() if given is None else given
    if download:
        return read_prepared(prepare(name, root), name)
    make_builder(name, root)  # for its errors: a set that we cannot load needs no fetching
    raise _not_there(name, root, given)


def is_there(name: str) -> bool:
    """Says whether `load` finds a set in the usual places; none of its images is read.

    Args:
      name: as in `load`.

    Returns:
      True if it does. Whether the files are whole `load` says.

    Raises:
      DataError: for an unknown name.

    >>> is_there("digits")
    True
    """
    if name in EMBEDDED or (name == "fashion_mnist" and has_idx(DEBIAN_FASHION_MNIST)):
        return True
    if name == "cifar10_jpeg":
        try:
            return find_cifar10_jpeg(None).is_file()
        except DataError:
            return False
    if name not in _AVAILABLE:
        check_registered(name, [known for known in _AVAILABLE if known[0] != "<"])
    return find_prepared(data_root(), name) is not None


def _refuse_path(name: str, given: Path | None) -> None:
    if given is not None:
        raise DataError(
            f"{name} is embedded, but the path {shown(given)} was given: expected none; leave it "
            "out, or ask for the set that is there"
        )


def _from_given(name: str, given: Path) -> Dataset | None:
    if given.is_file():
        raise DataError(
            f"{shown(given)} is a file: expected the folder with the four idx files or a TFDS "
            f"data folder for {name}; give the folder"
        )
    return _from_idx(name, given, f"idx files in {shown(given)}") or _from_tfds(name, given)


def _from_usual_places(name: str) -> Dataset | None:
    if name == "fashion_mnist" and has_idx(DEBIAN_FASHION_MNIST):
        return _from_idx(name, DEBIAN_FASHION_MNIST, "Debian package dataset-fashion-mnist")
    return _from_tfds(name, data_root())


def _from_idx(name: str, folder: Path, source: str) -> Dataset | None:
    if name not in _IDX_CLASSES or not has_idx(folder):
        return None
    splits = make_splits(read_idx_folder(folder))
    dataset = make_dataset(name, splits, _IDX_CLASSES[name], source)
    if dataset.sha256 == FASHION_MNIST_SHA256 and name != "fashion_mnist":
        raise DataError(
            f"{shown(folder)} holds Fashion-MNIST: expected {name}, whose files have the same "
            "names; ask for fashion_mnist, or give another folder"
        )
    return dataset


def _from_tfds(name: str, folder: Path) -> Dataset | None:
    prepared = find_prepared(folder, name)
    return None if prepared is None else read_prepared(prepared, name)


def _not_there(name: str, root: Path, given: Path | None) -> DataError:
    expected = ["a prepared TFDS folder"]
    if name in _IDX_CLASSES:
        expected.append("the four idx files")
    fixes = ["add --download, or download=True, to let TFDS fetch it"]
    if given is None:
        fixes.append("give its folder with --data-path, or path=")
    else:
        fixes.append("give the folder that holds it")
    if name == "fashion_mnist":
        fixes.insert(0, "apt-get install dataset-fashion-mnist")
    return DataError(
        f"{name} is not in {shown(root)}: expected {' or '.join(expected)}; {', or '.join(fixes)}"
    )
