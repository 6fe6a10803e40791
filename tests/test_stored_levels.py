"""What a search makes of a store: which records are its own, and which levels it trains."""

import dataclasses
from types import SimpleNamespace

import cases
import jax
import numpy as np
import pytest
import searches

from jaxticket import TicketError, criteria
from jaxticket.imp import DEFAULT
from jaxticket.imp.kept import check_kept
from jaxticket.imp.lineages import make_lineages
from jaxticket.imp.setup import Setup
from jaxticket.imp.tickets import _to_train
from jaxticket.keys import replicate_keys
from jaxticket.records import Dropped, Record

# Of which only what is read is filled in.
BARE, SETUP = Record(*[None] * len(Record._fields)), Setup(*[None] * len(Setup._fields))


def recorded(level, replicates, steps=(0, 3, 6)):
    """Tickets of a level, as far as they are told from another search's."""
    names = {"arms": ("ticket",), "levels": (level,), "variants": ("",)}
    bare = BARE._replace(**{field: each * replicates for field, each in names.items()})
    return bare._replace(replicates=tuple(range(replicates)), steps=np.array(steps))


def check_records(*records, protocol=searches.PROTOCOL):
    keys, dense = replicate_keys(jax.random.key(0), 2), cases.mask(density=1.0)
    told = dataclasses.replace(
        DEFAULT, allocation=cases.ALLOCATIONS["uniform"], criterion=criteria.magnitude()
    )
    lineages = make_lineages({"": told}, told, keys, dense, 3, protocol, empty_layers=False)
    setup = SETUP._replace(lineages=lineages, protocol=protocol)
    check_kept(setup._replace(replicates=2), lambda given: given, [], list(records))


def test_a_store_of_other_replicates_or_steps_is_refused():
    # Networks that begin late are evaluated from there on.
    check_records(recorded(0, 2), recorded(1, 2, steps=(2, 3, 6)))
    for number in (1, 3):
        with pytest.raises(TicketError, match=f"{number} networks .* at level 1, expected 2 of"):
            check_records(recorded(0, 2), recorded(1, number))
    for every, wanted in ((2, "0, 2, 4, 6"), (6, "0, 6"), (1, r"0, 1, 2, \.\.\., 6")):
        protocol = dataclasses.replace(searches.PROTOCOL, evaluate_every=every)
        with pytest.raises(TicketError, match=rf"at the steps 0, 3, 6, expected {wanted}; give"):
            check_records(recorded(0, 2), protocol=protocol)
    many = recorded(0, 2, steps=range(9))
    with pytest.raises(TicketError, match=r"at the steps 0, 1, 2, \.\.\., 8, expected 0, 3, 6;"):
        check_records(many)


@pytest.mark.parametrize(
    ("there", "dropped", "repelled", "trained"),
    [
        ([0], [], False, [1, 2, 3]),
        ([0, 1, 2, 3], [1, 2], False, []),
        ([0, 2, 3], [], False, [1]),
        # A mask is made from the params of the level before, and from no others.
        ([0, 1, 2], [1], False, [3]),
        ([0, 1, 2], [2], False, [2, 3]),
        ([0, 1, 2], [1, 2], False, [1, 2, 3]),
        ([0, 1, 3], [1], False, [1, 2]),
        # What repels is all that was found before.
        ([0, 1, 2], [1], True, [1, 3]),
        ([0, 1, 2, 3], [1, 2], True, []),
    ],
)
def test_levels_are_trained_that_are_missing_or_whose_params_are_needed(
    there, dropped, repelled, trained
):
    params = {level: Dropped("here") if level in dropped else {} for level in there}
    done = {level: BARE._replace(params=params[level]) for level in there}
    lineages = SimpleNamespace(repulsion=np.array([0.0, float(repelled)]))
    assert _to_train(SETUP._replace(levels=4, lineages=lineages), done) == set(trained)
