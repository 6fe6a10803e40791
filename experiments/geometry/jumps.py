"""What pruning does to the loss before anything is retrained, in several orders."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from experiments.geometry.stages import Point, examples_of, over_all, point
from jaxticket import masks
from jaxticket.allocate.base import keep_highest
from jaxticket.analysis import dimension, local_dimension, loss_over, projection, prunable_share
from jaxticket.analysis.projection import dot
from jaxticket.keys import derive
from jaxticket.result import Result

ORDERS = ("smallest", "random", "largest")
"""Which weights of a layer go, by their magnitude."""

REMOVALS = (*ORDERS, "oneshot")
"""The first three take from the network of the level before what its layers lose there; the last
takes all that is gone by then from the dense network at once."""


def _scores(point: Point, key: Any) -> Any:
    """Scores the weights of each layer in every order, along axis 0; what is low goes first."""
    prunable = jax.tree.map(lambda p, m: None if m is None else p, point.params, point.mask)
    flat, unravel = ravel_pytree(prunable)
    chances = unravel(jax.random.uniform(key, flat.shape, flat.dtype))

    def leaf(weights: Any, chance: Any) -> Any:
        return jnp.stack([jnp.abs(weights), chance, -jnp.abs(weights)])

    return jax.tree.map(leaf, prunable, chances)


def _keep(scores: Any, mask: Any, numbers: Any) -> Any:
    """Keeps so many weights of each layer, those of the highest scores."""
    keep = lambda s, m, n: keep_highest(s.ravel(), m.ravel(), n).reshape(m.shape)  # noqa: E731
    return jax.tree.map(keep, scores, mask, numbers)


def _sum(mask: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.sum(leaf, dtype=jnp.int32), mask)


def jumps(problem: Any, result: Result) -> dict[str, Any]:
    """Measures what pruning does to the loss at every level, before anything is retrained.

    Args:
      problem: gives the objective, the examples and the plan.
      result: the networks.

    Returns:
      Variables over (removal, level, replicate), NaN at level 0 and without the arm oneshot;
      `differing`, weights that differ between the mask without the smallest and the ticket's.
    """
    objective = problem.family({}).objective
    shape = len(REMOVALS), result.levels, result.replicates
    places = [(n, r) for n in range(1, result.levels) for r in range(result.replicates)]
    has_oneshot = "oneshot" in result.arms

    def given(level: int, r: int) -> Any:
        before, dense = point(result, "ticket", level - 1, r), point(result, "ticket", 0, r)
        once = point(result, "oneshot" if has_oneshot else "ticket", level, r).mask
        return before, point(result, "ticket", level, r).mask, dense, once

    def one(own: Any, examples: Any, key: Any) -> Any:
        before, after, dense, once = own
        key = derive(key, before.replicate)
        left = _sum(after)
        kept = jax.lax.map(lambda s: _keep(s, before.mask, left), _scores(before, key))
        differs = jax.tree.map(lambda k, a: jnp.sum(k[0] != a, dtype=jnp.int32), kept, after)
        every = jax.tree.map(lambda k, o: jnp.concatenate([k, o[None]]), kept, once)
        both = jax.tree.map(lambda *leaves: jnp.stack(leaves), before, dense)

        def jump(place: Any) -> Any:
            which, mask = place
            at = jax.tree.map(lambda leaf: leaf[which], both)
            loss = loss_over(objective, at.model_state, examples, key=key)
            return projection(loss, at.params, mask)

        # Only the last one is of the dense network.
        whose = jnp.arange(len(REMOVALS), dtype=jnp.int32) // len(ORDERS)
        found = jax.lax.map(jump, (whose, every))
        return found, jnp.sum(jnp.stack(jax.tree.leaves(differs)), dtype=jnp.int32)

    key = derive(jax.random.key(problem.config.seed), "jumps")
    points = [given(*place) for place in places]
    found, differing = over_all(problem, one, points, examples_of(problem), key)

    def laid(values: np.ndarray) -> np.ndarray:
        table = np.full(shape, np.nan)
        for (level, r), value in zip(places, values, strict=True):
            table[:, level, r] = value
        table[-1] = table[-1] if has_oneshot else np.nan
        return table

    dims = ("removal", "level", "replicate")
    # What is pruned by something else than magnitude has no reason to be the smallest.
    config = problem.config
    plain = config.criterion == "magnitude" and config.pruning == "iterative"
    exact = {"differing": int(differing.sum())} if plain and not problem.variants else {}
    return {
        **{f"jump_{name}": (dims, laid(value)) for name, value in found._asdict().items()},
        **exact,
        "removal": ("removal", list(REMOVALS)),
    }


def good_shares(problem: Any, result: Result, nodes: Any, weights: Any) -> dict[str, Any]:
    """Measures which share of a ticket's weights can go at once, beside what d_loc predicts.

    A share is good if the loss rises by less than ε without retraining. The prediction is the
    largest share s with s ≤ d_loc(ε, R(s)) / D, R(s) being how far pruning it moves the weights.

    Args:
      problem: gives the shares, the objective, the examples and the plan.
      result: the networks.
      nodes: eigenvalues of the tickets, `float[examined, replicate, start, step]`.
      weights: theirs.

    Returns:
      `good_share` and `predicted_share` (order, examined, replicate), 0 where none is good.
    """
    config, objective = problem.config, problem.family({}).objective
    levels = (0, *config.examined)
    shares = np.asarray(config.shares, np.float32)
    tickets = [point(result, "ticket", n, r) for n in levels for r in range(result.replicates)]

    def one(network: Point, examples: Any, key: Any) -> Any:
        key = derive(key, network.replicate)
        loss = loss_over(objective, network.model_state, examples, key=key)
        before = loss(network.params)
        kept = _sum(network.mask)

        scores = _scores(network, key)

        def at(place: Any) -> Any:
            order, share = place
            left = jax.tree.map(
                lambda n: jnp.round(n.astype(jnp.float32) * (1 - share)).astype(jnp.int32), kept
            )
            mask = _keep(jax.tree.map(lambda s: s[order], scores), network.mask, left)
            found = masks.apply(network.params, mask)
            moved = jax.tree.map(jnp.subtract, found, network.params)
            return loss(found) - before, jnp.sqrt(dot(moved, moved))

        # Every share in the first order, then in the second.
        tried = np.repeat(np.arange(2, dtype=np.int32), len(shares)), np.tile(shares, 2)
        each = jax.lax.map(at, tried)
        each = jax.tree.map(lambda values: values.reshape(2, len(shares)), each)
        return each, dimension(network.params, network.mask)

    key = derive(jax.random.key(config.seed), "shares")
    (rises, moved), sizes = over_all(problem, one, tickets, examples_of(problem), key)
    flat = lambda of: np.reshape(of, (len(tickets), 1, 1, *np.shape(of)[-2:]))  # noqa: E731
    local = local_dimension(
        flat(nodes),
        config.rise,
        moved,
        dimension=sizes[:, None, None],
        weights=flat(weights),
    )
    predicted = prunable_share(local, sizes[:, None, None]) >= shares
    largest = lambda good: np.where(good, shares, 0).max(-1)  # noqa: E731
    shape = len(levels), result.replicates, 2
    laid = lambda of: np.moveaxis(largest(of).reshape(shape), -1, 0)  # noqa: E731
    dims = ("order", "examined", "replicate")
    return {
        "good_share": (dims, laid(rises < config.rise)),
        "predicted_share": (dims, laid(predicted)),
        "order": ("order", list(ORDERS[:2])),
    }
