"""Transfers that are finished, kept beside those in training, so that none is trained twice."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.population.pieces import print_note
from jaxticket.trainer import Keeper, Networks
from jaxticket.trainer.partway import digest
from jaxticket.transfer.gathering import Transfer


class Transferred(NamedTuple):
    """Networks that were trained on their targets.

    Attributes:
      names: of each network.
      steps: `int64[evaluations]`, the steps at which they were evaluated.
      curves: `float32[P, evaluations]` by `<split>_<metric>`; NaN where the protocol
        asks for no measurement.
      diverged: `int64[P]`, the step at which the loss was first not finite, −1 where it stayed so.
      kept: `int64[P]` by path, how many weights of each prunable leaf their masks keep.
      nonzero_pruned: `int64[P]`, pruned weights that are not 0.0 after training: 0 by contract.
      measured: `[P, ...]` by name, what `on_record` gave of their weights; `None` for nothing.
    """

    names: tuple[Transfer, ...]
    steps: np.ndarray
    curves: dict[str, np.ndarray]
    diverged: np.ndarray
    kept: dict[str, np.ndarray]
    nonzero_pruned: np.ndarray
    measured: dict[str, np.ndarray] | None = None


def beside(parts: Sequence[Transferred]) -> Transferred:
    """Puts transfers of several calls, or of several targets' learners, after each other.

    Args:
      parts: at least one, evaluated at the same steps and measured alike.

    Returns:
      All of them, in this order.

    Example:
      >>> name, step = Transfer("a", "b", "ticket", 1, 0), np.array([0])
      >>> one = Transferred((name,), step, {"test_loss": np.ones((1, 1))}, -step, {}, step)
      >>> beside([one, one]).curves["test_loss"].tolist()
      [[1.0], [1.0]]
    """

    def together(*values: Any) -> Any:
        if isinstance(values[0], dict):
            return {name: together(*(value[name] for value in values)) for name in values[0]}
        return None if values[0] is None else np.concatenate(values)

    names = tuple(name for part in parts for name in part.names)
    columns = [part[2:] for part in parts]
    return Transferred(names, parts[0].steps, *map(together, *columns))


class Finished:
    """Keeps finished transfers, and is the keeper of those in training, in one file.

    Both are found by a digest of what they began with and of how long they train: what another
    start would make is never taken for them. Learner, data and plan are not in it.
    """

    def __init__(self, keeper: Keeper | None, training: Any) -> None:
        """Reads what an earlier process has kept.

        Args:
          keeper: where; `None` for nowhere.
          training: how all transfers are trained; named by its `repr`.
        """
        self._keeper, self._how = keeper, training
        content = (None if keeper is None else keeper.load()) or {}
        training, finished = content.get("training"), content.get("finished")
        self._training = training if isinstance(training, dict) else None
        self._finished: dict[str, Any] = dict(finished) if isinstance(finished, dict) else {}

    def load(self) -> Mapping[str, Any] | None:
        """Gives back the networks that were in training."""
        return self._training

    def save(self, content: dict[str, Any]) -> None:
        """Keeps networks in training."""
        self._training = content
        self._write()

    def name(self, names: tuple[Transfer, ...], networks: Networks) -> str:
        """Gives the name by which transfers are found.

        Args:
          names: of the networks, which may begin alike and be called otherwise, as at home.
          networks: what they begin with.

        Returns:
          A digest of both; empty where nothing is kept.
        """
        if self._keeper is None:
            return ""
        return digest((networks, np.array([str(tuple(name)) for name in names])), self._how)

    def find(self, name: str, names: tuple[Transfer, ...], measured: bool) -> Transferred | None:
        """Finds finished transfers.

        Args:
          name: from `name`.
          names: of the networks.
          measured: whether something of their weights is wanted, which are not kept.

        Returns:
          The transfers; `None` if they are not finished, or lack what is wanted.
        """
        try:
            content = self._finished.get(name)
            found = None if content is None else _restored(content, names)
            return None if found is None or measured != (found.measured is not None) else found
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            print_note(
                f"what was kept of finished transfers does not fit ({type(error).__name__}: "
                f"{error}); they are trained again"
            )
            return None

    def keep(self, name: str, part: Transferred) -> None:
        """Keeps finished transfers in the place of those in training, whose end they are.

        Args:
          name: from `name`.
          part: what was found of them.
        """
        if self._keeper is None:
            return
        content = {
            "steps": part.steps,
            "curves": part.curves,
            "diverged": part.diverged,
            "layers": list(part.kept),
            "kept": np.stack(list(part.kept.values()), axis=1),
            "nonzero_pruned": part.nonzero_pruned,
        }
        if part.measured is not None:
            content["measured"] = part.measured
        self._finished[name] = content
        self._training = None
        self._write()

    def _write(self) -> None:
        content: dict[str, Any] = {"finished": self._finished}
        if self._training is not None:
            content["training"] = self._training
        if self._keeper is not None:
            self._keeper.save(content)


def _restored(content: Any, names: tuple[Transfer, ...]) -> Transferred:
    if not isinstance(content, Mapping):
        raise TypeError("no numbers by name")
    measured = content.get("measured")
    found = Transferred(
        names,
        np.asarray(content["steps"]),
        dict(content["curves"]),
        np.asarray(content["diverged"]),
        dict(zip(map(str, content["layers"]), np.asarray(content["kept"]).T, strict=True)),
        np.asarray(content["nonzero_pruned"]),
        None if measured is None else dict(measured),
    )
    wrong = [leaf for leaf in jax.tree.leaves(found[2:]) if leaf.shape[:1] != (len(names),)]
    if wrong:
        raise ValueError("numbers of other networks")
    return found
