"""What one network of a target is trained from: the ticket of a source, or a control of it."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from jaxticket import masks
from jaxticket.arms import ARMS as ALL_ARMS
from jaxticket.errors import TicketError, unknown
from jaxticket.keys import derive
from jaxticket.learners.base import Learner, LearnerState
from jaxticket.masks.prunable import matching, path_string
from jaxticket.rewind import ACTIONS
from jaxticket.transfer.tickets import Ticket
from jaxticket.types import Mask, Params

ARMS = tuple(
    name
    for name, arm in ALL_ARMS.items()
    if arm.mask in ("ticket", "shuffle") and arm.pruned == "zero"
)
"""Arms that a transfer may have: those that are made of the source's mask and weights alone."""

OutputMask = Literal["source", "dense"]
"""The mask of the layers that are renewed: the source's, or one that keeps all of the target's."""

Layers = Callable[[str, Any], bool]
"""`layers(path, leaf) -> bool`, as `masks.matching` makes it; biases too."""


class Renewed(NamedTuple):
    """What of a ticket stays behind: layers that get new initial weights in every transfer.

    Attributes:
      layers: which leaves; the output layer's by default, `masks.matching()` for none.
      mask: `source`, so that all that is kept is as much as in the source; `dense`, all of it,
        which keeps more than the source did, and lets the target's layers have another shape, as
        for another number of classes.
    """

    layers: Layers = matching("output/*", "*/output/*")
    mask: OutputMask = "source"


def carry(
    learner: Learner,
    ticket: Ticket,
    state: LearnerState,
    key: PRNGKeyArray,
    level: Any,
    arm: str,
    renewed: Renewed = Renewed(),  # noqa: B008
) -> tuple[LearnerState, Mask]:
    """Makes the state that one network of the target trains from, and its mask.

    Training starts from m ⊙ θ_k, but for the layers that are renewed, whose weights are those of
    a new initialisation θ'_0, masked too. A control takes another mask or other weights, as its
    arm says. What is drawn is drawn from the same keys as in `find_tickets`: with nothing renewed,
    a ticket carried to its own task is the native one to the bit, and so is every control.

    Args:
      learner: of the target.
      ticket: of the source.
      state: the target's own at the rewind step: its optimizer's schedules go on from it, its
        weights and moments are not used.
      key: of the replicate.
      level: from which the ticket is, `int32[]`; may be traced.
      arm: one of `ARMS`.
      renewed: what stays behind.

    Returns:
      The state, masked, its moments at zero, and the mask.

    Raises:
      TicketError: for another arm or mask of what is renewed.

    Example:
      >>> from jaxticket.learners import TrainState
      >>> make = lambda key: TrainState({"output": {"kernel": jnp.full((1, 2), 9.0)}}, {}, ())
      >>> restart = lambda state, params, mask, *, moments: state._replace(params=params)
      >>> learner = Learner(make, None, None, restart)
      >>> mask = {"output": {"kernel": jnp.array([[True, False]])}}
      >>> ticket = Ticket(mask, {"output": {"kernel": jnp.ones((1, 2))}}, {})
      >>> given = learner, ticket, make(None), jax.random.key(0), 1, "ticket"
      >>> [carry(*given, renewed)[0].params["output"]["kernel"].tolist()
      ...  for renewed in (Renewed(), Renewed(masks.matching()))]
      [[[9.0, 0.0]], [[1.0, 0.0]]]

    Source: 1906.02773: a mask and the weights at the rewind step, with a new output layer; that
    the controls are these is this project's choice.
    """
    check_arms((arm,))
    check_renewed(renewed)
    chosen, own = ALL_ARMS[arm], ALL_ARMS[arm].weights == "rewind"
    mask = jax.tree.map(jnp.asarray, ticket.mask)
    if chosen.mask == "shuffle":
        mask = masks.shuffle(derive(key, "shuffle", level), mask)
    fresh = learner.init(derive(key, "reinit", level))
    if renewed.mask == "dense":
        mask = _choose(renewed.layers, _all_of(fresh.params, mask), mask)
    # Of renewed layers nothing of the source is used, whose shapes may be others.
    given = _choose(renewed.layers, fresh.params, ticket.params)
    params = ACTIONS[chosen.weights](derive(key, "action", level), given, fresh.params, mask)
    params = masks.apply(_choose(renewed.layers, fresh.params, params), mask)
    # Batch statistics of θ_k describe θ_k only.
    model_state = ticket.model_state if own else fresh.model_state
    state = state._replace(model_state=model_state)
    return learner.restart(state, params, mask, moments=False), mask


def check_arms(arms: tuple[str, ...]) -> None:
    """Checks that arms can be carried over.

    Args:
      arms: names.

    Raises:
      TicketError: for one that is unknown, or needs more than the source's mask and weights.

    Example:
      >>> check_arms(("ticket", "shuffle_reinit"))
    """
    for arm in arms:
        if arm not in ALL_ARMS:
            raise unknown("arm", arm, ARMS)
        if arm not in ARMS:
            raise TicketError(
                f"arm of a transfer: got {arm}, expected one made of the source's mask and weights "
                f"alone: {', '.join(ARMS)}"
            )


def check_renewed(renewed: Renewed) -> None:
    """Checks what stays behind.

    Args:
      renewed: the choice.

    Raises:
      TicketError: for an unknown mask.

    Example:
      >>> check_renewed(Renewed(mask="dense"))
    """
    if renewed.mask not in get_args(OutputMask):
        raise unknown("mask of renewed layers", renewed.mask, get_args(OutputMask))


def _all_of(params: Params, mask: Mask) -> Mask:
    """Makes the mask that keeps all weights of the leaves that another mask has."""
    ones = lambda leaf, own: None if own is None else jnp.ones(leaf.shape, bool)  # noqa: E731
    return jax.tree.map(ones, params, mask)


def _choose(layers: Layers, inside: Any, outside: Any) -> Any:
    """Takes some layers of one tree and the rest of another."""
    return jax.tree_util.tree_map_with_path(
        lambda path, a, b: a if layers(path_string(path), a) else b, inside, outside
    )
