"""Several hosts: every process runs the same program, and this is where they meet.

What is decided on the host is decided everywhere from the same values, so processes need no
messages, except for what one of them does for all (`once`) and what must be equal (`check_same`).
With one process all of it is what one would write without it.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Sharding

from jaxticket.errors import TicketError
from jaxticket.keys import is_typed_key

_BLOCK = 1024
"""Messages are padded to multiples of this many bytes, so that few lengths are compiled for."""


class SharedError(TicketError):
    """A mistake that every process finds at the same place, so that one may tell it for all."""


def several() -> bool:
    """Says whether this process is one of several; starts no backend if it is not.

    Returns:
      True after `jax.distributed.initialize` with more than one process.

    Example:
      >>> several()
      False
    """
    return jax.distributed.is_initialized() and jax.process_count() > 1


def number() -> int:
    """Says how many processes share the run.

    Example:
      >>> number()
      1
    """
    return jax.process_count() if several() else 1


def is_primary() -> bool:
    """Says whether this process is the one that writes and prints.

    Returns:
      True in process 0, and where there is only one.

    Example:
      >>> is_primary()
      True
    """
    return not several() or jax.process_index() == 0


def once(function: Callable[[], Any]) -> Any:
    """Calls a function in the first process only, and gives every process what it returned.

    All processes wait for it, so what it writes is there afterwards.

    Args:
      function: returns what JSON can hold.

    Returns:
      The function's result, in every process.

    Raises:
      TicketError: that the function raised, in every process; of anything else, in the others.

    Example:
      >>> once(lambda: 3)
      3
    """
    if not several():
        return function()
    message: dict[str, Any] = {}
    failure: Exception | None = None
    if is_primary():
        try:
            message = {"value": function()}
        except TicketError as error:
            message = {"error": str(error), "misuse": error.misuse}
        except Exception as error:
            # The others wait for a word of this process, whatever has happened to it.
            failure = error
            message = {"error": f"process 0 failed: {error}", "misuse": False}
    message = json.loads(_broadcast(json.dumps(message).encode()))
    if failure is not None:
        raise failure
    if "error" in message:
        shared = SharedError(message["error"])
        shared.misuse = message["misuse"]
        raise shared
    return message["value"]


def check_same(what: str, value: str) -> None:
    """Checks that all processes hold the same value; otherwise they would wait for each other.

    Args:
      what: its name, for the error.
      value: the value, compared by its sha256.

    Raises:
      TicketError: in every process, naming those whose value is not that of process 0.

    Example:
      >>> check_same("seed", "0")
    """
    if not several():
        return
    digest = np.frombuffer(hashlib.sha256(value.encode()).digest(), np.uint8)
    digests = multihost_utils.process_allgather(digest)
    others = np.flatnonzero((digests != digests[0]).any(axis=1)).tolist()
    if others:
        raise SharedError(
            f"{what}: process {', '.join(map(str, others))} of {len(digests)} got another than "
            "process 0, expected the same; start the same command, on the same files, on every host"
        )


def largest(value: int) -> int:
    """Finds the largest of all processes' values, in every process.

    Args:
      value: this process's.

    Returns:
      The largest.

    Example:
      >>> largest(3)
      3
    """
    return int(multihost_utils.process_allgather(np.int32(value)).max()) if several() else value


def place(tree: Any, sharding: Sharding) -> Any:
    """Puts the same host values, which every process holds, on devices of all processes.

    Args:
      tree: arrays and typed keys on the host, or arrays that are placed already.
      sharding: over any devices.

    Returns:
      The tree on the devices; each process copies its own part only.

    Example:
      >>> device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
      >>> place(np.arange(3), device).tolist()
      [0, 1, 2]
    """
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: _place_leaf(leaf, sharding), tree)


def gather(array: jax.Array) -> np.ndarray:
    """Copies an array whose parts are in several processes to the host of each.

    Args:
      array: sharded in any way; all processes call this for the same array.

    Returns:
      The whole array.

    Example:
      >>> gather(jax.numpy.arange(3)).tolist()
      [0, 1, 2]
    """
    return multihost_utils.process_allgather(array, tiled=True)


def _place_leaf(leaf: Any, sharding: Sharding) -> Any:
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if is_typed_key(leaf):
        data = _place_leaf(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
    # Not device_put, which would first compare the values of all processes.
    value = np.asarray(leaf)
    value = value.astype(jax.dtypes.canonicalize_dtype(value.dtype), copy=False)
    return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])


def _broadcast(content: bytes) -> bytes:
    """Gives every process the bytes of the first."""
    length = int(multihost_utils.broadcast_one_to_all(np.uint32(len(content))))
    padded = np.zeros(-(-length // _BLOCK) * _BLOCK, np.uint8)
    if is_primary():
        padded[:length] = np.frombuffer(content, np.uint8)
    return multihost_utils.broadcast_one_to_all(padded)[:length].tobytes()
