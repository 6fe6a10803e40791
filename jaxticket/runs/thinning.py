"""Which trained params a store keeps, and dropping those that it does not.

Masks, curves and model state of all networks stay, so that results are the same. Params are a
folder of their own in each checkpoint, which is renamed in one step and then emptied: what a kill
leaves of it is removed the next time. Params that training needs again (a level that was lost, a
verification) are made again, to the bit, from the dense networks on.
"""

import shutil
from pathlib import Path
from typing import Literal, get_args

from jaxticket.errors import unknown

Keep = Literal["all", "tickets", "ends"]
"""Whose trained params stay on disk:

- `all`: of every network;
- `tickets`: of the tickets at all levels, of none of the controls;
- `ends`: of the dense networks and of the tickets' newest level.
"""

PARAMS = "params"
"""The folder in a checkpoint."""

_DROPPED = "params-dropped"


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


def has_params(step: Path) -> bool:
    """Says whether a checkpoint holds params, or some that are not dropped whole.

    Args:
      step: its folder.

    Returns:
      True if there is something that `drop` would remove.
    """
    dropped = step / _DROPPED
    return (step / PARAMS).is_dir() or (dropped.is_dir() and any(dropped.iterdir()))


def was_thinned(step: Path) -> bool:
    """Says whether the params of a checkpoint were dropped after they had been saved.

    Args:
      step: its folder.

    Returns:
      True if so.
    """
    return (step / _DROPPED).is_dir()


def drop(step: Path) -> None:
    """Drops the params of a checkpoint, at once or not at all.

    An empty folder stays in their place, which tells that they were dropped and not lost.

    Args:
      step: its folder.
    """
    params, dropped = step / PARAMS, step / _DROPPED
    if params.is_dir():
        if dropped.is_dir():
            shutil.rmtree(dropped)
        params.rename(dropped)
    for path in dropped.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
