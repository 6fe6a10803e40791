"""Populations of any size on the host: padded, cut, joined."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxticket.keys import is_typed_key


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
    return jax.tree.map(lambda leaf: leaf[np.arange(size) % leaf.shape[0]], tree)


def in_pieces(tree: Any, size: int) -> list[Any]:
    """Cuts a population into pieces of at most `size` networks.

    Args:
      tree: leaves with the population as axis 0.
      size: networks a piece.

    Returns:
      The pieces in order, the last one perhaps smaller.

    Example:
      >>> [piece.tolist() for piece in in_pieces(np.arange(5), 2)]
      [[0, 1], [2, 3], [4]]
    """
    number = jax.tree.leaves(tree)[0].shape[0]
    if number <= size:
        return [tree]
    bounds = [slice(first, first + size) for first in range(0, number, size)]
    return [jax.tree.map(operator.itemgetter(bound), tree) for bound in bounds]


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


def over(function: Callable[[Any], Any], size: int) -> Callable[[Any], Any]:
    """Makes a populated function take any number of networks, on the host.

    Args:
      function: from `populate`, with nothing shared.
      size: networks it runs at a time, a multiple of the plan's devices.

    Returns:
      A function that cuts, pads, runs, drops the padding and joins.

    Example:
      >>> from jaxticket.population import Plan, populate
      >>> over(populate(lambda x: x + 1, Plan("map")), 2)(np.arange(3)).tolist()
      [1, 2, 3]
    """

    def run_piece(piece: Any) -> Any:
        number = jax.tree.leaves(piece)[0].shape[0]
        outputs = to_host(function(pad(piece, size)))
        return jax.tree.map(operator.itemgetter(slice(number)), outputs)

    return lambda networks: join([run_piece(piece) for piece in in_pieces(networks, size)])


def to_host(tree: Any) -> Any:
    """Copies a tree to the host as NumPy arrays; typed keys stay as they are.

    Args:
      tree: arrays, sharded or not.

    Returns:
      The tree on the host.

    Example:
      >>> type(to_host({"w": jnp.ones(2)})["w"]).__name__
      'ndarray'
    """
    return jax.tree.map(_leaf_to_host, tree)


def _leaf_to_host(leaf: Any) -> Any:
    if is_typed_key(leaf):
        data = np.asarray(jax.device_get(jax.random.key_data(leaf)))
        return jax.random.wrap_key_data(jnp.asarray(data), impl=jax.random.key_impl(leaf))
    return np.asarray(jax.device_get(leaf))
