"""Two records or runs of the same networks, compared bit by bit."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.keys import is_typed_key
from jaxticket.masks.prunable import path_string
from jaxticket.records import Coordinate, Dropped, Record
from jaxticket.runs.loading import Run

_PARTS = ("masks", "params", "model_state", "observed", "curves")


class Difference(NamedTuple):
    """A leaf of one network that is not the same.

    Attributes:
      network: whose it is.
      path: of the leaf, its part of the record first.
      number: how many values differ.
      size: of how many; 0 where shapes or dtypes differ.
      largest: |a − b| where that is largest; NaN where no number says it.
    """

    network: Coordinate
    path: str
    number: int
    size: int
    largest: float

    def __str__(self) -> str:
        """Says it in a phrase."""
        who = f"{self.network.arm} level {self.network.level} replicate {self.network.replicate}"
        who += f" of {self.network.variant}" if self.network.variant else ""
        if not self.size:
            return f"{who}: {self.path} has another shape or dtype"
        return (
            f"{who}: {self.path} differs in {self.number:,} of {self.size:,} values, by up to "
            f"{self.largest:g}"
        )


def differences(first: Record | Run, second: Record | Run) -> list[Difference]:
    """Compares the networks that two records or runs have in common, to the bit.

    A part that only one of them holds, such as weights that were dropped, is not compared.

    Args:
      first: a record, whose trees may be flat dicts by leaf path, or a run from `load`.
      second: another one, of the same form.

    Returns:
      What differs, leaf by leaf; empty if nothing does.

    Raises:
      TicketError: for anything else, such as results.

    Example:
      >>> curves = {"test_loss": np.ones((1, 1), np.float32)}
      >>> one = Record(("ticket",), (0,), (0,), ("",), np.zeros(1), curves, {}, {}, {}, {})
      >>> other = one._replace(curves={"test_loss": np.full((1, 1), 1.5, np.float32)})
      >>> differences(one, one), str(*differences(one, other))
      ([], 'ticket level 0 replicate 0: curves/test_loss differs in 1 of 1 values, by up to 0.5')
    """
    _check(first, second)
    found: list[Difference] = []
    for one in _records(first, None):
        for other in _records(second, one.coordinates):
            found += _of_records(one, other)
    return found


def _check(*given: Any) -> None:
    for one in given:
        if not isinstance(one, (Record, Run)):
            raise TicketError(
                f"differences: got {type(one).__name__}, expected runs from load(directory), or "
                "records; xarray compares results: run.results.identical(other.results)"
            )


def _records(given: Record | Run, names: Collection[Coordinate] | None) -> Iterable[Record]:
    return [given] if isinstance(given, Record) else given.records(names)


def _of_records(first: Record, second: Record) -> list[Difference]:
    places = {name: place for place, name in enumerate(second.coordinates)}
    leaves, others = dict(_leaves(first)), dict(_leaves(second))
    found = []
    for place, name in enumerate(first.coordinates):
        if name not in places:
            continue
        for path in [path for path in leaves if path in others]:
            difference = _compare(leaves[path][place], others[path][places[name]])
            if difference is not None:
                found.append(Difference(name, path, *difference))
    return found


def _leaves(record: Record) -> Iterator[tuple[str, np.ndarray]]:
    yield "steps", np.broadcast_to(record.steps, (len(record.arms), *record.steps.shape))
    for part in _PARTS:
        for path, leaf in jax.tree_util.tree_leaves_with_path(getattr(record, part)):
            if isinstance(leaf, Dropped):
                continue
            array = np.asarray(jax.random.key_data(leaf) if is_typed_key(leaf) else leaf)
            yield f"{part}/{path_string(path)}", array


def _compare(one: Any, other: Any) -> tuple[int, int, float] | None:
    a, b = np.ascontiguousarray(one), np.ascontiguousarray(other)
    if a.shape != b.shape or a.dtype != b.dtype:
        return 0, 0, float("nan")
    if a.tobytes() == b.tobytes():
        return None
    unequal = (a.reshape(-1, 1).view(np.uint8) != b.reshape(-1, 1).view(np.uint8)).any(axis=1)
    with np.errstate(invalid="ignore"):
        distances = np.abs(a.astype(np.float64) - b.astype(np.float64)).ravel()[unequal]
    return int(unequal.sum()), a.size, float(np.max(distances))
