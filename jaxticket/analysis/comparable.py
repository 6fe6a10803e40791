"""Which networks can be compared at all, and what keeps the others apart."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from jaxticket.errors import TicketError
from jaxticket.masks.basic import leaves_by_path
from jaxticket.types import ModelState, Params


class Networks(NamedTuple):
    """Networks along axis 0, or one of them.

    Attributes:
      params: their weights, zero where pruned.
      model_state: their batch statistics and the like.
    """

    params: Params
    model_state: ModelState


def together(networks: Mapping[str, Any]) -> Networks:
    """Puts networks side by side along axis 0, if all of them can be compared.

    Args:
      networks: by a name for messages (a run, an arm, a level): anything with `params` and
        `model_state`, such as a `records.Network`; where they have a `mask`, that is compared too.

    Returns:
      The networks in their order, on the host.

    Raises:
      TicketError: for none at all; one line that names the first two that cannot be compared, and
        all leaves that keep them apart: other shapes, integers, or another prunable set.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> wide, narrow = (TrainState({"w": np.zeros(n, np.float32)}, {}, ()) for n in (3, 2))
      >>> together({"one": wide, "other": wide}).params["w"].shape
      (2, 3)
      >>> together({"runs/a ticket": wide, "runs/b ticket": narrow})
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: runs/a ticket and runs/b ticket: got params/w: float32[3] \
and float32[2], expected the same shapes and dtypes, and equal integers, between which nothing \
lies; take two networks of one model and protocol
    """
    if not networks:
        raise TicketError("networks: got none, expected at least one by its name")
    (name, first), *others = networks.items()
    for other_name, other in others:
        both = f"{name} and {other_name}"
        check_alike(ends(first), ends(other), both)
        _check_prunable(first, other, both)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *map(ends, networks.values()))
    return stacked


def ends(network: Any) -> Networks:
    """Takes from anything with `params` and `model_state` these alone.

    Args:
      network: one, or many along axis 0.

    Returns:
      The same arrays.
    """
    return Networks(network.params, network.model_state)


def check_alike(first: Any, second: Any, names: str) -> None:
    """Checks that there is a line between two trees.

    Args:
      first: a tree of arrays.
      second: another one.
      names: what compares them, and their names there, before the message.

    Raises:
      TicketError: one line with all leaves that differ in more than the values of their floats.
    """
    ours, theirs = dict(leaves_by_path(first)), dict(leaves_by_path(second))
    faults = [
        f"{path}: {_describe(ours, path)} and {_describe(theirs, path)}"
        for path in sorted({*ours, *theirs})
        if _describe(ours, path) != _describe(theirs, path)
    ]
    faults = faults or [
        f"{path}: {_describe(ours, path)} of other values"
        for path in ours
        if _differ(ours[path], theirs[path])
    ]
    if faults:
        raise TicketError(
            f"{names}: got {'; '.join(faults)}, expected the same shapes and dtypes, and equal "
            "integers, between which nothing lies; take two networks of one model and protocol"
        )


def _check_prunable(first: Any, second: Any, names: str) -> None:
    if not (hasattr(first, "mask") and hasattr(second, "mask")):
        return
    ours, theirs = ({path for path, _ in leaves_by_path(one.mask)} for one in (first, second))
    if ours != theirs:
        raise TicketError(
            f"{names}: got {', '.join(sorted(ours ^ theirs))} prunable in one of them alone, "
            "expected the same prunable leaves; take two networks of one prunable set"
        )


def _describe(leaves: dict[str, Any], path: str) -> str:
    if path not in leaves:
        return "nothing"
    return f"{jnp.result_type(leaves[path])}{list(np.shape(leaves[path]))}"


def _differ(one: Any, other: Any) -> bool:
    known = not (isinstance(one, Tracer) or isinstance(other, Tracer))
    if not known or jnp.issubdtype(jnp.result_type(one), jnp.inexact):
        return False
    return bool(np.any(np.asarray(one) != np.asarray(other)))
