"""What transfers are made from: gathered along axis 0, and checked before anything is trained."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from jaxticket.errors import TicketError, unknown
from jaxticket.keys import replicate_keys
from jaxticket.masks.basic import leaves_by_path
from jaxticket.result import Result
from jaxticket.transfer.carrying import Renewed, check_arms
from jaxticket.transfer.tickets import Ticket, Tickets


class Transfer(NamedTuple):
    """The name of one network.

    Attributes:
      source: the variant whose ticket it is.
      target: the variant as which it trains.
      arm: one of `transfer.ARMS`.
      level: of the ticket.
      replicate: of the ticket, and of its keys.
    """

    source: str
    target: str
    arm: str
    level: int
    replicate: int


class Start(NamedTuple):
    """What one network is made from, along axis 0; `arm` is an index into the call's."""

    ticket: Ticket
    state: Any
    key: Any
    level: Any
    arm: Any
    hyperparameters: Any


def gather(
    source: Tickets,
    target: Result,
    names: Sequence[Transfer],
    arms: list[str],
    key: PRNGKeyArray,
    hyperparameters: Mapping[str, Any] | None,
) -> Start:
    """Collects along axis 0 what the networks are made from.

    Args:
      source: the tickets.
      target: gives the states at the rewind step.
      names: of the networks.
      arms: of the call, which `Start.arm` counts through.
      key: of the target's search.
      hyperparameters: of each target by name; none if `None`.

    Returns:
      Their starts, on the host.
    """
    from_rows = np.array([source.row(n.source, n.level, n.replicate) for n in names])
    to_rows = np.array([_row(target, n.target, n.replicate) for n in names])
    take = lambda tree, rows: jax.tree.map(lambda leaf: leaf[rows], tree)  # noqa: E731

    def of_levels(*masks: Any) -> np.ndarray:
        pairs = zip(names, from_rows, strict=True)
        return np.stack([masks[name.level][row] for name, row in pairs])

    ticket = Ticket(
        jax.tree.map(of_levels, *source.masks),
        take(source.params, from_rows),
        take(source.model_state, from_rows),
    )
    return Start(
        ticket=ticket,
        state=take(target.origin.rewound, to_rows),
        key=replicate_keys(key, target.replicates)[np.array([n.replicate for n in names])],
        level=np.array([name.level for name in names], np.int32),
        arm=np.array([arms.index(name.arm) for name in names], np.int32),
        hyperparameters=_stacked(names, hyperparameters),
    )


def _row(result: Result, variant: str, replicate: int) -> int:
    return result.variants.index(variant) * result.replicates + replicate


def _stacked(names: Sequence[Transfer], given: Mapping[str, Any] | None) -> Any:
    if given is None:
        return ()

    def stack(*values: Any) -> np.ndarray:
        together = np.array(values)
        return together.astype(np.int32 if together.dtype.kind in "iu" else np.float32)

    return jax.tree.map(stack, *[given[name.target] for name in names])


def check_names(source: Tickets, target: Result, names: Sequence[Transfer]) -> None:
    """Checks that there is what is asked for.

    Args:
      source: the tickets.
      target: the search on the targets.
      names: what is asked for.

    Raises:
      TicketError: for nothing, or for a name that is not there.
    """
    if not names:
        raise TicketError("transfer: got no networks, expected at least one")
    check_arms(tuple(dict.fromkeys(name.arm for name in names)))
    for name in names:
        source.row(name.source, name.level, name.replicate)
        if name.target not in target.variants:
            raise unknown("target of a transfer", name.target, target.variants)
        if name.replicate >= target.replicates:
            raise TicketError(
                f"transfer: got replicate {name.replicate}, expected one below the "
                f"{target.replicates} of the target"
            )


def check_shapes(source: Tickets, target: Result, renewed: Renewed) -> None:
    """Checks that both are networks of one shape, but for layers of which nothing is carried over.

    Args:
      source: the tickets.
      target: the search on the targets.
      renewed: what stays behind; where its mask is dense, with its shape.

    Raises:
      TicketError: naming the first leaf that differs.
    """
    there, here = (
        {path: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for path, leaf in leaves}
        for leaves in map(leaves_by_path, (source.params, target.origin.rewound.params))
    )
    for path in there | here:
        shapes = [one[path].shape if path in one else None for one in (there, here)]
        behind = None not in shapes and bool(renewed.layers(path, here[path]))
        if shapes[0] == shapes[1] or (behind and renewed.mask == "dense"):
            continue
        fix = (
            'this layer is renewed, but not its mask: give Renewed(mask="dense")'
            if behind
            else "stretch or widen the ticket to the target's first"
        )
        raise TicketError(
            f"transfer: {path} is {shapes[0]} in the source and {shapes[1]} in the target, "
            f"expected one network; {fix}"
        )
