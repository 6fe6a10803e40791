"""What networks go back to when they restart, which the monitor compares their start with."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from jaxticket.arms import ARMS
from jaxticket.held import FROM_ZERO, zero_where_shrunk
from jaxticket.imp.invariants import Source, moments_of
from jaxticket.imp.setup import Setup
from jaxticket.records import Coordinate
from jaxticket.types import Mask, Params


def source_of(setup: Setup, state: Any) -> Source:
    """Takes of a learner's state what networks go back to.

    Args:
      setup: says whether any of them takes its moments.
      state: at the rewind step.

    Returns:
      The source.
    """
    moments = moments_of(state) if setup.lineages.moments.any() else ()
    return Source(state.params, state.model_state, moments)


def begun_source(setup: Setup, size: int) -> Callable[..., Source]:
    """Makes the function that puts weights at zero that shrank, where an arm lets them begin there.

    Args:
      setup: what was chosen.
      size: how many networks at a time.

    Returns:
      `begun(source, coordinates, initial, dense, mask)`, all along axis 0: what each network begins
      with, where its arm rewinds. `initial` is θ_0, `dense` θ_T, and the mask says which leaves are
      prunable.
    """
    zero_all = setup.over(lambda one: zero_where_shrunk(*one), size)

    def begun(
        source: Source,
        coordinates: Sequence[Coordinate],
        initial: Params,
        dense: Params,
        mask: Mask,
    ) -> Source:
        zeroed = np.array([ARMS[name.arm].pruned in FROM_ZERO for name in coordinates])
        if not zeroed.any():
            return source
        params = zero_all((source.params, initial, dense, mask))
        return source._replace(params=_choose(zeroed, params, source.params))

    return begun


def kept_source(setup: Setup, rewound: Source, params: Any, model_state: Any) -> Source:
    """Puts the trained weights in the place of those of the rewind step where they are kept.

    Args:
      setup: says which lineages keep them.
      rewound: along axis 0, by lineage.
      params: of the level before.
      model_state: of the level before.

    Returns:
      What each lineage's ticket goes on from.
    """
    keeps = setup.lineages.keeps_weights
    if not keeps.any():
        return rewound
    return rewound._replace(
        params=_choose(keeps, params, rewound.params),
        model_state=_choose(keeps, model_state, rewound.model_state),
    )


def _choose(rows: np.ndarray, one: Any, other: Any) -> Any:
    """Takes one tree's rows or another's, on the host."""

    def choose(leaf: np.ndarray, its: np.ndarray) -> np.ndarray:
        return np.where(rows.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, its)

    return jax.tree.map(choose, one, other)
