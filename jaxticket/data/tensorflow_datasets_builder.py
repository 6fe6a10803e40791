"""TFDS's own builders: which names there are, and fetching a set when the user asks for it.

TFDS is imported inside the functions that need it (0.8 s). Only `prepare` may use the network.
Source: https://www.tensorflow.org/datasets/api_docs/python/tfds/core/DatasetBuilder
"""

import contextlib
import difflib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxticket.data.dataset import DataError, one_line, shown
from jaxticket.data.mnist_builder import without_tensorflow
from jaxticket.data.tensorflow_datasets_reader import image_and_label, varying


def registered_names() -> list[str]:
    """All names that the installed TFDS knows, image sets or not, without network."""
    import tensorflow_datasets as tfds

    # Community sets are listed on a server: asking for them hangs for minutes offline.
    return tfds.list_builders(with_community_datasets=False)


def check_registered(name: str, others: Sequence[str] = ()) -> None:
    """Refuse, without network, a name that neither we nor TFDS know.

    Args:
      name: as the user gave it, perhaps with a configuration after `/`.
      others: valid names beside TFDS's.

    Raises:
      DataError: unknown; it names the nearest valid names.
    """
    names = registered_names()
    dataset = name.partition("/")[0]
    if dataset in names:
        return
    asked = dataset.lower().replace("-", "_").strip()
    near = difflib.get_close_matches(asked, sorted({*names, *others}), n=4, cutoff=0.6)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise DataError(
        f"unknown data set {name!r}: expected one of {', '.join(others)} or the name of a TFDS "
        f"image classification set{hint}"
    )


def make_builder(name: str, root: Path) -> Any:
    """The builder of a registered set that we can load, with nothing read or fetched yet.

    Args:
      name: a registered TFDS name, perhaps with a configuration after `/`.
      root: the TFDS data folder.

    Returns:
      A TFDS builder of an image classification set of one image size.

    Raises:
      DataError: another kind of set, no such configuration, or TFDS cannot make the builder on
        this machine.
    """
    import tensorflow_datasets as tfds

    dataset, _, config = name.partition("/")
    builder_class = without_tensorflow(tfds.builder_cls(dataset))
    configs = [known.name for known in builder_class.BUILDER_CONFIGS]
    if config and config not in configs:
        near = difflib.get_close_matches(config, configs, n=4, cutoff=0) or ["none"]
        raise DataError(
            f"{dataset} has no configuration {config!r}: expected one of {len(configs)}, the "
            f"nearest are {', '.join(near)}"
        )
    builder = _construct(builder_class, name, root, config)
    image, _ = image_and_label(builder, name)
    shape = builder.info.features[image].shape
    if None in shape:  # refused before the download, not after
        raise varying(name, f"declared as {list(shape)}")
    return builder


def _construct(builder_class: Any, name: str, root: Path, config: str) -> Any:
    try:
        # TFDS prints a banner when TensorFlow is missing; our own line says it.
        with contextlib.redirect_stdout(io.StringIO()):
            return builder_class(data_dir=root, config=config or None)
    except ImportError as error:
        raise _import_missing(name, error) from error
    except Exception as error:  # a builder's constructor may read files of its own
        raise DataError(
            f"TFDS cannot make {name} ({one_line(error)}): expected an image classification set "
            "that it can; choose another, such as cifar10"
        ) from error


def prepare(name: str, root: Path) -> Path:
    """Let TFDS fetch and prepare a set as array_record files. The only use of the network.

    Args:
      name: a registered TFDS name, perhaps with a configuration after `/`.
      root: the TFDS data folder to write to.

    Returns:
      The prepared version's folder.

    Raises:
      DataError: not a set that we can load, TensorFlow is needed and missing, or the download
        failed.
    """
    import tensorflow_datasets as tfds

    builder = make_builder(name, root)
    # TFDS's bucket of prepared sets cannot be asked without TensorFlow.
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    try:
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except ImportError as error:
        raise _import_missing(name, error) from error
    except Exception as error:  # network, checksums, disk, manual downloads: TFDS says which
        raise DataError(
            f"TFDS could not prepare {name} in {shown(root)} ({one_line(error)}): expected a "
            "network connection and space there; or give a prepared folder (--data-path, or path=)"
        ) from error
    return Path(builder.data_dir)


def _import_missing(name: str, error: ImportError) -> DataError:
    if (error.name or "").partition(".")[0] == "tensorflow" or "tensorflow" in str(error).lower():
        return DataError(
            f"TFDS needs TensorFlow to prepare {name} and it is not installed: expected it once, "
            "for preparing; pip install tensorflow-cpu and run this again (reading needs none)"
        )
    return DataError(
        f"TFDS needs {error.name or 'a package'} to prepare {name} ({one_line(error)}): "
        "install it and run this again"
    )
