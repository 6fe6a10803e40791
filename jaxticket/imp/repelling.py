"""Lineages whose networks are repelled from what they were trained to before.

Earlier solutions are an argument of the step, as hyperparameters are, and no part of the learner's
state: nothing that keeps a state keeps them too, and a search that resumes makes them anew from its
records, to the bit.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.imp.setup import Setup
from jaxticket.learners.base import Learner
from jaxticket.learners.family import Family
from jaxticket.learners.repulsion import Repulsion, make_repulsion, repellent_loss
from jaxticket.records import Record
from jaxticket.types import Mask, Params


class Repelled(NamedTuple):
    """What the learner of a network is made from if it is repelled.

    Attributes:
      hyperparameters: its own.
      repulsion: the term.
    """

    hyperparameters: Any
    repulsion: Repulsion


class _Earlier(NamedTuple):
    """What the term of one network is made from: `make_repulsion` says of each what it is."""

    optima: Params
    mask: Mask
    number: Any
    strength: Any


def repelling(family: Family) -> Family:
    """Adds the term to the learners of networks that are given one.

    Args:
      family: makes learners.

    Returns:
      The family: of `Repelled` it makes a learner with the term, of anything else its own.

    Example:
      >>> learner = Learner(init=None, step=None, evaluate=None, restart=None)
      >>> repelling(lambda given: learner)(()) is learner
      True
    """

    def made(given: Any) -> Learner:
        if not isinstance(given, Repelled):
            return family(given)
        learner = family(given.hyperparameters)
        assert learner.with_penalty is not None, "checked by find_tickets"
        return learner.with_penalty(partial(repellent_loss, given.repulsion))

    return made


def repeller(setup: Setup) -> Callable[[Setup, Sequence[Record], Mask], Any]:
    """Makes the function that says what the learners of a level's tickets are made from.

    Args:
      setup: what was chosen.

    Returns:
      `repel(setup, earlier, mask)`, given the search of a group of its replicates, the tickets of
      all levels before and the masks of this one:
      the lineages' hyperparameters from level 1 on, with the term of each if any is repelled. One
      compilation serves all levels.
    """
    if not setup.lineages.repulsion.any():
        return lambda group, earlier, mask: group.lineages.retraining_hyperparameters
    make_all = setup.over(lambda one: make_repulsion(*one), setup.ticket_size)

    def repel(group: Setup, earlier: Sequence[Record], mask: Mask) -> Repelled:
        lineages = group.lineages
        number = np.full(lineages.number, len(earlier), np.int32)
        optima = _padded([record.params for record in earlier], setup.levels - 1)
        made = make_all(_Earlier(optima, mask, number, lineages.repulsion))
        return Repelled(lineages.retraining_hyperparameters, made)

    return repel


def _padded(each: Sequence[Params], rows: int) -> Params:
    """Stacks solutions behind axis 0, `[L, rows, ...]`, zero where there is none yet."""

    def stack(*leaves: Any) -> np.ndarray:
        missing = [np.zeros_like(leaves[0])] * (rows - len(leaves))
        return np.stack([*leaves, *missing], axis=1)

    return jax.tree.map(stack, *each)
