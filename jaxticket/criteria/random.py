"""The criterion that knows nothing."""

from typing import Any

import jax

from jaxticket.criteria.base import Criterion, Evidence, stateless
from jaxticket.keys import derive
from jaxticket.masks.prunable import path_string
from jaxticket.types import Scores


def random() -> Criterion:
    """Scores by chance: uniform on [0, 1), drawn anew from `evidence.key`.

    Returns:
      The criterion.

    Example:
      >>> import jax.numpy as jnp
      >>> evidence = Evidence({"w": jnp.ones(2)}, {"w": jnp.ones(2)}, jax.random.key(0))
      >>> random().score((), evidence)["w"].shape
      (2,)
    """

    def score(evidence: Evidence) -> Scores:
        def draw(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
            return jax.random.uniform(derive(evidence.key, path_string(path)), leaf.shape)

        return jax.tree_util.tree_map_with_path(draw, evidence.final)

    return stateless(score, name="random")
