"""The nouns of jaxticket: plain NamedTuples of pure functions over pytrees.

Everything here is written for *one* network. A population is axis 0, added by
`jaxticket.population`, never by a loop in the code that uses these types.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Array, PRNGKeyArray, Shaped

Numbers: TypeAlias = np.ndarray | np.floating
"""Results on the host: an array, or what NumPy makes of one without axes."""

PyTree: TypeAlias = Any
"""Containers of arrays; JAX takes any, and the types of Python cannot say more."""

Params: TypeAlias = PyTree
"""Nested plain dicts of float arrays, whatever library made them."""

ModelState: TypeAlias = PyTree
"""What a network carries beside its weights (batch statistics ...); `{}` if nothing."""

Mask: TypeAlias = PyTree
"""The params' structure with `bool` leaves (True = kept); `None` where not prunable."""

Scores: TypeAlias = PyTree
"""The params' structure with float leaves, higher = keep; `None` where not prunable."""

Metrics: TypeAlias = dict[str, Any]
"""Scalars by name, e.g. `{"loss": ..., "accuracy": ...}`."""

Batch: TypeAlias = PyTree
"""A pytree of arrays that share their leading axis, the examples."""

Data: TypeAlias = dict[str, Any]
"""Splits by name, each a `Batch`; `train`, from which training draws, may be a `Stream`."""


class Model(NamedTuple):
    """A network as two pure functions.

    Attributes:
      init: `init(key) -> (params, model_state)`.
      apply: `apply(params, model_state, x, *, train, key=None) -> (output, model_state)`.
        `x` has a leading batch axis. `key` feeds dropout and is only needed for it.
    """

    init: Callable[[PRNGKeyArray], tuple[Params, ModelState]]
    apply: Callable[..., tuple[Shaped[Array, "..."], ModelState]]


class Objective(NamedTuple):
    """What training minimises, in the parts that one may want to differentiate.

    The mean loss of a network is the mean of `loss(outputs, batch)` with its outputs
    `apply(params, model_state, prepare(batch), train=...)[0]`.

    Attributes:
      prepare: `prepare(batch) -> inputs`, what the network is given.
      apply: `apply(params, model_state, inputs, *, train, key=None) -> (outputs, model_state)`.
      loss: `loss(outputs, batch) -> float[n]`, one an example.
    """

    prepare: Callable[[Batch], Any]
    apply: Callable[..., tuple[Any, ModelState]]
    loss: Callable[[Any, Batch], Any]


class Examples(NamedTuple):
    """Labelled images, as they sit on the device.

    Attributes:
      images: `uint8[n, height, width, channels]`.
      labels: `int32[n]`, classes from 0.
    """

    images: Shaped[Array, "n h w c"]
    labels: Shaped[Array, " n"]


class Stream(NamedTuple):
    """Training examples that stay on the host, in memory or in files, until a step needs them.

    Attributes:
      number: how many examples there are.
      rows: `rows(places: int[...]) -> Batch`, the examples at these places: NumPy leaves
        `[*places.shape, ...]`.
      ahead: `ahead(load, number) -> Iterator`, which gives `load(0)` to `load(number - 1)` in
        this order and may load from other threads before it is asked.
    """

    number: int
    rows: Callable[[np.ndarray], Batch]
    ahead: Callable[[Callable[[int], Batch], int], Iterator[Batch]]
