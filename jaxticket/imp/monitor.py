"""The monitor: every finished network is held against contracts 1 to 4 before it is kept.

What is counted is in `invariants`, on the device; this says which of it each network must have none
of, and ends the search where one has some.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax

from jaxticket.allocate.base import count_kept
from jaxticket.arms import ARMS
from jaxticket.imp.invariants import Broken, Checked, Source, count_broken, moments_of
from jaxticket.imp.setup import Setup
from jaxticket.masks.basic import sizes
from jaxticket.population.hosts import SharedError
from jaxticket.records import Coordinate
from jaxticket.rewind import rewind
from jaxticket.trainer import Networks, Trained
from jaxticket.types import Mask

Monitor = Callable[[Sequence[Coordinate], Checked, int], None]
"""`check(coordinates, checked, size)`: raises a `ContractError` if any of these networks breaks a
contract; `size` of them at a time are looked at."""


class ContractError(SharedError):
    """A contract does not hold: a fault of the library, of what it was given, or of the machine."""

    misuse = False


class Expected(NamedTuple):
    """What the contracts say of one network.

    Attributes:
      nested: whether its mask keeps only what its reference does.
      counts: what it keeps; `None` for what its reference keeps in each leaf.
      terms: the place of the terms of `counts` in `Broken.kept`.
      exact: whether it keeps that, or at most that.
      rewound: whether it goes back to its source.
      moments: whether it does so with the optimizer's moments.
    """

    nested: bool
    counts: dict[str, int] | None
    terms: int
    exact: bool
    rewound: bool
    moments: bool


def monitor(setup: Setup) -> Monitor:
    """Makes the monitor of a search; one compilation serves all levels, densities and arms.

    Args:
      setup: what was chosen.

    Returns:
      The monitor.
    """
    terms = _terms(setup)
    programs: dict[int, Callable[[Any], Broken]] = {}

    def check(coordinates: Sequence[Coordinate], checked: Checked, size: int) -> None:
        with setup.ledger.phase("check"):
            if size not in programs:
                programs[size] = setup.over(lambda one: count_broken(one, terms[1:]), size)
            broken = programs[size](checked)
            whole = sizes(jax.tree.map(lambda leaf: leaf[0], checked.mask))
            for place, name in enumerate(coordinates):
                found = jax.tree.map(lambda leaf, place=place: int(leaf[place]), broken)
                expected = expect(setup, terms, name, whole)
                faults = list(_faults(expected, found))
                if faults:
                    raise ContractError(_message(name, faults))

    return check


def checked(networks: Networks, trained: Trained, reference: Mask, source: Any) -> Checked:
    """Puts together what the monitor looks at.

    Args:
      networks: as they were trained from, along axis 0.
      trained: what the trainer gave.
      reference: the masks that theirs were made from.
      source: anything with `params`, `model_state` and, where they are rewound too, moments.

    Returns:
      The networks, along axis 0.
    """
    states = networks.states
    return Checked(
        networks.masks,
        reference,
        Source(states.params, states.model_state, moments_of(states)),
        source,
        trained.training.learner.params,
    )


def expect(setup: Setup, terms: list[Any], name: Coordinate, whole: dict[str, int]) -> Expected:
    """Says what must hold of a network after level 0.

    Args:
      setup: what was chosen.
      terms: the functions that count what a mask keeps.
      name: of the network.
      whole: the size of each prunable leaf.

    Returns:
      What is expected.
    """
    lineages = setup.lineages
    place = lineages.place(name.variant, name.replicate)
    of, ticket = ARMS[name.arm], name.arm == "ticket"
    chosen = lineages.actions[lineages.action[place]]
    rewound = chosen is rewind if ticket else of.weights == "rewind"
    moments = rewound and bool(lineages.moments[place])
    if not ticket and of.mask in ("ticket", "shuffle"):
        return Expected(of.mask == "ticket", None, 0, True, rewound, moments)
    if of.mask == "dense":
        return Expected(False, whole, 0, True, rewound, moments)
    # What is made anew at every level, from the dense network, need not be nested.
    anew = not ticket or bool(lineages.oneshot[place] or lineages.at_start[place])
    _, _, kept, exact = lineages.pruners[lineages.pruner[place]]
    counts = lineages.schedules[name.variant][name.level]
    return Expected(not anew, counts, terms.index(kept), exact, rewound, moments)


def _terms(setup: Setup) -> list[Any]:
    kept = [kept for _, _, kept, _ in setup.lineages.pruners]
    return list(dict.fromkeys([count_kept, *kept]))


def _faults(expected: Expected, found: Broken) -> Iterator[tuple[str, str]]:
    """Lists the contracts that a network breaks, each with the leaf and what was found there."""
    zero, nested, exact = "1 (exactly zero)", "3 (nested)", "4 (bit-exact rewinding)"
    yield from _some(zero, found.started, "pruned weights are not 0.0 before training")
    yield from _some(zero, found.moments, "moments of pruned weights are not 0.0 before training")
    yield from _some(zero, found.trained, "pruned weights are not 0.0 after training")
    yield from _miscounted(expected, found)
    if expected.nested:
        yield from _some(nested, found.regrown, "weights are kept that were pruned before")
    if expected.rewound:
        yield from _some(exact, found.apart, "weights are not those of the rewind point")
        yield from _some(exact, found.state_apart, "numbers are not those of the rewind point")
    if expected.moments:
        yield from _some(exact, found.moments_apart, "moments are not those of the rewind point")


def _some(contract: str, counts: dict[str, int], what: str) -> Iterator[tuple[str, str]]:
    for path, count in counts.items():
        if count:
            yield contract, f"{path}: {count} {what}, expected 0"


def _miscounted(expected: Expected, found: Broken) -> Iterator[tuple[str, str]]:
    kept = found.kept[expected.terms]
    wanted = found.wanted if expected.counts is None else expected.counts
    for path, number in wanted.items():
        if kept[path] > number or (expected.exact and kept[path] < number):
            least = "" if expected.exact else "at most "
            name = "all leaves" if path == "*" else path
            yield "2 (exact counts)", f"{name}: {kept[path]} are kept, expected {least}{number}"


def _message(name: Coordinate, faults: list[tuple[str, str]]) -> str:
    (contract, fault), *others = faults
    of = f" of variant {name.variant}" if name.variant else ""
    more = f", and {len(others)} more such faults in this network" if others else ""
    return (
        f"contract {contract} is broken by {name.arm} level {name.level} replicate "
        f"{name.replicate}{of}: {fault}{more}; these networks are not kept, what was finished "
        "before is; rerun, and if it comes back suspect the learner, the allocation or the machine"
    )
