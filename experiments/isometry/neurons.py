"""Whole neurons of a perceptron, pruned by the L1 norm of their incoming weights.

A neuron that goes takes all its weights along, those that lead into it and those that lead out of
it, so that its bias, whatever it is, reaches nothing.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from jaxticket.allocate import Allocation
from jaxticket.allocate.base import Counts, keep_highest, totals
from jaxticket.criteria import Criterion, Evidence
from jaxticket.criteria.base import stateless
from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import Mask, Scores


def incoming_norms() -> Criterion:
    """Scores every weight by the L1 norm of all weights into its neuron: Σ_i |W_ij|.

    Returns:
      The criterion.

    Example:
      >>> evidence = Evidence({}, {"kernel": jnp.array([[1.0], [-2.0]])}, jax.random.key(0))
      >>> incoming_norms().score((), evidence)["kernel"].tolist()
      [[3.0], [3.0]]

    Source: filter pruning by L1 norm, 1608.08710, as 2105.05916 prunes.
    """

    def score(evidence: Evidence) -> Scores:
        def norms(leaf: Any) -> Any:
            return jnp.broadcast_to(jnp.sum(jnp.abs(leaf), axis=0, keepdims=True), leaf.shape)

        return jax.tree.map(norms, evidence.final)

    return stateless(score)


def neurons(share: float) -> Allocation:
    """Prunes the same share of the neurons of every hidden layer, those of the lowest scores.

    Args:
      share: of the remaining neurons that goes at each level, in (0, 1).

    Returns:
      The allocation; its counts are weights by leaf path. Kernels must follow one another in the
      order of their leaves, and all of them be prunable.

    Raises:
      TicketError: for a share outside (0, 1); when a schedule is made, for other networks.

    Example:
      >>> import numpy as np
      >>> mask = {"hidden": np.ones((6, 10), bool), "output": np.ones((10, 3), bool)}
      >>> neurons(0.8).schedule(mask, 2)[1]
      {'hidden': 12, 'output': 6}
    """

    def schedule(mask: Mask, levels: int) -> list[Counts]:
        layers = leaves_by_path(mask)
        shapes = [leaf.shape for _, leaf in layers]
        chained = all(a[-1] == b[0] for a, b in itertools.pairwise(shapes))
        if not chained or any(len(shape) != 2 for shape in shapes):
            raise TicketError(
                f"neurons: got kernels of shapes {shapes}, expected a chain of matrices; take a "
                "perceptron, such as mlp_7, all of whose kernels are prunable"
            )
        hidden = [totals(share, shape[1], levels) for shape in shapes[:-1]]
        sides = [[shapes[0][0]] * levels, *hidden, [shapes[-1][1]] * levels]
        return [
            {path: sides[n][level] * sides[n + 1][level] for n, (path, _) in enumerate(layers)}
            for level in range(levels)
        ]

    return Allocation(schedule, _select)


def _select(scores: Scores, mask: Mask, counts: Counts) -> Mask:
    """Keeps whole neurons: as many of a layer as its weights are times the neurons before it."""
    of_layer = dict(leaves_by_path(scores))
    chosen, inputs = [], None
    layers = leaves_by_path(mask)
    for place, (path, kept) in enumerate(layers):
        alive = jnp.ones(kept.shape[0], bool) if inputs is None else inputs
        outputs = jnp.ones(kept.shape[1], bool)
        if place < len(layers) - 1:
            number = jnp.asarray(counts[path], jnp.int32) // jnp.sum(alive, dtype=jnp.int32)
            outputs = keep_highest(of_layer[path][0], kept.any(axis=0), number)
        chosen.append(kept & alive[:, None] & outputs[None])
        inputs = outputs
    return jax.tree.unflatten(jax.tree.structure(mask), chosen)
