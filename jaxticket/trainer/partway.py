"""Networks in the middle of their training, kept now and then so that a kill costs little.

What is kept names the networks that it belongs to by a digest of all that they began with and of
the protocol, so it is never taken for others: after another start it is ignored, and the networks
train from their beginning. Learner, data and plan are not in the digest: one keeper is for one.
"""

import hashlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from jaxticket.keys import is_typed_key
from jaxticket.population import hosts
from jaxticket.population.pieces import print_note
from jaxticket.train.steps import Training
from jaxticket.types import Metrics


class Partway(NamedTuple):
    """A population on its way, on the host.

    Attributes:
      digest: of what it began with.
      stop: the step that it has reached.
      learner: the learner's states.
      observed: what the criterion observed up to there.
      sums: of the training metrics since the last evaluation, `float32[P]` by name.
      watched: what the evaluations left behind; `()` if all curves are wanted.
      rows: by step, what was evaluated until now.
      snapshots: by step, the states kept until now.
    """

    digest: str
    stop: int
    learner: Any
    observed: Any
    sums: dict[str, np.ndarray]
    watched: Any
    rows: dict[int, dict[str, np.ndarray]]
    snapshots: dict[int, Any]


@runtime_checkable
class Keeper(Protocol):
    """Keeps the newest population that is partway, in the place of any earlier one."""

    def load(self) -> Mapping[str, Any] | None:
        """Gives back what `save` was given; `None` if there is nothing that can be read."""
        ...

    def save(self, content: dict[str, Any]) -> None:
        """Keeps nested dicts of arrays, numbers and strings."""
        ...


class Keeping:
    """Decides when a population in training is kept, and finds it again."""

    def __init__(self, keeper: Keeper | None, seconds: float) -> None:
        """Prepares; nothing is read before it is asked for.

        Args:
          keeper: where; `None` for nowhere.
          seconds: of training that may be lost, plus one interval between evaluations.
        """
        self._keeper = keeper
        self._seconds = seconds
        self._last = time.monotonic()

    def resume(
        self, networks: Any, training: Any, like: Callable[[], tuple[Training, Metrics, Any]]
    ) -> Partway | None:
        """Finds networks that an earlier process left partway.

        Args:
          networks: what they would begin with.
          training: how they would be trained.
          like: gives the shapes of what they carry, their sums and what evaluations leave behind.

        Returns:
          What is kept of these networks; `None` if nothing is.
        """
        self._last = time.monotonic()
        content = None if self._keeper is None else self._keeper.load()
        try:
            if content is None or str(content["digest"]) != digest(networks, training):
                return None
            return _restored(content, *like())
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            print_note(
                f"what was kept of networks in training does not fit ({type(error).__name__}: "
                f"{error}); they begin again"
            )
            return None

    @property
    def due(self) -> bool:
        """Whether enough time has passed, by the clock of the first process."""
        if self._keeper is None:
            return False
        return hosts.once(lambda: time.monotonic() - self._last >= self._seconds)

    def keep(self, networks: Any, training: Any, partway: Partway) -> None:
        """Keeps a population.

        Args:
          networks: what it began with.
          training: how it is trained.
          partway: where it is; its digest is filled in.
        """
        if self._keeper is None:
            return
        content = {
            "digest": digest(networks, training),
            "stop": partway.stop,
            "learner": _listed(partway.learner),
            "observed": _listed(partway.observed),
            "sums": _listed(partway.sums),
            "watched": _listed(partway.watched),
            "rows": {str(step): row for step, row in partway.rows.items()},
            "snapshots": {str(step): _listed(tree) for step, tree in partway.snapshots.items()},
        }
        self._keeper.save(content)
        self._last = time.monotonic()


def digest(networks: Any, training: Any) -> str:
    """Names networks by everything that they begin with.

    Args:
      networks: arrays and typed keys, all on the host or readable from it.
      training: the step they begin at and whatever else decides; named by its `repr`.

    Returns:
      64 hexadecimal digits.

    Example:
      >>> digest({"w": np.zeros(2)}, 0) == digest({"w": np.zeros(2)}, 0) != digest({}, 0)
      True
    """
    found = hashlib.sha256(f"{training!r} {jax.tree.structure(networks)}".encode())
    for leaf in jax.tree.leaves(networks):
        array = np.asarray(jax.random.key_data(leaf) if is_typed_key(leaf) else leaf)
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(array.tobytes())
    return found.hexdigest()


def _restored(
    content: Mapping[str, Any], training: Training, sums: Metrics, watched: Any
) -> Partway:
    learner = training.learner
    return Partway(
        str(content["digest"]),
        int(content["stop"]),
        _unlisted(learner, content.get("learner", {})),
        _unlisted(training.observed, content.get("observed", {})),
        _unlisted(sums, content.get("sums", {})),
        _unlisted(watched, content.get("watched", {})),
        {int(step): dict(row) for step, row in content["rows"].items()},
        {int(s): _unlisted(learner, kept) for s, kept in content.get("snapshots", {}).items()},
    )


def _listed(tree: Any) -> dict[str, Any]:
    return {f"{place:05}": leaf for place, leaf in enumerate(jax.tree.leaves(tree))}


def _unlisted(like: Any, leaves: Mapping[str, Any]) -> Any:
    """Rebuilds a tree; NumPy reads back the bits of JAX's own number formats, not their names."""
    wanted, structure = jax.tree.flatten(like)
    pairs = zip(wanted, (leaves[place] for place in sorted(leaves)), strict=True)
    viewed = [(one, leaf.view(one.dtype)) for one, leaf in pairs]
    strange = [leaf.shape for one, leaf in viewed if leaf.shape != np.shape(one)]
    if strange:
        raise ValueError(f"a leaf of shape {list(strange[0])}")
    return jax.tree.unflatten(structure, [leaf for _, leaf in viewed])
