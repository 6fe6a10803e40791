"""The host's side of streaming: which examples the next steps need, gathered ahead of them."""

import threading
from collections.abc import Callable, Generator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.population import Plan, spread, to_host
from jaxticket.protocol import Protocol
from jaxticket.types import Batch, Stream


class Call(NamedTuple):
    """The steps of one compiled call.

    Attributes:
      start: the first step.
      stop: the end.
    """

    start: int
    stop: int


class Orders:
    """The orders in which a population goes through its epochs.

    They are made on the device, each one epoch before it is needed, so that gathering for the
    next call does not wait for the present one; at most three are kept.
    """

    def __init__(self, make: Callable[[np.int32], Any], epochs: int) -> None:
        """Prepares; nothing is made yet.

        Args:
          make: `make(epoch)`, an array on the device, `int32[P, examples]`.
          epochs: how many there are.
        """
        self._make = make
        self._epochs = epochs
        self._made: dict[int, Any] = {}
        # A stream that reads ahead asks from other threads.
        self._lock = threading.Lock()

    def __call__(self, epoch: int) -> np.ndarray:
        """Gives one epoch's orders.

        Args:
          epoch: its index; once it is asked for, those before its predecessor are forgotten.

        Returns:
          `int32[P, examples]`.
        """
        with self._lock:
            for wanted in range(epoch, min(epoch + 2, self._epochs)):
                if wanted not in self._made:
                    self._made[wanted] = self._make(np.int32(wanted))
            for old in [made for made in self._made if made < epoch - 1]:
                del self._made[old]
            self._made[epoch] = to_host(self._made[epoch])
            return self._made[epoch]


def feed(
    stream: Stream, protocol: Protocol, orders: Orders, calls: list[Call], steps: int, plan: Plan
) -> Generator[Batch, None, None]:
    """Gathers and sends what each call needs, in the order of the calls.

    Args:
      stream: the training examples.
      protocol: gives the batch size.
      orders: from which the places of every step's examples follow.
      calls: what will be trained.
      steps: as many as the longest call has; shorter ones are filled up with zeros, so that one
        compilation serves all.
      plan: where the population is.

    Yields:
      `[P, steps * batch_size, ...]` leaves, on their way to the device.
    """
    rows = steps * protocol.batch_size

    def load(index: int) -> Batch:
        places = places_of(calls[index], protocol, stream.number, orders)
        return jax.tree.map(lambda leaf: _filled_up(leaf, rows), stream.rows(places))

    for fed in stream.ahead(load, len(calls)):
        yield spread(fed, plan)


def places_of(call: Call, protocol: Protocol, number: int, orders: Orders) -> np.ndarray:
    """Lists the places of the examples that the steps of a call train on.

    Args:
      call: the steps.
      protocol: gives the batch size.
      number: how many training examples there are.
      orders: of the epochs.

    Returns:
      `int32[P, steps * batch_size]`, batch after batch.

    Example:
      >>> orders = Orders(lambda epoch: np.arange(5)[None] + 10 * epoch, epochs=2)
      >>> places_of(Call(1, 4), Protocol(4, 2, 4), 5, orders).tolist()
      [[2, 3, 10, 11, 12, 13]]
    """
    size, an_epoch = protocol.batch_size, protocol.steps_an_epoch(number)
    parts, step = [], call.start
    while step < call.stop:
        epoch, place = divmod(step, an_epoch)
        end = min(an_epoch, place + call.stop - step)
        parts.append(orders(epoch)[:, place * size : end * size])
        step += end - place
    return np.concatenate(parts, axis=1)


def _filled_up(leaf: np.ndarray, rows: int) -> np.ndarray:
    missing = rows - leaf.shape[1]
    return np.pad(leaf, [(0, 0), (0, missing), *[(0, 0)] * (leaf.ndim - 2)]) if missing else leaf
