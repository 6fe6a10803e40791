"""What a search computes besides training, each compiled once for all levels and groups."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxticket.imp.control_starts import Start, start_one
from jaxticket.imp.next_masks import Pruned, prune_one
from jaxticket.imp.repelling import repeller
from jaxticket.imp.restarts import Restart, restart_one
from jaxticket.imp.setup import Setup
from jaxticket.imp.sources import begun_source

Init = Callable[[Any], Any]
"""Of hyperparameters and keys, the learner's states that networks begin with."""


class Programs(NamedTuple):
    """Functions of any number of networks, along axis 0 and on the host.

    Attributes:
      init: see `Init`.
      prune: the masks of a level, and how many scores were not finite.
      restart: the states that the tickets of a level are trained from.
      repel: what their learners are made from; see `repeller`.
      start: by how many at a time, the control networks as they start.
      begun: likewise, where they begin whose arm says so; see `begun_source`.
    """

    init: Init
    prune: Callable[[Pruned], Any]
    restart: Callable[[Restart], Any]
    repel: Callable[..., Any]
    start: Callable[[int], Callable[[Start], Any]]
    begun: Callable[[int], Callable[..., Any]]


def make_programs(setup: Setup) -> Programs:
    """Makes the programs of a search, which compile when they are first used.

    Args:
      setup: what was chosen, for all replicates.

    Returns:
      The programs; those of a group of replicates are the same.
    """
    size = setup.ticket_size
    return Programs(
        setup.over(lambda one: setup.family(one[0]).init(one[1]), size),
        setup.over(prune_one(setup), size),
        setup.over(restart_one(setup), size),
        repeller(setup),
        functools.cache(lambda size: setup.over(start_one(setup), size)),
        functools.cache(lambda size: begun_source(setup, size)),
    )
