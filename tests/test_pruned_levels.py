"""Masks that follow no score, or that leave a layer without a weight, end a search by name.

Unless they are those of a network that diverged, which end nobody's.
"""

import dataclasses

import cases
import jax
import numpy as np
import pytest

from jaxticket import MaskError, Protocol, TicketError, criteria
from jaxticket.imp import DEFAULT, Variant
from jaxticket.imp.lineages import make_lineages
from jaxticket.imp.pruned import PrunedLevel, check_pruned
from jaxticket.imp.setup import Setup
from jaxticket.keys import replicate_keys
from jaxticket.records import Record

YOURS = criteria.stateless(lambda evidence: evidence.final)
VARIANTS = {"one": Variant(), "other": Variant(criterion=YOURS)}
WHOLE = np.ones((4, 2, 3), bool)
EMPTY = np.where(np.arange(4)[:, None, None] == 2, False, WHOLE)
"""Of the third network, the first replicate of the second variant, nothing is left."""


def setup(variants=VARIANTS, replicates=2, empty_layers=False):
    told = dataclasses.replace(
        DEFAULT, allocation=cases.ALLOCATIONS["uniform"], criterion=criteria.magnitude()
    )
    keys, dense = replicate_keys(jax.random.key(0), replicates), cases.mask(density=1.0)
    choices = {"levels": 3, "protocol": Protocol(6, 4, 3), "empty_layers": False}
    lineages = make_lineages(variants, told, keys, dense, **choices)
    bare = Setup(*[None] * len(Setup._fields))
    return bare._replace(lineages=lineages, empty_layers=empty_layers)


def record(diverged=(), mask=WHOLE):
    """Networks of which these diverged, before their first step or after it."""
    loss = np.ones((4, 2), np.float32)
    for place, network in enumerate(diverged):
        loss[network, place % 2 :] = np.nan
    bare = Record(*[None] * len(Record._fields))
    curves = {"train_loss": loss, "validation_loss": loss}
    return bare._replace(steps=np.array([0, 3]), curves=curves, masks={"w": mask, "b": None})


def check(lost=(0, 0, 0, 0), before=None, dense=None, mask=WHOLE, **choices):
    before, dense = before or record(), dense or record()
    made = PrunedLevel({"w": mask, "b": None}, {"w": np.array(lost)}, dense, before)
    check_pruned(setup(**choices), 2, made)


def test_scores_that_are_no_numbers_are_told_with_criterion_leaf_and_network():
    check()
    with pytest.raises(TicketError) as caught:
        check(lost=(0, 1, 0, 0))
    start = "criterion magnitude: 1 scores of w of replicate 1 of variant one are not finite at "
    assert str(caught.value).startswith(f"{start}level 2, expected numbers")
    assert "\n" not in str(caught.value)
    with pytest.raises(TicketError, match=r"\(yours\): 7 scores of w of replicate 0 of variant ot"):
        check(lost=(0, 0, 7, 9))
    with pytest.raises(TicketError, match="5 scores of w of replicate 3 are not finite"):
        check(lost=(0, 0, 0, 5), variants={"": Variant()}, replicates=4)


@pytest.mark.parametrize("diverged", [(1,), (0, 1)])
def test_of_networks_that_diverged_nobody_expects_scores(diverged):
    check(lost=(0, 6, 0, 0), before=record(diverged))
    check(lost=(0, 6, 0, 0), dense=record(diverged))
    with pytest.raises(TicketError, match="6 scores of w of replicate 0 of variant other"):
        check(lost=(0, 6, 6, 0), before=record(diverged))


def test_a_layer_that_lost_its_last_weight_is_told_with_the_network():
    with pytest.raises(MaskError, match="level 2 empties w of replicate 0 of variant other; ask"):
        check(mask=EMPTY)
    with pytest.raises(MaskError, match=r"of variant one, w of replicate 1 of variant one, w of"):
        check(mask=np.zeros_like(WHOLE))
    check(mask=EMPTY, empty_layers=True)


def test_what_a_network_lost_as_it_diverged_stays_lost_and_stops_nobody():
    check(mask=EMPTY, before=record((2,)))
    check(mask=EMPTY, before=record((0, 2)))
    # Of a level before.
    check(mask=EMPTY, before=record(mask=EMPTY))
    with pytest.raises(MaskError, match="empties w of replicate 0 of variant other; ask"):
        check(mask=EMPTY, before=record((1,)), dense=record((2,)))
