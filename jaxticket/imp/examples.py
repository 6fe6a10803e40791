"""Whether splits can be trained on, said before anything is computed."""

from typing import Any

import jax
import numpy as np

from jaxticket.errors import TicketError
from jaxticket.learners.base import Learner
from jaxticket.types import Data, Examples, Stream


def check_data(data: Data, learner: Learner) -> None:
    """Checks that the arrays of each split belong together, and its labels to the network.

    Args:
      data: the splits by name.
      learner: the first that trains on them.

    Raises:
      TicketError: one line on the first split that cannot be used.

    Example:
      >>> learner = Learner(init=None, step=None, evaluate=None, restart=None)
      >>> images = np.zeros((3, 8, 8, 1), np.uint8)
      >>> check_data({"train": Examples(images, np.zeros(2, np.int32))}, learner)
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: data: got a split 'train' whose arrays have 2 and 3 rows, \
expected as many rows in each, one an example
    """
    if "train" not in data:
        raise TicketError(f"data: got splits {list(data)}, expected one named train among them")
    for name, split in data.items():
        _check_name(name)
        if isinstance(split, Stream):
            continue
        _check_rows(name, split)
        if isinstance(split, Examples) and learner.objective is not None:
            _check_labels(name, split, learner)


def _check_name(name: str) -> None:
    """Refuses a split whose curves, `<split>_<metric>`, would be taken for those of another."""
    for always in ("train", "validation"):
        if name.startswith(f"{always}_"):
            other = f"{name.removeprefix(f'{always}_')}_{always}"
            raise TicketError(
                f"data: got a split {name!r}, expected no name that begins with {always}_, since "
                f"its curves would be taken for those of {always}; call it {other}, for instance"
            )


def _check_rows(name: str, split: Any) -> None:
    leaves = jax.tree.leaves(split)
    sizes = sorted({np.shape(leaf)[0] if np.ndim(leaf) else 0 for leaf in leaves})
    if len(sizes) > 1:
        raise TicketError(
            f"data: got a split {name!r} whose arrays have {' and '.join(map(str, sizes))} rows, "
            "expected as many rows in each, one an example"
        )
    if not any(sizes):
        raise TicketError(f"data: got a split {name!r} without examples, expected some, or no such")


def _check_labels(name: str, split: Examples, learner: Learner) -> None:
    """Refuses classes that the network has no output for, whose loss would not be a number."""
    labels = np.asarray(split.labels)
    if not np.issubdtype(labels.dtype, np.integer):
        return
    outputs = _outputs(split, learner)
    if outputs > 1 and labels.max() >= outputs:
        raise TicketError(
            f"data: got the label {labels.max()} in the split {name!r}, expected 0 to "
            f"{outputs - 1}: the network has {outputs} outputs"
        )


def _outputs(split: Examples, learner: Learner) -> int:
    """Counts the network's outputs, without computing any."""
    objective = learner.objective
    assert objective is not None, "only where it is known"

    def outputs(key: Any, batch: Any) -> Any:
        state = learner.init(key)
        inputs = objective.prepare(batch)
        return objective.apply(state.params, state.model_state, inputs, train=False)[0]

    one = jax.tree.map(lambda leaf: leaf[:1], split)
    return jax.eval_shape(outputs, jax.random.key(0), one).shape[-1]
