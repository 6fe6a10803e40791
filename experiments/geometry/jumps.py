"""What pruning does to the loss before anything is retrained, in several orders."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.geometry.stages import Point, examples_of, over_all, point
from jaxticket.allocate.base import keep_highest
from jaxticket.analysis import local_dimension, loss_over, projection, prunable_share
from jaxticket.keys import derive
from jaxticket.masks import path_string
from jaxticket.records import Result

ORDERS = ("smallest", "random", "largest")
"""Which weights of a layer go, by their magnitude."""

REMOVALS = (*ORDERS, "oneshot")
"""The first three take from the network of the level before what its layers lose there; the last
takes all that is gone by then from the dense network at once."""


def _in_order(order: str, point: Point, numbers: Any, key: Any) -> Any:
    """Keeps so many weights of each layer: what is left once the others went in an order."""

    def leaf(path: Any, mask: Any, weights: Any, number: Any) -> Any:
        size = jnp.abs(weights)
        if order == "random":
            size = jax.random.uniform(derive(key, path_string(path)), weights.shape)
        size = -size if order == "largest" else size
        return keep_highest(size.ravel(), mask.ravel(), number).reshape(mask.shape)

    prunable = jax.tree.map(lambda p, m: None if m is None else p, point.params, point.mask)
    return jax.tree_util.tree_map_with_path(leaf, point.mask, prunable, numbers)


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
        kept = [_in_order(order, before, _sum(after), key) for order in ORDERS]
        differs = jax.tree.map(lambda a, b: jnp.sum(a != b, dtype=jnp.int32), kept[0], after)
        jump = lambda at, mask: projection(  # noqa: E731
            loss_over(objective, at.model_state, examples, key=key), at.params, mask
        )
        from_before = jax.lax.map(
            lambda mask: jump(before, mask), jax.tree.map(lambda *m: jnp.stack(m), *kept)
        )
        whole = jax.tree.map(
            lambda many, last: jnp.append(many, last), from_before, jump(dense, once)
        )
        return whole, jnp.sum(jnp.stack(jax.tree.leaves(differs)), dtype=jnp.int32)

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
    exact = {"differing": int(differing.sum())} if plain and result.variants == ("",) else {}
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

        def at(share: Any, order: str) -> Any:
            left = jax.tree.map(lambda n: jnp.round(n * (1 - share)).astype(jnp.int32), kept)
            mask = _in_order(order, network, left, key)
            found = jax.tree.map(
                lambda p, m: p if m is None else jnp.where(m, p, 0), network.params, mask
            )
            moved = jax.tree.map(lambda a, b: jnp.sum((a - b) ** 2), found, network.params)
            return loss(found) - before, jnp.sqrt(jnp.sum(jnp.stack(jax.tree.leaves(moved))))

        each = [jax.lax.map(lambda s, o=order: at(s, o), shares) for order in ORDERS[:2]]
        size = sum(leaf.size for leaf in jax.tree.leaves(network.params))
        pruned = sum(leaf.size for leaf in jax.tree.leaves(network.mask))
        rest = jnp.sum(jnp.stack(jax.tree.leaves(kept))) + (size - pruned)
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each), rest

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
