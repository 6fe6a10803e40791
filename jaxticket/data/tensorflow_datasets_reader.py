"""Reads folders that TensorFlow Datasets (TFDS) prepared: no TensorFlow, no network.

TFDS is imported inside the functions that need it (0.8 s).
Source: https://www.tensorflow.org/datasets/data_source
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxticket.data.dataset import (
    DataError,
    Dataset,
    make_dataset,
    make_examples,
    make_splits,
    one_line,
    shown,
)
from jaxticket.types import Examples

_INFO = "dataset_info.json"
_SPLITS = ("train", "validation", "test")
_CHUNK = 1024


def data_root() -> Path:
    """Where TFDS keeps prepared sets: `TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find_prepared(folder: Path, name: str) -> Path | None:
    """The newest prepared version of a set.

    Args:
      folder: a TFDS data folder, the set's folder in it, or one version's folder.
      name: the TFDS name, `"mnist"`, or with a configuration, `"emnist/letters"`.

    Returns:
      The folder with `dataset_info.json`, or `None` if there is none.

    Raises:
      DataError: several configurations are there and the name does not say which.
    """
    if (folder / _INFO).is_file():
        return folder
    dataset, _, config = name.partition("/")
    is_own = folder.name == dataset and not (folder / dataset).is_dir()
    base = folder if is_own else folder / dataset
    # A version lies in the set's folder or, if there are configurations, in one of theirs.
    versions = [info.parent for info in (base / config).glob(f"*/{_INFO}")]
    if not versions and not config:
        versions = [info.parent for info in base.glob(f"*/*/{_INFO}")]
    configs = sorted({version.parent.name for version in versions if version.parent != base})
    if not config and len(configs) > 1:
        raise DataError(
            f"{name} is prepared in {shown(base)} with the configurations {', '.join(configs)}: "
            f"expected one; ask for {name}/{configs[0]}"
        )
    return max(versions, key=_version_key, default=None)


def _version_key(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in folder.name.split("."))


def read_prepared(folder: Path, name: str) -> Dataset:
    """A prepared set, all of its splits in memory.

    Args:
      folder: one version's folder, as `find_prepared` gives it.
      name: the name that the set was asked for by; the folder must hold that set.

    Returns:
      The set; its `source` names the folder.

    Raises:
      DataError: another set, no image classification set, images of varying size, a damaged
        file, or a file format that cannot be read without TensorFlow.
    """
    builder = _open(folder)
    if builder.name != name.partition("/")[0]:
        raise DataError(
            f"{shown(folder)} holds {builder.name}: expected {name}; ask for {builder.name} or "
            "give the folder of the set that you asked for"
        )
    image, label = image_and_label(builder, name)
    official = {
        part: _read_split(builder, part, image, label, f"{shown(folder)}, {part}")
        for part in _SPLITS
        if part in builder.info.splits and builder.info.splits[part].num_examples
    }
    classes = builder.info.features[label].num_classes
    try:
        splits = make_splits(official)
    except DataError as error:
        raise DataError(f"{name} ({shown(folder)}): {error}") from error
    return make_dataset(name, splits, classes, f"TFDS folder {shown(folder)}")


def _open(folder: Path) -> Any:
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder_from_directory(folder)
        formats = {file_format.value for file_format in builder.info.available_file_formats()}
    except Exception as error:  # TFDS raises whatever its parsers do
        raise _damaged(shown(folder), error) from error
    if not formats & {"array_record", "parquet"}:
        raise DataError(
            f"{shown(folder)} is prepared as {', '.join(sorted(formats)) or 'nothing'}: expected "
            "array_record, which needs no TensorFlow; prepare it elsewhere with --data-path NEW "
            "--download, or path=NEW, download=True"
        )
    return builder


def image_and_label(builder: Any, name: str) -> tuple[str, str]:
    """The names of the image and label features of an image classification set.

    They are the set's supervised pair or, without one, its only image and its only class label.

    Args:
      builder: a TFDS builder.
      name: for the message.

    Returns:
      The two keys of an example.

    Raises:
      DataError: the set has no such pair.
    """
    import tensorflow_datasets as tfds

    features = builder.info.features
    named: dict[str, Any] = (
        dict(features.items()) if isinstance(features, tfds.features.FeaturesDict) else {}
    )
    # Subclasses of Image are other things: label images, videos' frames.
    images = [key for key, feature in named.items() if type(feature) is tfds.features.Image]
    labels = [key for key, feature in named.items() if type(feature) is tfds.features.ClassLabel]
    pair = builder.info.supervised_keys
    if pair and len(pair) == 2 and pair[0] in images and pair[1] in labels:
        images, labels = [pair[0]], [pair[1]]
    if len(images) != 1 or len(labels) != 1:
        raise DataError(
            f"{name} is not an image classification set: it has {len(images)} images and "
            f"{len(labels)} class labels ({', '.join(named) or 'no named features'}), expected "
            "one of each; choose a set with one image and one label, such as cifar10"
        )
    pixel = np.dtype(named[images[0]].np_dtype)
    if pixel != np.uint8:
        raise DataError(
            f"{name}: images are {pixel}, expected uint8; choose a set with 8-bit images, such as "
            "cifar10"
        )
    return images[0], labels[0]


def _read_split(builder: Any, split: str, image: str, label: str, where: str) -> Examples:
    try:
        records: Sequence[dict[str, Any]] = builder.as_data_source(split)
        count = len(records)
        first = np.asarray(records[0][image])
    except Exception as error:  # array_record and the decoders raise many types
        raise _damaged(where, error) from error
    images, labels = np.empty((count, *first.shape), np.uint8), np.empty(count, np.int32)
    for start in range(0, count, _CHUNK):
        index = range(start, min(start + _CHUNK, count))
        try:
            chunk = records.__getitems__(list(index))  # type: ignore[attr-defined]
        except Exception as error:
            raise _damaged(where, error) from error
        for position, record in zip(index, chunk, strict=True):
            if record[image].shape != first.shape:
                raise varying(where, f"{list(first.shape)} and {list(record[image].shape)}")
            images[position], labels[position] = record[image], record[label]
    return make_examples(images, labels)


def _damaged(where: str, error: Exception) -> DataError:
    return DataError(
        f"{where} cannot be read ({one_line(error)}): expected a set prepared by TFDS; "
        "delete that folder and prepare it again (--download, or download=True)"
    )


def varying(where: str, sizes: str) -> DataError:
    """The error for a set that does not stack into one array."""
    return DataError(
        f"{where}: images of varying size, {sizes}: expected one size; choose a set of one size, "
        "such as cifar10, or prepare a resized one with TFDS"
    )
