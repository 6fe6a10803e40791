"""Training examples that are read while the device computes: sets larger than a memory.

Grain is imported inside the function that needs it (2 s).
Source: https://google-grain.readthedocs.io
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from jaxticket.data.dataset import DataError, make_examples
from jaxticket.types import Batch, Examples, Stream


@runtime_checkable
class Source(Protocol):
    """Records by their place: a list, a TFDS or array_record data source, a grain dataset.

    A source that also has `__getitems__(places: list[int])` is asked for many at a time.
    """

    def __len__(self) -> int:
        """Counts the records."""
        ...

    def __getitem__(self, place: int, /) -> Any:
        """Reads one record."""
        ...


def streamed(
    source: Examples | Source,
    *,
    example: Callable[[Any], Examples] = lambda record: record,
    threads: int = 2,
    ahead: int = 2,
) -> Stream:
    """Makes the stream of a training split that the host reads ahead of the device, with grain.

    It goes where the training split goes, `find_tickets(..., data={"train": stream, ...})`, and
    is held on the device or streamed by its size, like arrays.

    Args:
      source: `Examples` of arrays, also memory-mapped ones (`numpy.load(file, mmap_mode="r")`),
        or records by their place.
      example: makes `Examples(uint8[height, width, channels], int)` of one record: decodes,
        resizes. Nothing random: it is given no key. Not used for arrays.
      threads: how many calls' examples are read at the same time.
      ahead: for how many calls they are kept ready, in the host's memory.

    Returns:
      The stream. Each record is read once a call, however many networks train on it.

    Raises:
      DataError: for fewer than 1 thread or call ahead; when reading, for images of several sizes.

    Example:
      >>> pair = [Examples(np.full((1, 1, 1), n, np.uint8), n) for n in range(3)]
      >>> stream = streamed(pair)
      >>> stream.rows(np.array([[2, 0]])).labels.tolist()
      [[2, 0]]
      >>> list(stream.ahead(lambda call: 10 * call, 3))
      [0, 10, 20]
    """
    if threads < 1 or ahead < 1:
        raise DataError(f"streamed: got {threads} threads, {ahead} calls ahead, expected 1 or more")
    if isinstance(source, Examples):
        arrays = jax.tree.map(np.asanyarray, source)
        number, rows = len(arrays.labels), _rows_of_arrays(arrays)
    else:
        number, rows = len(source), _rows_of_records(source, example)

    def read_ahead(load: Callable[[int], Batch], calls: int) -> Iterator[Batch]:
        import grain

        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
        loaded = grain.MapDataset.source(range(calls)).map(load)
        with contextlib.closing(iter(loaded.to_iter_dataset(options))) as ready:
            yield from ready

    return Stream(number, rows, read_ahead)


def _rows_of_arrays(arrays: Examples) -> Callable[[np.ndarray], Batch]:
    def rows(places: np.ndarray) -> Batch:
        images, labels = (np.take(leaf, places, axis=0) for leaf in arrays)
        return make_examples(images, labels)

    return rows


def _rows_of_records(
    source: Source, example: Callable[[Any], Examples]
) -> Callable[[np.ndarray], Batch]:
    def rows(places: np.ndarray) -> Batch:
        different, at = np.unique(places.ravel(), return_inverse=True)
        records = [example(record) for record in _read(source, different.tolist())]
        shapes = {np.shape(record.images) for record in records}
        if len(shapes) > 1:
            raise DataError(
                f"streamed: images of varying size, {' and '.join(map(str, sorted(shapes)))}: "
                "expected one size; resize them in example="
            )
        images = np.stack([np.asarray(record.images) for record in records])
        labels = np.array([record.labels for record in records], np.int32)
        shaped = at.reshape(places.shape)
        return make_examples(images[shaped], labels[shaped])

    return rows


def _read(source: Source, places: list[int]) -> Any:
    many = getattr(source, "__getitems__", None)
    return [source[place] for place in places] if many is None else many(places)
