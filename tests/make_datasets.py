"""Writes small data sets in the formats that `jaxticket.data` reads."""

import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def small_images(count: int, shape: tuple[int, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def write_idx(folder: Path, *, train: int = 40, test: int = 20, compress: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    arrays = (
        small_images(train, (28, 28), 0),
        np.arange(train) % 10,
        small_images(test, (28, 28), 1),
        np.arange(test) % 10,
    )
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        data = idx_bytes(array)
        path = folder / (f"{name}.gz" if compress else name)
        path.write_bytes(gzip.compress(data, mtime=0) if compress else data)
    return folder


def jpeg_bytes(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="jpeg", quality=75)
    return file.getvalue()


def jpeg_arrays(train: int = 40, test: int = 20) -> dict[str, np.ndarray]:
    arrays = {}
    for part, count in (("train", train), ("test", test)):
        files = [jpeg_bytes(image) for image in small_images(count, (32, 32, 3), count)]
        arrays[f"{part}_jpeg"] = np.frombuffer(b"".join(files), np.uint8)
        arrays[f"{part}_offsets"] = np.cumsum([0, *map(len, files)])
        arrays[f"{part}_labels"] = (np.arange(count) % 10).astype(np.uint8)
    return arrays


def png(image: np.ndarray) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(image.squeeze()).save(file, format="png")
    file.seek(0)
    return file


def tfds_builder_class(
    name: str,
    splits: dict[str, tuple[np.ndarray, np.ndarray]],
    *,
    features: dict[str, Any] | None = None,
    supervised_keys: tuple[str, str] | None = None,
    configs: tuple[str, ...] = (),
    number: str = "1.0.0",
    extra: dict[str, Any] | None = None,
) -> Any:
    """A TFDS builder of images and labels that needs neither TensorFlow nor the network."""
    import tensorflow_datasets as tfds

    shape = next(iter(splits.values()))[0][0].shape
    features = features or {
        "image": tfds.features.Image(shape=shape),
        "label": tfds.features.ClassLabel(num_classes=10),
    }

    class Small(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(number)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config) for config in configs]  # noqa: RUF012

        def _info(self):
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(features),
                supervised_keys=supervised_keys,
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(*arrays) for split, arrays in splits.items()}

        def _generate_examples(self, images, labels):
            for key, (image, label) in enumerate(zip(images, labels, strict=True)):
                yield key, {"image": png(image), "label": int(label)} | (extra or {})

    Small.name = name
    return Small


def write_tfds(folder: Path, name: str, splits: Any, *, config: str | None = None, **kwargs: Any):
    """A prepared array_record folder; returns the version's folder."""
    import tensorflow_datasets as tfds

    builder_class = tfds_builder_class(name, splits, configs=(config,) if config else (), **kwargs)
    builder = builder_class(data_dir=folder, config=config)
    builder.download_and_prepare(
        download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        file_format="array_record",
    )
    return Path(builder.data_dir)


def small_splits(
    counts: dict[str, int], shape: tuple[int, ...] = (6, 5, 1)
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {
        split: (small_images(count, shape, count), np.arange(count) % 10)
        for split, count in counts.items()
    }
