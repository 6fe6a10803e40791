"""Which trained params a store keeps, and dropping those that it does not.

Masks, curves and model state of all networks stay, so that results are the same. Params are a
folder of their own in each checkpoint, which is taken out in one step and then removed: what a kill
leaves of it is removed the next time. Params that training needs again (a level that was lost, a
verification) are made again, to the bit, from the dense networks on.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from jaxticket.errors import unknown
from jaxticket.records import Coordinate

Keep = Literal["all", "tickets", "ends"]
"""Whose trained params stay on disk:

- `all`: of every network;
- `tickets`: of the tickets at all levels, of none of the controls;
- `ends`: of the dense networks and of the tickets' newest level.
"""

PARAMS = "params"
"""The folder in a checkpoint."""

DROPPED = "params-dropped"
"""An empty file beside it, which tells that it was dropped and not lost; Orbax knows no folders but
its own."""


def check_keep(name: str) -> None:
    """Checks what is to be kept.

    Args:
      name: one of `Keep`.

    Raises:
      TicketError: for another one.
    """
    if name not in get_args(Keep):
        raise unknown("keep", name, get_args(Keep))


def keeps_params(keep: Keep, arm: str, level: int, newest: int) -> bool:
    """Says whether the params of a network stay.

    Args:
      keep: what is kept.
      arm: its arm.
      level: its level.
      newest: level of the ticket that is finished.

    Returns:
      True if they do.

    Example:
      >>> [keeps_params("ends", "ticket", level, 2) for level in range(3)]
      [True, False, True]
    """
    if keep == "all":
        return True
    return arm == "ticket" and (keep == "tickets" or level in (0, newest))


def going_params(keep: Keep, described: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Lists the checkpoints whose params do not stay.

    Args:
      keep: what is kept.
      described: what checkpoints say of themselves, by number.

    Returns:
      Their numbers.

    Example:
      >>> ticket = {"arms": ["ticket"], "replicates": [0]}
      >>> going_params("ends", {n: ticket | {"levels": [n]} for n in range(3)})
      [1]
    """
    first = {
        step: Coordinate(said["arms"][0], said["levels"][0], said["replicates"][0])
        for step, said in described.items()
    }
    newest: dict[int, int] = {}
    for name in first.values():
        if name.arm == "ticket":
            newest[name.replicate] = max(name.level, newest.get(name.replicate, 0))
    # Groups of replicates begin with a replicate each; controls are no part of this.
    return [
        step
        for step, (arm, level, replicate, _) in first.items()
        if not keeps_params(keep, arm, level, newest.get(replicate, 0))
    ]


def has_params(step: Path) -> bool:
    """Says whether a checkpoint holds params, or some are left of those that it held.

    Args:
      step: its folder.

    Returns:
      True if there is something that `drop` would remove.
    """
    return (step / PARAMS).is_dir() or _left(step).is_dir()


def was_thinned(step: Path) -> bool:
    """Says whether the params of a checkpoint were dropped after they had been saved.

    Args:
      step: its folder.

    Returns:
      True if so.
    """
    return (step / DROPPED).is_file()


def drop(step: Path) -> None:
    """Drops the params of a checkpoint, at once or not at all.

    Args:
      step: its folder.
    """
    left = _left(step)
    if left.is_dir():
        shutil.rmtree(left)
    if (step / PARAMS).is_dir():
        (step / DROPPED).touch()
        (step / PARAMS).rename(left)
        shutil.rmtree(left)


def _left(step: Path) -> Path:
    return step.with_name(f".{step.name}-{DROPPED}")
