"""Permutation alignment of many pairs of networks."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Key

from jaxticket.analysis.comparable import check_alike, ends
from jaxticket.analysis.connectivity.alignment import Alignment, align
from jaxticket.errors import TicketError
from jaxticket.population import to_host
from jaxticket.structure import Graph


def align_pairs(
    graph: Graph, firsts: Any, seconds: Any, keys: Key[Array, " pairs"], *, starts: int = 1
) -> Alignment:
    """Aligns each second network with its first, to the bit as `align` does with one pair.

    Pairs are aligned one after the other on the host: linear assignments are SciPy's, in float64.

    Args:
      graph: of all networks, from `structure.trace`.
      firsts: θ₁ of all pairs along axis 0, with `params` and `model_state`.
      seconds: θ₂, likewise.
      keys: of each pair's order of visits, `[pairs]`.
      starts: as in `align`.

    Returns:
      The second networks aligned, every attribute with the pairs along axis 0, so that it can be
      given to `barriers` as it is.

    Raises:
      TicketError: as `align`, and for keys that are not one a pair.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> from jaxticket.models import mlp
      >>> from jaxticket.structure import trace
      >>> model = mlp((4, 4, 1), widths=(6,), outputs=3)
      >>> keys = jax.random.split(jax.random.key(0), 2)
      >>> networks = TrainState(*jax.device_get(jax.vmap(model.init)(keys)), ())
      >>> graph = trace(model, *jax.eval_shape(model.init, keys[0]), (4, 4, 1))
      >>> align_pairs(graph, networks, networks, keys).permutations["hidden_0/kernel"].tolist()
      [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5]]

    Source: 2209.04836, section 3.2 and algorithm 1 (unverified).
    """
    first, second = to_host(ends(firsts)), to_host(ends(seconds))
    check_alike(first, second, "alignment, firsts and seconds")
    number = jax.tree.leaves(first)[0].shape[0]
    if keys.shape != (number,):
        raise TicketError(
            f"alignment: got keys {list(keys.shape)} for {number} pairs, expected one each; make "
            f"them with jax.random.split(key, {number})"
        )
    found = []
    for n in range(number):
        one, other = (jax.tree.map(lambda leaf, n=n: leaf[n], all_) for all_ in (first, second))
        found.append(align(graph, one, other, keys[n], starts=starts))
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)
