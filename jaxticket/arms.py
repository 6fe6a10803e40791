"""Arms: the ticket and its controls, each a choice of mask and a choice of weights."""

import difflib
from typing import Literal, NamedTuple

from jaxticket.errors import TicketError, unknown


class Arm(NamedTuple):
    """What is trained at every density.

    Attributes:
      mask: `ticket`, the mask that iterative pruning found at that level; `shuffle`, the same
        permuted within each layer; `oneshot`, the mask of the same counts that one pruning of
        the trained dense network gives; `dense`, the mask that keeps everything.
      weights: the name of an action in `jaxticket.rewind`.
      question: what the arm answers, for tables and help.
      pruned: what pruned weights are held at, the name of a function in `jaxticket.held`; under
        some of them kept weights that shrank begin at zero.
      order: `train`, the data order, dropout and augmentation of the ticket at that level;
        `copy`, other ones.
    """

    mask: Literal["ticket", "shuffle", "oneshot", "dense"]
    weights: str
    question: str
    pruned: str = "zero"
    order: Literal["train", "copy"] = "train"


ARMS: dict[str, Arm] = {
    "ticket": Arm("ticket", "rewind", "iterative pruning, rewound"),
    "reinit": Arm("ticket", "reinit", "do the ticket's own weights matter?"),
    "shuffle": Arm("shuffle", "rewind", "does the place of each kept weight matter?"),
    "shuffle_reinit": Arm("shuffle", "reinit", "does anything but the density matter?"),
    "oneshot": Arm("oneshot", "rewind", "does pruning in many levels matter?"),
    "oneshot_reinit": Arm("oneshot", "reinit", "do the weights matter after one pruning?"),
    "reshuffle": Arm("ticket", "reshuffle", "does the place of each weight's value matter?"),
    "random_signed_constant": Arm("ticket", "random_signed_constant", "are values needed at all?"),
    "signed_reinit": Arm("ticket", "signed_reinit", "are the signs enough?"),
    "signed_reshuffle": Arm("ticket", "signed_reshuffle", "are signs and magnitudes enough?"),
    "signed_constant": Arm("ticket", "signed_constant", "are the signs alone enough?"),
    "sparsity_aware": Arm("ticket", "sparsity_aware", "does a draw by each unit's inputs do?"),
    "orthogonalized": Arm("ticket", "orthogonalized", "do isometries near the weights do better?"),
    "isometric": Arm("ticket", "isometric", "the same, under masks of any structure?"),
    "rewound": Arm("ticket", "rewind", "what if tickets of other retraining are rewound?"),
    "copy": Arm("ticket", "rewind", "is the ticket stable to the data's order?", order="copy"),
    "reinit_copy": Arm("ticket", "reinit", "is reinit stable to the data's order?", order="copy"),
    "shuffle_copy": Arm(
        "shuffle", "rewind", "is shuffle stable to the data's order?", order="copy"
    ),
    "dense": Arm("dense", "rewind", "is the dense network stable, level against level?"),
    "frozen": Arm("ticket", "rewind", "is zero the right value to prune to?", "initial"),
    "frozen_unless_shrunk": Arm(
        "ticket", "rewind", "is zero right where training went towards it?", "initial_unless_shrunk"
    ),
    "frozen_unless_shrunk_all": Arm(
        "ticket",
        "rewind",
        "should kept weights that shrank begin at zero, too?",
        "initial_unless_shrunk_all",
    ),
}
"""Every arm by name."""

MASK_1 = (
    "rewind",
    "reinit",
    "reshuffle",
    "random_signed_constant",
    "signed_reinit",
    "signed_reshuffle",
    "signed_constant",
)
"""What kept weights become in 1905.01067, by the names of `jaxticket.rewind`."""

MASK_0 = {
    "zero": "",
    "initial": "frozen",
    "initial_unless_shrunk": "frozen_unless_shrunk",
    "initial_unless_shrunk_all": "frozen_unless_shrunk_all",
}
"""What pruned weights become there, by the names of `jaxticket.held`, and what arms are called."""

_REST = {
    "initial": "the rest frozen",
    "initial_unless_shrunk": "the rest frozen unless it shrank",
    "initial_unless_shrunk_all": "the rest frozen and all that shrank zero",
}


def _crossed(kept: str, pruned: str) -> str:
    if kept == "rewind":
        return MASK_0[pruned] or "ticket"
    return "_".join(filter(None, (kept, MASK_0[pruned])))


CROSSED = {(kept, pruned): _crossed(kept, pruned) for kept in MASK_1 for pruned in MASK_0}
"""The arm of every mask-1 action with every mask-0 action, all of them on the ticket's mask."""

ARMS.update(
    (name, Arm("ticket", kept, f"{ARMS[kept].question[:-1]}, {_REST[pruned]}?", pruned))
    for (kept, pruned), name in CROSSED.items()
    if name not in ARMS
)

DEFAULT_ARMS = ("ticket", "reinit", "shuffle", "shuffle_reinit", "oneshot")
"""The ticket with the controls without which nothing is a ticket (1803.03635, section 2)."""


def check_arms(names: tuple[str, ...]) -> tuple[str, ...]:
    """Checks the names of arms and puts the ticket first.

    Args:
      names: keys of `ARMS`.

    Returns:
      The names without repetition; the ticket is always trained, since the others need it.

    Raises:
      TicketError: for an unknown name or none at all.

    Example:
      >>> check_arms(("reinit", "ticket"))
      ('ticket', 'reinit')
    """
    if not names:
        raise TicketError(f"arms: got none, expected some of {', '.join(_alike(''))}, ...")
    for name in names:
        if name not in ARMS:
            raise unknown("arm", name, _alike(name))
    return tuple(dict.fromkeys(("ticket", *names)))


def _alike(name: str) -> list[str]:
    """Lists the arms of one action, and of those that cross two only what a name is like."""
    crossed = [arm for pair, arm in CROSSED.items() if not {"rewind", "zero"} & set(pair)]
    shown = [arm for arm in ARMS if arm not in crossed]
    return [*shown, *difflib.get_close_matches(name, crossed, n=2, cutoff=0.7)]
