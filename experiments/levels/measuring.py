"""What is measured between the levels of one ticket: barriers, angles, overlaps and jumps."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray

from experiments.common.angles import angles_of
from experiments.common.experiment import Problem
from experiments.common.instability import barriers_between
from experiments.common.undefined import SUFFIX
from jaxticket import allocate, masks
from jaxticket.analysis import at_end, overlap_against_chance
from jaxticket.analysis.losses import loss_over
from jaxticket.keys import derive
from jaxticket.population import over, populate, share
from jaxticket.result import Network, Result

Tickets = list[list[Network]]
"""The tickets' networks, by level and replicate."""


def tickets_of(result: Result) -> Tickets:
    """Lists the networks of the ticket.

    Args:
      result: of the search.

    Returns:
      The networks, by level and replicate.
    """
    levels, replicates = range(result.levels), range(result.replicates)
    return [[result.network("ticket", n, r) for r in replicates] for n in levels]


def gaps(results: xarray.Dataset, tolerance: float) -> dict[str, Any]:
    """Compares every level with the dense network.

    Args:
      results: the curves.
      tolerance: what counts as matching.

    Returns:
      `gap` (level, replicate), test accuracy after training less that of the dense network; and
      `matching`, the last level whose mean gap is at least −tolerance.
    """
    curves = at_end(results, "test_accuracy").sel(arm="ticket")
    gap = (curves - curves.sel(level=0)).transpose("level", "replicate").values
    matches = np.nanmean(gap, axis=1) >= -tolerance
    return {
        "gap": (("level", "replicate"), gap),
        "matching": ((), int(np.flatnonzero(matches)[-1]) if matches.any() else 0),
    }


def measured(problem: Problem, result: Result, tickets: Tickets) -> dict[str, Any]:
    """Measures all that needs pairs of networks.

    Args:
      problem: gives the data, the plan and what was chosen.
      result: of the search.
      tickets: its networks.

    Returns:
      `barrier` and `own_barrier` (level, replicate), between a level and the one before and of a
      network with itself; `strange_barrier`, `strange_angle` (level, replicate) between replicates;
      of each barrier where its pairs have none, `barrier_undefined_at` and so on, α;
      `angle` (level, other_level, replicate); `lift` and `chance` (level, replicate, part), the
      shared weights of two replicates and the upper end of chance, over what chance expects; `jump`
      (level, share, replicate).
    """
    number = result.replicates
    both = ("level", "replicate")
    successive = [
        [(one, two) for one, two in zip(a, b, strict=True)] for a, b in itertools.pairwise(tickets)
    ]
    strangers = [[(row[r], row[(r + 1) % number]) for r in range(number)] for row in tickets]
    itself = [[(one, one) for one in tickets[place]] for place in (0, -1)]
    found = {
        "angle": (("level", "other_level", "replicate"), _angles(problem, tickets)),
        "strange_angle": (both, _angles_of(problem, strangers)),
    }
    barriers = _barriers(problem, successive, strangers, itself)
    return barriers | found | _overlaps(strangers) | _jumps(problem, tickets)


Pairs = list[list[tuple[Network, Network]]]
"""Two networks each, in rows."""


def _barriers(problem: Problem, successive: Pairs, strangers: Pairs, itself: Pairs) -> Any:
    learner = problem.family({})
    state = learner.init(jax.random.key(problem.config.seed))
    rows = [*successive, *strangers, *itself]
    flat, points = list(itertools.chain(*rows)), problem.config.points
    ends = np.cumsum([len(successive), len(strangers)])
    found = {}
    measured = barriers_between(learner, state, flat, problem, points)
    for suffix, values in zip(("", SUFFIX), measured, strict=True):
        between, strange, own = np.split(values.reshape(len(rows), -1), ends)
        first = np.full((1, between.shape[1]), np.nan)
        found |= {
            f"barrier{suffix}": (("level", "replicate"), np.concatenate([first, between])),
            f"strange_barrier{suffix}": (("level", "replicate"), strange),
            f"own_barrier{suffix}": (("end", "replicate"), own),
        }
    return found


def _angles(problem: Problem, tickets: Tickets) -> np.ndarray:
    """Angles between all levels of each replicate; an angle with itself is 0."""
    levels, number = len(tickets), len(tickets[0])
    places = list(itertools.combinations(range(levels), 2))
    pairs = [[(tickets[a][r], tickets[b][r]) for r in range(number)] for a, b in places]
    found = np.zeros((levels, levels, number))
    for (a, b), angles in zip(places, _angles_of(problem, pairs), strict=True):
        found[a, b] = found[b, a] = angles
    return found


def _angles_of(problem: Problem, pairs: Pairs) -> np.ndarray:
    return angles_of(problem, list(itertools.chain(*pairs))).reshape(len(pairs), -1)


def _overlaps(strangers: Pairs) -> dict[str, Any]:
    found = [[overlap_against_chance(a.mask, b.mask) for a, b in row] for row in strangers]
    shared, high, expected = (
        np.array([[getattr(one, name) for one in row] for row in found], float)
        for name in ("shared", "high", "expected")
    )
    with np.errstate(invalid="ignore"):
        lift, chance = shared / expected, high / expected
    dims = ("level", "replicate", "part")
    names = ("part", list(found[0][0].names))
    return {"lift": (dims, lift), "chance": (dims, chance), "part": names}


def _jumps(problem: Problem, tickets: Tickets) -> dict[str, Any]:
    """Jumps of the loss where a share of what is left is pruned at once, and nothing retrained."""
    config, objective = problem.config, problem.family({}).objective
    make = allocate.globally if config.scope == "global" else allocate.uniform
    steps = [make(step) for step in config.jumps]
    examples = jax.tree.map(lambda leaf: leaf[: config.examples], problem.dataset.train)
    given = share((examples, jax.random.key(config.seed)), problem.plan)

    def jumps(network: Any, examples: Any, key: Any) -> Any:
        params, mask, model_state, counts = network
        loss = loss_over(objective, model_state, examples, key=derive(key, "jumps"))
        scores = jax.tree.map(jnp.abs, params)

        def at(counts: Any) -> Any:
            return loss(masks.apply(params, steps[0].select(scores, mask, counts)))

        return jax.lax.map(at, counts) - loss(params)

    run = populate(jumps, problem.plan)
    flat = list(itertools.chain(*tickets))
    networks = stacked(
        [(one.params, one.mask, one.model_state, _counts(steps, one)) for one in flat]
    )
    piece = problem.plan.padded(len(tickets[0]))
    pieces = over(lambda networks, number: run(networks, *given, number=number), piece)(networks)
    dims = ("level", "share", "replicate")
    shape = (len(tickets), len(tickets[0]), len(steps))
    jump = pieces.reshape(shape).transpose(0, 2, 1)
    return {
        "jump": (dims, jump),
        "share": ("share", list(config.jumps)),
    }


def _counts(steps: list[allocate.Allocation], network: Network) -> Any:
    """What every step keeps of a network, as arrays over steps."""
    wanted = [step.schedule(network.mask, 2)[1] for step in steps]
    return {name: np.array([kept[name] for kept in wanted], np.int32) for name in wanted[0]}


def stacked(trees: list[Any]) -> Any:
    """Stacks trees along a new axis 0, on the host."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)
