"""The networks that all sides train: weights, masks, order of the batches, and one judge."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from benchmarks.common.problems import Problem
from jaxticket import masks
from jaxticket.keys import derive
from jaxticket.learners import TrainState
from jaxticket.learners.base import with_params
from jaxticket.population import Plan, populate, to_host
from jaxticket.train import epoch_order
from jaxticket.trainer import Networks


def make_networks(problem: Problem, tickets: int, density: float, seed: int) -> Networks:
    """Makes networks to be trained, with NumPy: weights, random masks, moments of zero, and keys.

    Args:
      problem: what is trained.
      tickets: how many networks.
      density: share of every kernel that is kept.
      seed: everything is derived from it; network r is the same however many there are.

    Returns:
      The networks along axis 0, pruned weights zero.
    """
    shapes = jax.eval_shape(problem.learner.init, jax.random.key(0))
    prunable = jax.eval_shape(masks.ones, shapes.params)
    made = [_make_network(shapes, prunable, density, (seed, index)) for index in range(tickets)]
    states, mask = jax.tree.map(lambda *leaves: np.stack(leaves), *made)
    keys = jax.vmap(lambda index: derive(jax.random.key(seed), "ticket", index))(
        jnp.arange(tickets)
    )
    return Networks(states, mask, keys)


def _make_network(shapes: Any, prunable: Any, density: float, seed: tuple[int, int]) -> Any:
    generator = np.random.default_rng(seed)
    mask = jax.tree.map(lambda leaf: _random_mask(generator, leaf.shape, density), prunable)
    # Adam's and momentum's moments and counts begin at zero, and so do biases.
    state = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _start(generator, masks.path_string(path), leaf), shapes
    )
    keep = lambda leaf, kept: leaf if kept is None else np.where(kept, leaf, np.float32(0))  # noqa: E731
    return with_params(state, jax.tree.map(keep, state.params, mask)), mask


def _start(generator: np.random.Generator, path: str, leaf: Any) -> np.ndarray:
    _, name = path.rsplit("/", 1)
    if path.startswith("params/") and name == "kernel":
        deviation = math.sqrt(2 / math.prod(leaf.shape[:-1]))
        return (deviation * generator.standard_normal(leaf.shape)).astype(leaf.dtype)
    value = 1 if not path.startswith("opt_state/") and name in ("scale", "var") else 0
    return np.full(leaf.shape, value, leaf.dtype)


def _random_mask(
    generator: np.random.Generator, shape: tuple[int, ...], density: float
) -> np.ndarray:
    size = math.prod(shape)
    return generator.permutation(np.arange(size) < round(density * size)).reshape(shape)


def batch_indices(problem: Problem, networks: Networks, steps: int) -> np.ndarray:
    """Lists the examples of every batch that the library will draw, for the loops by hand.

    Args:
      problem: gives the number of examples and the batch size.
      networks: their keys decide.
      steps: how many batches.

    Returns:
      `int32[tickets, steps, batch]`.
    """
    one = functools.partial(draw_batches, problem, steps=steps)
    return np.asarray(jax.jit(jax.vmap(one))(networks.keys))


def draw_batches(problem: Problem, key: PRNGKeyArray, steps: int) -> jax.Array:
    """Lists the examples of one network's batches.

    Args:
      problem: gives the number of examples and the batch size.
      key: the network's.
      steps: how many batches.

    Returns:
      `int32[steps, batch]`.
    """
    number, size = len(problem.train.labels), problem.setting.batch_size
    an_epoch = number // size
    epochs = [epoch_order(key, epoch, number) for epoch in range(-(-steps // an_epoch))]
    batches = [order[: an_epoch * size].reshape(an_epoch, size) for order in epochs]
    return jnp.concatenate(batches)[:steps]


def make_judge(problem: Problem) -> Callable[[Any, Any, Any], dict[str, np.ndarray]]:
    """Makes the function that evaluates on the test images, whoever trained the networks.

    Args:
      problem: what they were trained on.

    Returns:
      `judge(params, model_state, mask)`, leaves along axis 0; it gives `loss` and `accuracy`,
      `float32[tickets]`.
    """
    evaluate = populate(
        lambda network, test: problem.learner.evaluate(
            TrainState(network[0], network[1], ()), network[2], test
        ),
        Plan("map"),
    )
    test = jax.device_put(problem.test)
    return lambda params, model_state, mask: to_host(evaluate((params, model_state, mask), test))
