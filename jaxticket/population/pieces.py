"""Populations of any size on the host: padded, cut, joined."""

import operator
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.keys import is_typed_key
from jaxticket.population import hosts
from jaxticket.population.memory import MemoryLimitError


def print_note(line: str) -> None:
    """Prints a line for people to stderr.

    Args:
      line: what happened.
    """
    print(line, file=sys.stderr)


def pad(tree: Any, size: int) -> Any:
    """Fills a population up to `size` by repeating its networks from the first on.

    Args:
      tree: leaves with the population as axis 0, not empty.
      size: the wanted size, at least the present one.

    Returns:
      The padded tree.

    Example:
      >>> pad(jnp.array([1, 2, 3]), 5).tolist()
      [1, 2, 3, 1, 2]
    """

    def filled(leaf: Any) -> Any:
        number = leaf.shape[0]
        return leaf if number == size else leaf[np.arange(size) % number]

    return jax.tree.map(filled, tree)


def join(pieces: list[Any]) -> Any:
    """Puts pieces of a population on the host together again along axis 0.

    Args:
      pieces: trees of NumPy arrays and typed keys, of one structure.

    Returns:
      One tree.

    Example:
      >>> join([np.array([0, 1]), np.array([2])]).tolist()
      [0, 1, 2]
    """
    if len(pieces) == 1:
        return pieces[0]
    # NumPy has no typed keys.
    together = lambda *leaves: (  # noqa: E731
        np.concatenate(leaves) if isinstance(leaves[0], np.ndarray) else jnp.concatenate(leaves)
    )
    return jax.tree.map(together, *pieces)


def over(
    function: Callable[..., Any], size: int, note: Callable[[str], None] = print_note
) -> Callable[[Any], Any]:
    """Makes a populated function take any number of networks, on the host.

    Args:
      function: from `populate`, with nothing shared.
      size: networks it runs at a time, a multiple of the plan's devices; fewer where the
        devices have no memory for so many.
      note: is told so.

    Returns:
      A function that cuts, pads, runs, drops the padding and joins.

    Example:
      >>> from jaxticket.population import Plan, populate
      >>> over(populate(lambda x: x + 1, Plan("map")), 2)(np.arange(3)).tolist()
      [1, 2, 3]
    """

    def run_piece(piece: Any, size: int) -> Any:
        number = jax.tree.leaves(piece)[0].shape[0]
        outputs = to_host(function(pad(piece, size), number=number))
        return jax.tree.map(operator.itemgetter(slice(number)), outputs)

    fitting = Fitting(size, note)
    return lambda networks: join(fitting.run(run_piece, networks))


class Fitting:
    """Runs a population in pieces that fit, and remembers how many networks those are.

    Example:
      >>> pieces = Fitting(2).run(lambda piece, size: piece.tolist(), np.arange(3))
      >>> list(pieces)
      [[0, 1], [2]]
    """

    def __init__(self, size: int, note: Callable[[str], None] = print_note) -> None:
        """Begins with pieces of a size.

        Args:
          size: networks a piece.
          note: is told, in one line, where pieces become smaller.
        """
        self.size: int = size
        self._note = note

    def run(self, run_piece: Callable[[Any, int], Any], networks: Any) -> list[Any]:
        """Runs all pieces, each again in smaller ones where the devices have no memory for it.

        Args:
          run_piece: `run_piece(piece, size)`, for a piece of at most `size` networks.
          networks: leaves with the population as axis 0, on the host.

        Returns:
          What it returned, in order.

        Raises:
          TicketError: if not even one network on each device fits.
        """
        number, first, outputs = jax.tree.leaves(networks)[0].shape[0], 0, []
        while first < number:
            piece = operator.itemgetter(slice(first, first + self.size))
            try:
                outputs.append(run_piece(jax.tree.map(piece, networks), self.size))
                first += self.size
            except MemoryLimitError as error:
                self._shrink(error)
        return outputs

    def _shrink(self, error: MemoryLimitError) -> None:
        if error.fits < 1:
            raise TicketError(
                f"memory: {error}, and fewer cannot be; take a smaller network or batch, or a "
                "machine with more memory"
            ) from error
        self._note(f"memory: {error}; going on with {error.fits} at a time")
        self.size = error.fits


def to_host(tree: Any) -> Any:
    """Copies a tree to the host as NumPy arrays; typed keys stay as they are.

    Args:
      tree: arrays, sharded or not. What is sharded over several hosts is copied to each of
        them, so all processes call this alike.

    Returns:
      The tree on the host.

    Example:
      >>> type(to_host({"w": jnp.ones(2)})["w"]).__name__
      'ndarray'
    """
    return jax.tree.map(_leaf_to_host, tree)


def _leaf_to_host(leaf: Any) -> Any:
    if is_typed_key(leaf):
        data = _leaf_to_host(jax.random.key_data(leaf))
        return jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return hosts.gather(leaf)
    return np.asarray(jax.device_get(leaf))
