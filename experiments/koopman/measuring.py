"""Masks of Koopman, magnitude and random pruning at every time, and how they agree."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from experiments.common.experiment import Problem
from jaxticket import criteria, masks, prune
from jaxticket.criteria import Evidence
from jaxticket.errors import TicketError
from jaxticket.keys import derive, replicate_keys
from jaxticket.population import over, populate
from jaxticket.recipes import make_prunable
from jaxticket.result import Result
from jaxticket.trainer import Networks, Trained, trainer

MASKS = ("koopman", "magnitude", "random")
"""The masks that are made at every time."""


def times_of(problem: Problem) -> list[int]:
    """Lists the times in steps, from the first.

    Args:
      problem: what is run.

    Returns:
      Steps.

    Raises:
      TicketError: if one is past the end, or too early for so many snapshots.
    """
    config = problem.config
    times = sorted({step.at(problem.steps_an_epoch) for step in config.times})
    window = (config.snapshots - 1) * config.every + 1
    if times[0] < window or times[-1] > problem.protocol.steps or len(times) < 2:
        raise TicketError(
            f"--times: got {', '.join(map(str, config.times))}, expected at least two different "
            f"ones from step {window}, when {config.snapshots} snapshots have been taken, to step "
            f"{problem.protocol.steps}"
        )
    return times


def measure(problem: Problem, result: Result, results: xarray.Dataset) -> xarray.Dataset:
    """Adds the masks' overlaps and the accuracies of the pruned networks.

    Args:
      problem: what is run.
      result: unused: masks are made on the way, not at the end.
      results: the curves.

    Returns:
      The results with `overlap` (first, second, time, replicate), `pruned_accuracy` (mask, time,
      replicate) and `chance`, the overlap of random masks.
    """
    del result
    times = times_of(problem)
    found = [_at(problem, time) for time in times]
    overlap, accuracy = (np.stack([one[n] for one in found], axis=-2) for n in range(2))
    density = problem.config.density
    return results.assign_coords(time=times, mask=list(MASKS), other=list(MASKS)).assign(
        overlap=(("mask", "other", "time", "replicate"), overlap),
        pruned_accuracy=(("mask", "time", "replicate"), accuracy),
        chance=density / (2 - density),
    )


def _at(problem: Problem, time: int) -> tuple[np.ndarray, np.ndarray]:
    """Trains up to a time and compares the masks there: `[3, 3, R]` and `[3, R]`."""
    config = problem.config
    koopman = criteria.koopman_magnitude(snapshots=config.snapshots, every=config.every)
    trained = _train(problem, koopman, time)
    compare = populate(_compare(problem, koopman), problem.plan, compile_fast=True)
    keys = replicate_keys(jax.random.key(config.seed), config.replicates)
    network = trained.training.learner, trained.training.observed, keys
    size = problem.plan.padded(config.replicates)
    overlap, accuracy = over(compare, size)(network)
    return np.moveaxis(overlap, 0, -1), np.moveaxis(accuracy, 0, -1)


def _train(problem: Problem, criterion: criteria.Criterion, time: int) -> Trained:
    """Trains the dense networks of the run once more, watched, and only so far."""
    config = problem.config
    learner = problem.family({})
    keys = replicate_keys(jax.random.key(config.seed), config.replicates)
    states = jax.jit(jax.vmap(learner.init))(keys)
    dense = jax.vmap(lambda params: masks.ones(params, make_prunable(config)))(states.params)
    orders = jax.vmap(lambda key: derive(key, "train", 0))(keys)
    protocol = dataclasses.replace(problem.protocol, steps=time, evaluate_every=time)
    train = trainer(learner, criterion, protocol, problem.splits, problem.plan)
    host = lambda tree: jax.tree.map(np.asarray, tree)  # noqa: E731
    networks = Networks(host(states), host(dense), orders)
    return train(networks, problem.plan.padded(config.replicates))


def _compare(problem: Problem, koopman: criteria.Criterion) -> Callable[[Any], Any]:
    """Makes the function that prunes one network in all ways and compares the masks."""
    learner, allocation = problem.family({}), problem.allocation()
    chosen = [koopman, criteria.magnitude(), criteria.random()]
    examples = jax.tree.map(jnp.asarray, problem.dataset.test)

    def compare(network: Any) -> tuple[jax.Array, jax.Array]:
        state, observed, key = network
        dense = masks.ones(state.params, make_prunable(problem.config))
        size = sum(masks.sizes(dense).values())
        counts = {"*": round(problem.config.density * size)}
        evidence = Evidence(state.params, state.params, derive(key, "prune", 1))
        made = [
            prune.prune(
                one, allocation, evidence, dense, counts, observed if one is koopman else ()
            )
            for one in chosen
        ]
        overlap = jnp.stack([jnp.stack([masks.overlap(a, b) for b in made]) for a in made])
        accuracy = [learner.evaluate(state, mask, examples)["accuracy"] for mask in made]
        return overlap, jnp.stack(accuracy)

    return compare
