"""What a topology is: a rule by which the mask of a network changes while it trains."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from jaxticket.allocate.base import Allocation
from jaxticket.allocate.sparing import check_spared, sparing
from jaxticket.criteria.base import Criterion, CriterionState, Evidence
from jaxticket.criteria.combined import together
from jaxticket.criteria.random import random
from jaxticket.errors import TicketError
from jaxticket.prune import prune_by, schedule
from jaxticket.types import Mask, Params

Start = Callable[[PRNGKeyArray, Params, Mask], Mask]
"""`start(key, params, dense) -> mask`, what is kept at step 0; `dense` keeps all."""


class Topology(NamedTuple):
    """When the mask of one network changes during training, and into what.

    Attributes:
      due: `due(step) -> bool[]`, whether it changes after so many steps, `int32[]`, traced.
      change: `change(step, evidence, limit, observed=()) -> mask`. The evidence holds the present
        params and mask, the batch of the step that was just made, a key of this change, and θ_0
        if the criterion reads `initial`. `limit` is where weights may be: the present mask and
        the new one are subsets of it. `observed` is what the criterion observed.
      criterion: what it scores with, so that training keeps θ_0 for it and lets it watch; `None`
        if it needs neither.
    """

    due: Callable[[Int[Array, ""]], Bool[Array, ""]]
    change: Callable[..., Mask]
    criterion: Criterion | None = None


def everything(key: PRNGKeyArray, params: Params, dense: Mask) -> Mask:
    """Starts dense; a `Start`.

    Args:
      key: unused.
      params: unused.
      dense: the mask that keeps all.

    Returns:
      `dense`.

    Example:
      >>> everything(jax.random.key(0), {}, {"w": np.ones(2, bool)})["w"].tolist()
      [True, True]
    """
    del key, params
    return dense


def at_random(allocation: Allocation, *, empty_layers: bool = False) -> Start:
    """Starts at random places, as many in each layer as an allocation keeps at its level 1.

    Args:
      allocation: how many weights are kept; counted from the dense mask, on the host.
      empty_layers: whether a layer may be left without a weight. If not, every layer keeps one,
        drawn as all others, wherever weights compete, and as many are kept in all.

    Returns:
      The start.

    Raises:
      MaskError: when a network starts, if the allocation leaves no weight for a layer, unless
        `empty_layers`, naming it.

    Example:
      >>> from jaxticket import allocate
      >>> params, dense = {"w": np.ones((5, 4), "f")}, {"w": np.ones((5, 4), bool)}
      >>> mask = at_random(allocate.uniform(0.75))(jax.random.key(0), params, dense)
      >>> int(mask["w"].sum())
      5
    """
    select = allocation.select if empty_layers else sparing(allocation.select)

    def start(key: PRNGKeyArray, params: Params, dense: Mask) -> Mask:
        whole = _concrete(dense)
        counts = schedule(allocation, whole, 2, empty_layers=empty_layers)[1]
        if not empty_layers:
            check_spared("start", allocation.select, whole, counts)
        return prune_by(random(), select, Evidence(params, params, key), dense, counts)

    return start


def one_of(choices: Sequence[Any], which: Any) -> Any:
    """Gives the topology, or the start, at a place that may be traced.

    So networks that differ in their rule or their density are one population, and each is what
    it would be alone.

    Args:
      choices: topologies, or starts; at least one.
      which: the place of the chosen one, from 0; a traced one outside is the nearest.

    Returns:
      A topology or a start.

    Raises:
      TicketError: if there is none, or a number that is not traced is no place.

    Example:
      >>> one_of([everything], 0)(jax.random.key(0), {}, {"w": np.ones(1, bool)})["w"].tolist()
      [True]
    """
    number, known = len(choices), isinstance(which, int | np.integer)
    if number < 1 or (known and not 0 <= which < number):
        raise TicketError(f"choice {which} of {number}: expected 0 to {number - 1}")
    if known:
        return choices[which]

    def switch(branches: list[Callable[..., Any]]) -> Callable[..., Any]:
        return lambda *args: jax.lax.switch(which, [_closed(branch, args) for branch in branches])

    if not isinstance(choices[0], Topology):
        return switch(list(choices))
    changes = [_with_own(place, choices) for place in range(number)]
    return Topology(switch([c.due for c in choices]), switch(changes), _watching_for(choices))


def _watching_for(choices: Sequence[Topology]) -> Criterion | None:
    """Makes the criterion that reads and watches what those of all choices do, and never scores."""
    criteria = [choice.criterion for choice in choices if choice.criterion is not None]
    if not criteria:
        return None
    every = together(criteria)

    def init(params: Params) -> CriterionState:
        # Where none watches, a network carries what it carries alone.
        states = every.init(params)
        return states if jax.tree.leaves(states) else ()

    def observe(states: CriterionState, learner_state: Any) -> CriterionState:
        return every.observe(states, learner_state) if states else states

    reads = tuple(dict.fromkeys(name for criterion in criteria for name in criterion.reads))
    return every._replace(init=init, observe=observe, reads=reads)


def _with_own(place: int, choices: Sequence[Topology]) -> Callable[..., Mask]:
    """Makes the change of a choice, which finds its own among what all criteria observed."""
    own = sum(choice.criterion is not None for choice in choices[:place])

    def change(step: Any, evidence: Evidence, limit: Mask, observed: CriterionState = ()) -> Mask:
        mine = () if choices[place].criterion is None or not observed else observed[own]
        return choices[place].change(step, evidence, limit, mine)

    return change


def _closed(function: Callable[..., Any], args: tuple[Any, ...]) -> Callable[[], Any]:
    """Binds arguments, since evidence holds functions, which are no operands of a switch."""
    return lambda: function(*args)


def _concrete(dense: Mask) -> Mask:
    """Gives the dense mask on the host, where it is traced."""
    return jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), dense)
