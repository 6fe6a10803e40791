"""TFDS's builders of MNIST and its like, with their TensorFlow code replaced by NumPy and Pillow.

TFDS un-gzips and encodes images with TensorFlow. These three sets are small and their format is
simple, so `--download` works for them without it. Name, version, features, addresses, checksums
and the order of the examples stay TFDS's, so the prepared folder is the same set.
"""

import io
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxticket.data.idx import FILES, read_idx

_SETS = ("mnist", "fashion_mnist", "kmnist")


def without_tensorflow(builder_class: Any) -> Any:
    """A builder class that needs no TensorFlow.

    Args:
      builder_class: a TFDS builder class.

    Returns:
      A subclass for mnist, fashion_mnist and kmnist; any other class as it is.
    """
    if builder_class.name not in _SETS:
        return builder_class
    from tensorflow_datasets.core import registered

    with registered.skip_registration():  # the registered class stays TFDS's

        class WithoutTensorFlow(builder_class):
            name = builder_class.name
            url_infos = builder_class.url_infos
            # TFDS looks for the set's description beside the module of the class.
            __module__ = builder_class.__module__

            def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
                names = {file: f"{file}.gz" for pair in FILES.values() for file in pair}
                fetched = dl_manager.download(
                    {file: urllib.parse.urljoin(self.URL, name) for file, name in names.items()}
                )
                return {
                    part: _examples(Path(fetched[images]), Path(fetched[labels]))
                    for part, (images, labels) in FILES.items()
                }

    return WithoutTensorFlow


def _examples(images: Path, labels: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """TFDS's key and example for each image; the key is its position, as in TFDS's own code."""
    pairs = zip(read_idx(images, 3), read_idx(labels, 1), strict=True)
    for key, (image, label) in enumerate(pairs):
        yield key, {"image": _png(image), "label": int(label)}


def _png(image: NDArray[np.uint8]) -> io.BytesIO:
    """A file that TFDS stores as it is, where an array would need TensorFlow to encode."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, format="png")
    file.seek(0)
    return file
