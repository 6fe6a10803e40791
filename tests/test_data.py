"""The data room: every reader on small files, every error, the embedded and Debian's files."""

import gzip
import hashlib
import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import make_datasets as make
import numpy as np
import pytest

from jaxticket import data
from jaxticket.data import dataset as core
from jaxticket.data import embedded, jpeg, registry
from jaxticket.data.dataset import (
    digest,
    make_examples,
    make_splits,
    stratified_choice,
    validation_count,
)
from jaxticket.data.embedded import make as embedded_make
from jaxticket.data.idx import read_idx
from jaxticket.data.tensorflow_datasets_builder import registered_names

DEBIAN = registry.DEBIAN_FASHION_MNIST
needs_debian = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="Debian's dataset-fashion-mnist is not installed"
)


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No test may reach the network, the user's TFDS folder, or files beside the repository."""

    def refuse(*arguments, **keywords):
        raise AssertionError("a test of the data room used the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "usual"))
    monkeypatch.setattr(registry, "DEBIAN_FASHION_MNIST", tmp_path / "no-debian")


def error_of(name: str, **keywords) -> str:
    with pytest.raises(data.DataError) as caught:
        data.load(name, **keywords)
    message = str(caught.value)
    assert "\n" not in message
    return message


def assert_contract(dataset: data.Dataset) -> None:
    """What every loaded set promises."""
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split.images, np.ndarray)
        assert isinstance(split.labels, np.ndarray)
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int32
        assert split.images.shape == (len(split.labels), *dataset.train.images.shape[1:])
        assert split.images.ndim == 4
        assert split.labels.min() >= 0
        assert split.labels.max() < dataset.classes
    assert dataset.sha256 == digest(dataset.train, dataset.validation, dataset.test)
    assert dataset.source
    assert "test" in dataset.split
    assert "validation" in dataset.split


def rows(*splits) -> np.ndarray:
    """All examples of the splits as sorted rows of bytes, label last."""
    images = np.concatenate([np.asarray(split.images) for split in splits])
    labels = np.concatenate([np.asarray(split.labels) for split in splits])
    table = np.column_stack([images.reshape(len(images), -1), labels])
    return table[np.lexsort(table.T)]


# Splits


@pytest.mark.parametrize("count", [0, 1, 7, 50, 99, 100])
def test_stratified_choice_keeps_the_proportions(count):
    labels = np.array([0] * 60 + [1] * 30 + [2] * 10)
    chosen = stratified_choice(labels, count)
    assert len(np.unique(chosen)) == count
    assert np.array_equal(chosen, np.sort(chosen))
    found = np.bincount(labels[chosen], minlength=3)
    assert np.all(np.abs(found - count * np.array([0.6, 0.3, 0.1])) < 1)


def test_stratified_choice_is_evenly_spread():
    assert stratified_choice(np.zeros(100, int), 4).tolist() == [12, 37, 62, 87]


@pytest.mark.parametrize("count", [-1, 5])
def test_stratified_choice_refuses_impossible_counts(count):
    with pytest.raises(data.DataError, match=rf"cannot choose {count} of 4 examples"):
        stratified_choice(np.zeros(4, int), count)


def test_validation_count():
    assert [validation_count(n) for n in (9, 10, 20_000, 20_001, 60_000)] == [
        0,
        1,
        2_000,
        5_000,
        5_000,
    ]


def numbered(count: int, start: int):
    """Examples whose only pixels are their own number, to find them again."""
    numbers = np.arange(start, start + count, dtype=np.uint16)
    images = numbers.view(np.uint8).reshape(count, 1, 1, 2)
    return make_examples(images, np.arange(count) % 10)


def numbers_of(split) -> set[int]:
    return set(np.ascontiguousarray(split.images).reshape(-1).view(np.uint16).tolist())


@pytest.mark.parametrize(
    ("official", "sizes", "sentence"),
    [
        (("train", "test"), (90, 10, 100), "test: the official test split; validation: 10 ex"),
        (("train", "validation"), (90, 10, 100), "test: the official validation split, as there"),
        (("train",), (72, 8, 20), "test: 20 examples of train, stratified, as there is no"),
        (("train", "validation", "test"), (100, 100, 100), "validation: the official split"),
    ],
)
def test_make_splits(official, sizes, sentence):
    given = {part: numbered(100, 100 * start) for start, part in enumerate(official)}
    splits = make_splits(given)
    assert tuple(len(split.labels) for split in splits[:3]) == sizes
    assert sentence in splits.sentence
    parts = [numbers_of(split) for split in splits[:3]]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 100 * len(official)
    for split in splits[:3]:  # every class has its share
        assert np.ptp(np.bincount(split.labels, minlength=10)) <= 1


def test_make_splits_needs_train_and_ten_examples():
    with pytest.raises(data.DataError, match=r"no train split: given \['test'\], expected one"):
        make_splits({"test": numbered(10, 0)})
    with pytest.raises(data.DataError, match=r"too few train examples: given 9, expected at least"):
        make_splits({"train": numbered(9, 0), "test": numbered(9, 9)})


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((2, 3, 3), np.uint8), [0, 1], r"images are uint8\[2, 3, 3\], expected uint8\[n"),
        (np.zeros((2, 3, 3, 1), float), [0, 1], r"images are float64\[2, 3, 3, 1\]"),
        (np.zeros((2, 3, 3, 1), np.uint8), [0], r"2 images and 1 labels, expected equally many"),
        (np.zeros((0, 3, 3, 1), np.uint8), [], r"0 images and 0 labels"),
        (np.zeros((2, 3, 3, 1), np.uint8), [0, 2], r"labels 0\.\.2, expected 0\.\.1"),
        (np.zeros((2, 3, 3, 1), np.uint8), [-1, 0], r"labels -1\.\.0, expected 0\.\.1"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_set_that_breaks_the_contract_is_refused(images, labels, message):
    bad = make_examples(images, np.array(labels, int))
    with pytest.raises(data.DataError, match=message):
        core.make_dataset("made", core.Splits(bad, bad, bad, ""), 2, "here")


def test_digest_sees_every_byte():
    one = make_examples(np.zeros((2, 2, 2, 1), np.uint8), np.array([0, 1]))
    pixel = make_examples(np.eye(2, dtype=np.uint8)[None, ..., None].repeat(2, 0), one.labels)
    label = make_examples(one.images, np.array([1, 1]))
    assert len({digest(one), digest(pixel), digest(label), digest(one, one)}) == 4


# Names


def test_available_names_load_or_say_how_to_get_them():
    known = data.available()
    assert next(iter(known)) == "fashion_mnist_5k"
    assert "any TFDS image classification set" in known["<TFDS name>"]
    known.clear()  # a copy: it cannot break the next call
    assert data.available()
    for name in ("mnist", "fashion_mnist", "cifar10", "cifar100", "svhn_cropped"):
        message = error_of(name)
        assert message.startswith(f"{name} is not in ")
        assert "--data-path" in message
        assert "--download" in message
    assert "apt-get install dataset-fashion-mnist" in error_of("fashion_mnist")
    assert "four idx files" in error_of("mnist")
    assert "four idx files" not in error_of("cifar10")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("mnits", "mnist"),
        ("Fashion-MNIST", "fashion_mnist"),
        ("digit", "digits"),
        ("cifar_10", "cifar10"),
        ("emnis/letters", "emnist"),
    ],
)
def test_unknown_names_give_the_nearest(name, near):
    message = error_of(name)
    assert message.startswith(f"unknown data set {name!r}: expected one of fashion_mnist_5k, ")
    assert near in message.partition("did you mean ")[2].rstrip("?").split(" or ")


@pytest.mark.parametrize("name", ["", "qqqqqqqq", "/", "<TFDS name>"])
def test_unknown_names_that_are_near_to_nothing(name):
    message = error_of(name)
    assert message.startswith(f"unknown data set {name!r}: expected one of fashion_mnist_5k, ")
    assert "the name of a TFDS image classification set" in message


def test_names_are_listed_without_network():
    # `offline` makes any connection fail, and a list with the community's sets connects.
    assert {"mnist", "cifar10", "svhn_cropped"} <= set(registered_names())


def test_tfds_sets_that_do_not_fit():
    message = error_of("duke_ultrasound")
    assert "is not an image classification set: it has 0 images and 0 class labels" in message
    assert "images of varying size, declared as [None, None, 3]" in error_of("imagenet2012")
    assert "images of varying size" in error_of("imagenet2012", download=True)
    message = error_of("emnist/letterz")
    assert message.startswith("emnist has no configuration 'letterz': expected one of 6")
    assert "letters" in message


def test_import_is_light():
    heavy = ["tensorflow_datasets", "tensorflow", "PIL", "matplotlib"]
    code = f"import sys, jaxticket.data; print([m for m in {heavy} if m in sys.modules])"
    root = Path(data.__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


# Embedded


@pytest.mark.parametrize(
    ("name", "shape", "sizes", "sha256"),
    [
        (
            "digits",
            (8, 8, 1),
            (1257, 180, 360),
            "7962061d43f313e46d3f42ebcc77a50288004080066e30048114a9ef15cc2720",
        ),
        (
            "fashion_mnist_5k",
            (28, 28, 1),
            (5000, 1000, 2000),
            "a81c4eec5f27c9a4964ecf7077851f79ff5364507aaf26acd96a7777cc05266e",
        ),
    ],
)
def test_embedded_sets(name, shape, sizes, sha256):
    dataset = data.load(name)
    assert_contract(dataset)
    splits = (dataset.train, dataset.validation, dataset.test)
    assert tuple(len(split.labels) for split in splits) == sizes
    assert dataset.train.images.shape[1:] == shape
    assert dataset.classes == 10
    assert dataset.source == "embedded"
    assert dataset.sha256 == sha256
    assert data.load(name).sha256 == sha256
    for split in splits:
        assert split.images.min() == 0
        assert split.images.max() == 255


def test_embedded_fashion_mnist_is_balanced():
    dataset = data.load("fashion_mnist_5k")
    for split, size in ((dataset.train, 500), (dataset.validation, 100), (dataset.test, 200)):
        assert np.bincount(split.labels).tolist() == [size] * 10


def test_embedded_digits_are_stratified():
    dataset = data.load("digits")
    total = sum(np.bincount(split.labels) for split in dataset[1:4])
    assert total.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    for split in dataset[1:4]:
        assert np.all(np.abs(np.bincount(split.labels) - total * len(split.labels) / 1797) < 1.5)
    # 0..16 became 0..255 and stays 17 grey levels.
    assert len(np.unique(dataset.train.images)) == 17


@pytest.mark.parametrize(("name", "one_file"), [("digits", True), ("fashion_mnist_5k", False)])
def test_embedded_splits_share_no_row(name, one_file):
    with np.load(embedded.FOLDER / f"{name}.npz", allow_pickle=False) as arrays:
        train, validation, test = (
            arrays[f"{part}_index"] for part in ("train", "validation", "test")
        )
    # Fashion-MNIST's test rows are of another official file, so their numbers may recur.
    together = [train, validation, test] if one_file else [train, validation]
    everything = np.concatenate(together)
    assert len(np.unique(everything)) == len(everything)
    assert len(np.unique(test)) == len(test)


def test_embedded_files_are_small_and_licensed():
    assert sum(file.stat().st_size for file in embedded.FOLDER.glob("*.npz")) < 3.6e6
    licences = (embedded.FOLDER / "LICENSES.md").read_text()
    for notice in ("2017 Zalando SE", "CC BY 4.0", "Alpaydin", "scikit-learn"):
        assert notice in licences


def test_a_damaged_embedded_file_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "FOLDER", tmp_path)
    assert "digits.npz is damaged or missing" in error_of("digits")
    (tmp_path / "digits.npz").write_bytes(b"not a zip")
    message = error_of("digits")
    assert str(tmp_path / "digits.npz") in message
    assert "install jaxticket again" in message


def test_embedded_sets_take_no_path(tmp_path):
    message = error_of("digits", path=tmp_path)
    assert message.startswith(f"digits is embedded, but the path {tmp_path} was given")
    assert data.load("digits", download=True).source == "embedded"


def test_npz_bytes_depend_on_the_arrays_alone(tmp_path):
    arrays = {"a": np.arange(10), "b": np.zeros((2, 3), np.uint8)}
    written = embedded_make.npz_bytes(arrays)
    assert written == embedded_make.npz_bytes(arrays)
    (tmp_path / "a.npz").write_bytes(written)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert np.array_equal(found["a"], arrays["a"])
        assert found["b"].shape == (2, 3)
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


@needs_debian
def test_the_embedded_fashion_mnist_is_what_its_script_makes():
    made = embedded_make.fashion_mnist_5k(DEBIAN)
    with np.load(embedded.FOLDER / "fashion_mnist_5k.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(made)
        for name, array in made.items():
            assert stored[name].dtype == array.dtype
            assert np.array_equal(stored[name], array)


# idx files


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "kmnist"])
def test_idx_files_in_a_given_folder(name, compress, tmp_path):
    make.write_idx(tmp_path / "set", compress=compress)
    dataset = data.load(name, path=tmp_path / "set")
    assert_contract(dataset)
    assert dataset.name == name
    assert dataset.classes == 10
    assert dataset.source == f"idx files in {tmp_path / 'set'}"
    assert dataset.train.images.shape == (36, 28, 28, 1)
    given = make_examples(make.small_images(40, (28, 28), 0)[..., None], np.arange(40) % 10)
    assert np.array_equal(rows(dataset.train, dataset.validation), rows(given))
    assert np.array_equal(dataset.test.images[..., 0], make.small_images(20, (28, 28), 1))


def test_idx_is_deterministic_and_independent_of_gzip(tmp_path):
    zipped = data.load("mnist", path=str(make.write_idx(tmp_path / "a")))
    plain = data.load("mnist", path=make.write_idx(tmp_path / "b", compress=False))
    assert zipped.sha256 == plain.sha256


def test_idx_files_under_their_dotted_names(tmp_path):
    make.write_idx(tmp_path, compress=False)
    for name in make.IDX_NAMES:
        (tmp_path / name).rename(tmp_path / name.replace("-idx", ".idx"))
    assert data.load("mnist", path=tmp_path).test.images.shape == (20, 28, 28, 1)


def test_a_missing_idx_file_is_named(tmp_path):
    make.write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    message = error_of("mnist", path=tmp_path)
    assert message.startswith(f"{tmp_path} lacks t10k-labels-idx1-ubyte: expected the four idx")


IMAGES = make.idx_bytes(np.zeros((40, 28, 28), np.uint8))
# Without a time, since workers that name a case after its bytes must agree on them.
ZIPPED = gzip.compress(IMAGES, mtime=0)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        (b"", "starts with nothing: expected an idx file of 3-dimensional"),
        (b"hello, this is no idx file", "starts with 68656c6c"),
        (make.idx_bytes(np.zeros(40, np.uint8)), "starts with 00000801"),
        (IMAGES[:-1], "holds 31359 bytes of data, expected 31360 for its shape [40, 28, 28]"),
        (IMAGES + b"\0", "holds 31361 bytes of data, expected 31360"),
        (ZIPPED[:-9], "cannot be read (EOFError"),
        (ZIPPED[:-8] + bytes(8), "cannot be read (BadGzipFile: CRC check failed"),
        (b"\x1f\x8b" + bytes(50), "cannot be read (BadGzipFile"),
        (ZIPPED[:10] + b"\xff" * 40, "cannot be read (error: Error -3"),
        (make.idx_bytes(np.zeros((39, 28, 28), np.uint8)), "has 39 images and train-labels"),
    ],
)
def test_a_damaged_idx_file_is_named(written, message, tmp_path):
    make.write_idx(tmp_path)
    damaged = tmp_path / "train-images-idx3-ubyte.gz"
    damaged.write_bytes(written)
    found = error_of("mnist", path=tmp_path)
    assert found.startswith(str(damaged))
    assert message in found


def test_idx_labels_beyond_the_classes_are_refused(tmp_path):
    make.write_idx(tmp_path, compress=False)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(make.idx_bytes(np.arange(20)))
    assert "test: labels 0..19, expected 0..9" in error_of("mnist", path=tmp_path)


def test_train_and_test_of_other_sizes_are_refused(tmp_path):
    make.write_idx(tmp_path, compress=False)
    other = make.idx_bytes(np.zeros((20, 8, 8), np.uint8))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(other)
    assert "test: images are uint8[20, 8, 8, 1], expected" in error_of("mnist", path=tmp_path)


def test_a_file_for_a_folder(tmp_path):
    make.write_idx(tmp_path)
    file = tmp_path / "train-images-idx3-ubyte.gz"
    assert error_of("mnist", path=file).startswith(f"{file} is a file: expected the folder")


def test_a_folder_without_the_set(tmp_path):
    make.write_idx(tmp_path)
    message = error_of("cifar10", path=tmp_path)  # idx files are no CIFAR-10
    assert message.startswith(f"cifar10 is not in {tmp_path}: expected a prepared TFDS folder")
    missing = tmp_path / "missing"
    assert error_of("mnist", path=missing).startswith(f"mnist is not in {missing}: expected")


def test_the_home_folder_is_not_spelled_out(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    make.write_idx(tmp_path / "sets")
    assert data.load("mnist", path="~/sets").source == "idx files in ~/sets"


# Debian's files


@needs_debian
def test_debians_fashion_mnist(monkeypatch):
    monkeypatch.setattr(registry, "DEBIAN_FASHION_MNIST", DEBIAN)
    dataset = data.load("fashion_mnist")
    assert_contract(dataset)
    assert dataset.source == "Debian package dataset-fashion-mnist"
    assert dataset.sha256 == registry.FASHION_MNIST_SHA256
    for split, size in ((dataset.train, 5500), (dataset.validation, 500), (dataset.test, 1000)):
        assert np.bincount(split.labels).tolist() == [size] * 10
    labels = read_idx(DEBIAN / "train-labels-idx1-ubyte.gz", 1)
    chosen = stratified_choice(labels, 5000)
    images = read_idx(DEBIAN / "train-images-idx3-ubyte.gz", 3)
    assert np.array_equal(dataset.validation.images[..., 0], images[chosen])
    rest = np.delete(np.arange(len(labels)), chosen)
    assert np.array_equal(dataset.train.images[..., 0], images[rest])


@needs_debian
def test_fashion_mnist_is_not_taken_for_mnist():
    message = error_of("mnist", path=DEBIAN)
    assert message.startswith(f"{DEBIAN} holds Fashion-MNIST: expected mnist")


# cifar10_jpeg


@pytest.mark.parametrize("as_file", [True, False])
def test_cifar10_jpeg(as_file, tmp_path):
    arrays = make.jpeg_arrays()
    np.savez(tmp_path / jpeg.FILE, allow_pickle=False, **arrays)
    dataset = data.load("cifar10_jpeg", path=tmp_path / jpeg.FILE if as_file else tmp_path)
    assert_contract(dataset)
    assert dataset.name == "cifar10_jpeg"
    assert dataset.source == f"{tmp_path / jpeg.FILE}, a lossy copy of CIFAR-10"
    assert dataset.train.images.shape == (36, 32, 32, 3)
    assert dataset.test.labels.tolist() == [*range(10), *range(10)]
    original = make.small_images(20, (32, 32, 3), 20).astype(int)
    correlation = np.corrcoef(original.ravel(), dataset.test.images.ravel())[0, 1]
    assert correlation > 0.5  # lossy, and of noise, but in its place


def test_cifar10_jpeg_beside_the_working_folder(monkeypatch, tmp_path):
    shared = tmp_path / "shared" / "data"
    shared.mkdir(parents=True)
    (tmp_path / "repository").mkdir()
    np.savez(shared / jpeg.FILE, allow_pickle=False, **make.jpeg_arrays())
    monkeypatch.chdir(tmp_path / "repository")
    monkeypatch.setattr(jpeg, "__file__", str(tmp_path / "site" / "jaxticket" / "data" / "x.py"))
    assert len(data.load("cifar10_jpeg").test.labels) == 20
    (shared / jpeg.FILE).unlink()
    message = error_of("cifar10_jpeg")
    assert str(shared / jpeg.FILE) in message
    assert "which is not shipped" in message
    assert "ask for cifar10 instead" in message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": None}, "cannot be read (KeyError"),
        ({"test_labels": np.zeros(19, np.uint8)}, "test: offsets do not cut"),
        ({"test_labels": np.full(20, 10, np.uint8)}, "test: labels 10..10, expected 0..9"),
        ({"train_offsets": np.zeros(41, np.int64)}, "train: offsets do not cut"),
        ({"train_labels": np.array([{}] * 40)}, "'train_labels.npy' holds Python objects"),
    ],
)
def test_a_cifar10_jpeg_file_of_another_layout(change, message, tmp_path):
    arrays = {
        name: array for name, array in (make.jpeg_arrays() | change).items() if array is not None
    }
    np.savez(tmp_path / jpeg.FILE, **arrays)
    found = error_of("cifar10_jpeg", path=tmp_path)
    assert found.startswith((str(tmp_path / jpeg.FILE), "cifar10_jpeg"))
    assert message in found


def test_a_damaged_cifar10_jpeg_file(tmp_path):
    file = tmp_path / jpeg.FILE
    arrays = make.jpeg_arrays()
    np.savez(file, allow_pickle=False, **arrays)
    file.write_bytes(file.read_bytes()[:2000])
    assert error_of("cifar10_jpeg", path=file).startswith(f"{file} cannot be read (BadZipFile")
    start = arrays["train_offsets"][3]
    broken = arrays["train_jpeg"].copy()
    broken[start : start + 20] = 0
    np.savez(file, allow_pickle=False, **(arrays | {"train_jpeg": broken}))
    message = error_of("cifar10_jpeg", path=file)
    assert message.startswith(f"{file}, train: image 3 is not readable as JPEG")


def test_cifar10_jpeg_images_of_another_size(tmp_path):
    arrays = make.jpeg_arrays()
    small = make.jpeg_bytes(make.small_images(1, (16, 16, 3), 0)[0])
    arrays |= {
        "test_jpeg": np.frombuffer(small, np.uint8),
        "test_offsets": np.array([0, len(small)]),
        "test_labels": np.zeros(1, np.uint8),
    }
    np.savez(tmp_path / jpeg.FILE, allow_pickle=False, **arrays)
    message = error_of("cifar10_jpeg", path=tmp_path)
    assert message.endswith("test: image 0 is [16, 16, 3], expected [32, 32, 3]")


# TFDS


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS data folder with a small `mnist`."""
    folder = tmp_path_factory.mktemp("tfds")
    make.write_tfds(folder, "mnist", make.small_splits({"train": 40, "test": 20}))
    return folder


@pytest.mark.parametrize("inner", ["", "mnist", "mnist/1.0.0"])
def test_a_prepared_tfds_folder(prepared, inner):
    dataset = data.load("mnist", path=prepared / inner)
    assert_contract(dataset)
    assert dataset.source == f"TFDS folder {prepared / 'mnist' / '1.0.0'}"
    assert dataset.classes == 10
    assert dataset.train.images.shape == (36, 6, 5, 1)
    for splits, count in (((dataset.train, dataset.validation), 40), ((dataset.test,), 20)):
        images, labels = make.small_splits({"x": count}, (6, 5, 1))["x"]
        assert np.array_equal(rows(*splits), rows(make_examples(images, labels)))


def test_the_usual_tfds_folder(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    by_variable = data.load("mnist")
    monkeypatch.delenv("TFDS_DATA_DIR")
    home = prepared.parent / "home"
    home.mkdir(exist_ok=True)
    os.symlink(prepared, home / "tensorflow_datasets")
    monkeypatch.setenv("HOME", str(home))
    by_home = data.load("mnist")
    assert by_home.source == "TFDS folder ~/tensorflow_datasets/mnist/1.0.0"
    assert by_home.sha256 == by_variable.sha256 == data.load("mnist", path=prepared).sha256


def test_a_prepared_folder_of_another_set(prepared):
    message = error_of("kmnist", path=prepared / "mnist" / "1.0.0")
    assert "holds mnist: expected kmnist; ask for mnist" in message


def test_the_newest_version_is_read(tmp_path):
    splits = make.small_splits({"train": 20, "test": 10})
    for number in ("2.0.0", "10.0.0"):
        make.write_tfds(tmp_path, "mnist", splits, number=number)
    assert data.load("mnist", path=tmp_path).source.endswith("mnist/10.0.0")


def test_configurations(tmp_path):
    splits = make.small_splits({"train": 20, "test": 10})
    make.write_tfds(tmp_path, "emnist", splits, config="letters")
    assert data.load("emnist", path=tmp_path).source.endswith("emnist/letters/1.0.0")
    make.write_tfds(tmp_path, "emnist", splits, config="digits")
    assert data.load("emnist/letters", path=tmp_path).source.endswith("letters/1.0.0")
    message = error_of("emnist", path=tmp_path)
    assert "with the configurations digits, letters: expected one; ask for emnist/digits" in message
    assert error_of("emnist/mnist", path=tmp_path).startswith("emnist/mnist is not in")


def test_a_set_that_the_user_made(tmp_path):
    make.write_tfds(tmp_path, "my_flowers", make.small_splits({"train": 50}, (4, 4, 3)))
    dataset = data.load("my_flowers", path=tmp_path)
    assert_contract(dataset)
    assert tuple(len(split.labels) for split in dataset[1:4]) == (36, 4, 10)
    assert "as there is no official test split" in dataset.split


def test_a_second_label_is_no_trouble_if_tfds_names_the_pair(tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(6, 5, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
        "coarse_label": tfds.features.ClassLabel(num_classes=2),
    }
    splits = make.small_splits({"train": 20, "test": 10})
    make.write_tfds(
        tmp_path,
        "cifar100",
        splits,
        features=features,
        supervised_keys=("image", "label"),
        extra={"coarse_label": 1},
    )
    assert data.load("cifar100", path=tmp_path).classes == 10
    make.write_tfds(tmp_path, "two", splits, features=features, extra={"coarse_label": 1})
    message = error_of("two", path=tmp_path)
    assert "two is not an image classification set: it has 1 images and 2 class labels" in message


def test_a_set_with_too_few_examples(tmp_path):
    make.write_tfds(tmp_path, "few", make.small_splits({"train": 9, "test": 9}))
    assert "too few train examples: given 9, expected at least 10" in error_of("few", path=tmp_path)


def test_images_of_varying_size(tmp_path):
    import tensorflow_datasets as tfds

    features = {
        "image": tfds.features.Image(shape=(None, None, 1)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    images = [
        image[: 4 + index % 2] for index, image in enumerate(make.small_images(20, (6, 5, 1), 0))
    ]
    splits = {"train": (images, np.arange(20) % 10)}
    make.write_tfds(tmp_path, "varying", splits, features=features)
    message = error_of("varying", path=tmp_path)
    assert "varying/1.0.0, train: images of varying size, [" in message
    assert "expected one size" in message


@pytest.mark.parametrize("written", [b"", b"garbage" * 300, None])
def test_a_damaged_tfds_file_is_named(written, prepared, tmp_path):
    folder = copy_of(prepared, tmp_path)
    file = next(folder.glob("*train.array_record*"))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if written is None else written)
    message = error_of("mnist", path=folder)
    assert message.startswith(f"{folder}, train cannot be read (")
    assert "prepare it again" in message


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_damaged_tfds_metadata(file, prepared, tmp_path):
    folder = copy_of(prepared, tmp_path)
    (folder / file).write_text("{")
    assert error_of("mnist", path=folder).startswith(f"{folder} cannot be read (")


def test_a_file_format_that_needs_tensorflow(prepared, tmp_path):
    folder = copy_of(prepared, tmp_path)
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    message = error_of("mnist", path=folder)
    assert message.startswith(f"{folder} is prepared as tfrecord: expected array_record")


def copy_of(prepared: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "mnist" / "1.0.0"
    folder.mkdir(parents=True)
    for file in (prepared / "mnist" / "1.0.0").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


# The network, only where the user asks for it


def stand_in(monkeypatch, error: Exception | None = None, **keywords) -> None:
    """Let TFDS know a `cifar10` that fetches nothing, or fails as if it tried."""
    import tensorflow_datasets as tfds

    builder_class = make.tfds_builder_class(
        "cifar10", make.small_splits({"train": 20, "test": 10}, (4, 4, 3)), **keywords
    )
    if error is not None:

        def fail(self, dl_manager):
            raise error

        builder_class._split_generators = fail
    monkeypatch.setattr(tfds, "builder_cls", lambda name: builder_class)


def test_download(monkeypatch, tmp_path):
    stand_in(monkeypatch)
    root = tmp_path / "new"
    assert error_of("cifar10", path=root).startswith(f"cifar10 is not in {root}")
    assert not root.exists()
    first = data.load("cifar10", path=root, download=True)
    assert_contract(first)
    assert first.source == f"TFDS folder {root / 'cifar10' / '1.0.0'}"
    assert data.load("cifar10", path=root).sha256 == first.sha256
    assert data.load("cifar10", download=True).source.endswith("usual/cifar10/1.0.0")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow"),
            "TFDS needs TensorFlow to prepare cifar10 and it is not installed: expected it once, "
            "for preparing; pip install tensorflow-cpu",
        ),
        (
            ModuleNotFoundError("No module named 'h5py'", name="h5py"),
            "TFDS needs h5py to prepare cifar10",
        ),
        (
            ConnectionError("no\nroute"),
            "TFDS could not prepare cifar10 in",
        ),
    ],
)
def test_a_download_that_fails(error, message, monkeypatch, tmp_path):
    stand_in(monkeypatch, error)
    assert error_of("cifar10", path=tmp_path / "new", download=True).startswith(message)


def test_mnist_is_prepared_without_tensorflow(monkeypatch, tmp_path):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download.checksums import UrlInfo

    # TFDS looks into downloads/manual before it fetches, and checks size and sha256.
    manual = make.write_idx(tmp_path / "downloads" / "manual")
    builder_class = tfds.builder_cls("mnist")
    expected = {}
    for name in make.IDX_NAMES:
        written = (manual / f"{name}.gz").read_bytes()
        sha256 = hashlib.sha256(written).hexdigest()
        expected[f"{builder_class.URL}{name}.gz"] = UrlInfo(len(written), sha256, f"{name}.gz")
    monkeypatch.setattr(builder_class, "url_infos", expected)
    had_tensorflow = "tensorflow" in sys.modules
    dataset = data.load("mnist", path=tmp_path, download=True)
    assert ("tensorflow" in sys.modules) == had_tensorflow
    assert_contract(dataset)
    assert dataset.source == f"TFDS folder {tmp_path / 'mnist' / '3.0.1'}"
    from_idx = data.load("mnist", path=manual)
    assert np.array_equal(rows(*dataset[1:3]), rows(*from_idx[1:3]))
    assert np.array_equal(rows(dataset.test), rows(from_idx.test))
    assert tfds.builder_cls("mnist") is builder_class  # TFDS keeps its own
