"""Where the training examples are: on the device, or on the host and streamed. Decided here."""

from typing import NamedTuple

import jax
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.population import Plan, hosts
from jaxticket.population.memory import device_memory, readable
from jaxticket.protocol import Protocol
from jaxticket.types import Batch, Data, Stream

FED_BYTES = 256 * 2**20
"""What one call is fed at most, in bytes on each device; this project's own choice."""


class Placement(NamedTuple):
    """Where the training split is while networks train. Results do not depend on it.

    Attributes:
      streams: whether the host feeds it; the other splits are on the device either way.
      fed_bytes: what one call is fed at most on each device, but at least one step's batches.
        While a call runs the next one's share is on the device too.
      reason: what was compared with what.
    """

    streams: bool
    fed_bytes: int
    reason: str

    def __str__(self) -> str:
        """Says it in one line, for the record of a run."""
        if not self.streams:
            return f"training examples on the device ({self.reason})"
        fed = f"at most {readable(self.fed_bytes)} at a time"
        return f"training examples streamed from the host, {fed} ({self.reason})"


def place(
    data: Data, plan: Plan, streaming: bool | None = None, resident_share: float = 0.5
) -> Placement:
    """Decides whether the training split is held on the device or streamed from the host.

    It streams if all splits together take more than `resident_share` of the memory that is free
    on a device, as `population.memory.device_memory` tells; CPU devices share their machine's,
    since each holds a copy. Where nobody tells the split is held. Of several processes the first
    one decides, so all call this.

    Args:
      data: the splits by name, on the host.
      plan: how the population runs.
      streaming: the choice, if the caller has made it.
      resident_share: in (0, 1].

    Returns:
      The decision. One call is fed at most an eighth of that share, and 256 MiB.

    Raises:
      TicketError: for another share.

    Example:
      >>> place({"train": np.zeros((4, 2))}, Plan("map"), streaming=False).streams
      False
    """
    if not 0.0 < resident_share <= 1.0:
        raise TicketError(f"resident share: got {resident_share}, expected above 0, at most 1")
    needed = sum(_bytes(split) for split in data.values())
    free, _, whose = device_memory(plan)
    if free is None:
        chosen = Placement(False, FED_BYTES, f"{readable(needed)}; memory of {whose}")
    else:
        share = int(resident_share * free)
        size = f"{readable(needed)} {'within' if needed <= share else 'above'} {readable(share)}"
        reason = f"{size}, {resident_share:.0%} of what is free on {whose}"
        chosen = Placement(needed > share, max(1, min(FED_BYTES, share // 8)), reason)
    if streaming is not None:
        chosen = chosen._replace(streams=streaming, reason="given")
    return Placement(*hosts.once(lambda: list(chosen)))


def as_stream(examples: Batch | Stream) -> Stream:
    """Makes a stream of examples in the host's memory; a stream stays itself.

    Rows are gathered when they are asked for, which is while the device computes. For files,
    or where one thread does not gather fast enough, see `jaxticket.data.streamed`.

    Args:
      examples: leaves with the examples as axis 0, or a stream.

    Returns:
      The stream.

    Example:
      >>> as_stream(np.array([5, 6, 7])).rows(np.array([[2, 0]])).tolist()
      [[7, 5]]
    """
    if isinstance(examples, Stream):
        return examples
    arrays = jax.tree.map(np.asarray, examples)

    def rows(places: np.ndarray) -> Batch:
        return jax.tree.map(lambda leaf: np.take(leaf, places, axis=0), arrays)

    number = jax.tree.leaves(arrays)[0].shape[0]
    return Stream(number, rows, lambda load, number: map(load, range(number)))


def as_arrays(examples: Batch | Stream) -> Batch:
    """Reads a whole stream into memory; arrays stay as they are.

    Args:
      examples: a stream, or leaves with the examples as axis 0.

    Returns:
      The arrays.

    Example:
      >>> as_arrays(as_stream(np.array([5, 6]))).tolist()
      [5, 6]
    """
    return examples.rows(np.arange(examples.number)) if isinstance(examples, Stream) else examples


def steps_a_call(protocol: Protocol, networks: int, step_bytes: int, fed_bytes: int) -> int:
    """Chooses how many steps are fed at a time: what the budget allows, evenly shared out.

    Args:
      protocol: says how long an evaluation interval is; no call is longer.
      networks: on one device.
      step_bytes: of one network's batch.
      fed_bytes: the budget of one device.

    Returns:
      The number of steps, at least 1.

    Example:
      >>> steps_a_call(Protocol(100, 8, 50), networks=2, step_bytes=10, fed_bytes=600)
      25
    """
    longest = min(protocol.evaluate_every, protocol.steps)
    most = max(1, fed_bytes // (networks * step_bytes))
    # As few calls as the budget allows, of one size: the last one's padding is copied too.
    calls = -(-longest // most)
    return -(-longest // calls)


def _bytes(split: Batch | Stream) -> int:
    if isinstance(split, Stream):
        return split.number * _bytes(split.rows(np.zeros(1, np.int64)))
    return sum(leaf.nbytes for leaf in jax.tree.leaves(split))
