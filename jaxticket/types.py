"""The nouns of jaxticket: plain NamedTuples of pure functions over pytrees.

Everything here is written for *one* network. A population is axis 0, added by
`jaxticket.population`, never by a loop in the code that uses these types.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from jaxtyping import Array, PRNGKeyArray, PyTree, Shaped

Params = PyTree[Any]
"""Nested plain dicts of float arrays, whatever library made them."""

ModelState = PyTree[Any]
"""What a network carries beside its weights (batch statistics ...); `{}` if nothing."""

Mask = PyTree[Any]
"""The params' structure with `bool` leaves (True = kept); `None` where not prunable."""

Scores = PyTree[Any]
"""The params' structure with float leaves, higher = keep; `None` where not prunable."""

Metrics = dict[str, Any]
"""Scalars by name, e.g. `{"loss": ..., "accuracy": ...}`."""

Batch = PyTree[Any]
"""A pytree of arrays that share their leading axis, the examples."""


class Model(NamedTuple):
    """A network as two pure functions.

    Attributes:
      init: `init(key) -> (params, model_state)`.
      apply: `apply(params, model_state, x, *, train, key=None) -> (output, model_state)`.
        `x` has a leading batch axis. `key` feeds dropout and is only needed for it.
    """

    init: Callable[[PRNGKeyArray], tuple[Params, ModelState]]
    apply: Callable[..., tuple[Shaped[Array, "..."], ModelState]]


class Examples(NamedTuple):
    """Labelled images, as they sit on the device.

    Attributes:
      images: `uint8[n, height, width, channels]`.
      labels: `int32[n]`, classes from 0.
    """

    images: Shaped[Array, "n h w c"]
    labels: Shaped[Array, " n"]
