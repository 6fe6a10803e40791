"""Which examples a step is given: drawn on the device, or fed from the host in the same order."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from jaxticket import axes
from jaxticket.keys import derive
from jaxticket.protocol import Protocol
from jaxticket.types import Batch


class Fed(NamedTuple):
    """The training examples of one network's next steps, from the host.

    Attributes:
      examples: batch after batch, `[steps * batch_size, ...]` leaves, perhaps more than are used.
      first: the step that the first batch is for, `int32[]`.
    """

    examples: Batch
    first: Int[Array, ""] | int


def epoch_order(key: PRNGKeyArray, epoch: Any, number: int) -> Int[Array, " number"]:
    """Gives the order in which one epoch goes through the training examples.

    It is a function of `key` and `epoch` alone, so a network that restarts at step k goes on
    at position k of the data with nothing remembered.

    Args:
      key: the network's training key.
      epoch: index from 0, may be traced.
      number: how many examples there are.

    Returns:
      A permutation, `int32[number]`.

    Example:
      >>> sorted(epoch_order(jax.random.key(0), 0, 4).tolist())
      [0, 1, 2, 3]
    """
    return jax.random.permutation(derive(key, "order", epoch), jnp.arange(number, dtype=jnp.int32))


def draw(
    protocol: Protocol,
    examples: Batch | Fed,
    key: PRNGKeyArray,
    order: Int[Array, " examples"],
    index: Int[Array, ""] | int,
) -> tuple[Batch, Int[Array, " examples"]]:
    """Gives one step its batch, shared out over the devices of the network where it has several.

    Args:
      protocol: gives the batch size.
      examples: the training split, or what the host feeds of it.
      key: the network's training key.
      order: the present epoch's; replaced where an epoch begins, and not read if fed.
      index: the step.

    Returns:
      The batch, and the order of the step's epoch.

    Example:
      >>> fed = Fed(jnp.arange(6), first=3)
      >>> protocol, unread = Protocol(9, 2, 9), jnp.zeros(0, jnp.int32)
      >>> draw(protocol, fed, jax.random.key(0), unread, 4)[0].tolist()
      [2, 3]
    """
    size = protocol.batch_size
    if isinstance(examples, Fed):
        # Picked by index as below, so that a step is compiled alike in both cases.
        chosen = (index - examples.first) * size + jnp.arange(size, dtype=jnp.int32)
        return _pick(examples.examples, chosen), order
    an_epoch = protocol.steps_an_epoch(number_of(examples))
    place = index % an_epoch
    # The step index is the same for a whole population, so this stays a branch under vmap.
    order = jax.lax.cond(
        place == 0,
        lambda: epoch_order(key, index // an_epoch, order.shape[0]),
        lambda: order,
    )
    return _pick(examples, jax.lax.dynamic_slice(order, (place * size,), (size,))), order


def number_of(examples: Batch) -> int:
    """Counts examples.

    Args:
      examples: leaves with the examples as axis 0.

    Returns:
      How many there are.

    Example:
      >>> number_of({"x": jnp.ones((3, 2))})
      3
    """
    return jax.tree.leaves(examples)[0].shape[0]


def _pick(examples: Batch, chosen: Array) -> Batch:
    return axes.share_out(jax.tree.map(lambda leaf: jnp.asarray(leaf)[chosen], examples))
