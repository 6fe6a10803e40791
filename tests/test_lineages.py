"""Laws of a sweep as one population: whose is what, where it begins, what must hold of it."""

import dataclasses
from types import SimpleNamespace

import cases
import jax
import numpy as np
import pytest

from jaxticket import Plan, Protocol, criteria
from jaxticket.allocate.base import count_kept
from jaxticket.imp import DEFAULT, Scoring, Variant
from jaxticket.imp.controls import _chunk
from jaxticket.imp.lineages import make_lineages
from jaxticket.imp.monitor import Expected, _terms, expect
from jaxticket.imp.setup import Setup
from jaxticket.imp.tickets import _from_zero
from jaxticket.keys import replicate_keys
from jaxticket.records import Coordinate, Origin
from jaxticket.rewind import reinit

REPLICATES, LEVELS = 3, 3
KEYS = replicate_keys(jax.random.key(0), REPLICATES)
UNIFORM, GLOBALLY = (cases.ALLOCATIONS[name] for name in ("uniform", "globally"))
SNIP = criteria.snip()
TOLD = dataclasses.replace(DEFAULT, allocation=UNIFORM, criterion=criteria.magnitude())

VARIANTS = {
    "one": Variant({"rate": 0.1, "width": 2}),
    "other": Variant({"rate": 0.2, "width": 2}, allocation=GLOBALLY),
    "one_again": Variant({"rate": 0.1, "width": 2}, criterion=SNIP, scoring=Scoring(6)),
    "late": Variant({"rate": 0.3, "width": 2}, retraining="fine_tuning"),
    "early": Variant(
        {"rate": 0.2, "width": 2},
        pruning="at_start",
        retraining_hyperparameters={"rate": 0.01, "width": 2},
    ),
}


def laid_out(variants):
    dense, protocol = cases.mask(density=1.0), Protocol(6, 4, 3)
    return make_lineages(variants, TOLD, KEYS, dense, LEVELS, protocol, empty_layers=False)


def of_a_search(**known):
    """The choices of a search of which no others are read."""
    return Setup(*[None] * len(Setup._fields))._replace(**known)


def test_every_replicate_of_every_variant_has_a_place_of_its_own():
    lineages = laid_out(VARIANTS)
    pairs = [(variant, replicate) for variant in VARIANTS for replicate in range(REPLICATES)]
    assert [lineages.name(index) for index in range(lineages.number)] == pairs
    assert [lineages.place(*pair) for pair in pairs] == list(range(15))
    # Replicates of all variants are paired.
    for index, (_, replicate) in enumerate(pairs):
        cases.assert_same_bits(lineages.keys[index], KEYS[replicate])


def test_variants_that_train_alike_share_the_dense_networks_of_the_first():
    lineages = laid_out(VARIANTS)
    assert lineages.dense_lineages.tolist() == [0, 1, 2, 3, 4, 5, 9, 10, 11]
    shared = [0, 1, 2, 3, 4, 5, 0, 1, 2, 6, 7, 8, 3, 4, 5]
    assert lineages.dense.tolist() == shared
    rates = lineages.hyperparameters["rate"]
    np.testing.assert_array_equal(rates[lineages.dense_lineages[lineages.dense]], rates)


def test_every_lineage_has_what_its_variant_chose():
    lineages = laid_out(VARIANTS)
    each = lambda values: np.repeat(values, REPLICATES).tolist()  # noqa: E731
    assert lineages.keeps_weights.tolist() == each([False, False, False, True, False])
    assert lineages.keeps_rate.tolist() == each([False, False, False, True, False])
    assert lineages.at_start.tolist() == each([False, False, False, False, True])
    assert not lineages.oneshot.any()
    once = laid_out({"once": Variant(pruning="oneshot"), "early": Variant(pruning="at_start")})
    assert once.oneshot.tolist() == [True] * REPLICATES + [False] * REPLICATES
    rates, widths = (lineages.hyperparameters[name] for name in ("rate", "width"))
    assert (rates.dtype, widths.dtype) == (np.float32, np.int32)
    again = np.float32([0.1, 0.2, 0.1, 0.3, 0.01])
    assert lineages.retraining_hyperparameters["rate"].tolist() == each(again)
    assert lineages.scorings == (None, None, Scoring(6), None, None)
    pruners = [lineages.pruners[index] for index in lineages.pruner[::REPLICATES]]
    assert [lineages.criteria[index] is SNIP for index, *_ in pruners] == [0, 0, 1, 0, 0]
    selections = [UNIFORM.select, GLOBALLY.select, *[UNIFORM.select] * 3]
    assert [select for _, select, *_ in pruners] == selections
    dense = cases.mask(density=1.0)
    schedules = (one.schedule(dense, LEVELS) for one in (UNIFORM, GLOBALLY))
    for level, (by_layer, total) in enumerate(zip(*schedules, strict=True)):
        found = lineages.counts(level)
        assert found["*"][3:6].tolist() == [total["*"]] * 3
        for path, number in by_layer.items():
            assert found[path][[0, 8, 14]].tolist() == [number] * 3


@pytest.mark.parametrize("steps", [(0, 0), (0, 2), (2, 0), (2, 2)])
def test_networks_have_steps_of_their_own_where_they_begin_at_different_ones(steps):
    lineages = laid_out({f"v{n}": Variant(rewind_step=step) for n, step in enumerate(steps)})
    setup = of_a_search(lineages=lineages)
    rows = np.arange(REPLICATES)
    if steps[0] == steps[1]:
        assert setup.begins() == setup.begins(np.array([4, 1])) == _from_zero(setup, rows) == ()
    else:
        # Dense networks begin at 0, in a program that others can have too.
        cases.assert_same_bits(_from_zero(setup, rows), np.zeros(REPLICATES, np.int32))
        assert setup.begins().tolist() == np.repeat(steps, REPLICATES).tolist()
        assert setup.begins(np.array([4, 1])).tolist() == [steps[1], steps[0]]


@pytest.mark.parametrize(
    ("moments", "asked"),
    [((False, False), [False]), ((True, True), [True]), ((True, False), [True, False])],
)
def test_a_network_is_restarted_as_its_lineage_chose_and_both_ways_only_if_they_differ(
    moments, asked
):
    setup = of_a_search(lineages=SimpleNamespace(moments=np.array(moments)))
    for chosen in moments:
        told = []

        def restart(takes, told=told):
            told.append(takes)
            return {"moment": np.float32(5.0 if takes else 0.0)}

        found = setup.moments(restart, np.bool_(chosen))
        assert float(found["moment"]) == (5.0 if chosen else 0.0)
        assert told == asked


def test_what_must_hold_of_a_network_follows_from_its_arm_and_its_variant():
    by_cost = cases.ALLOCATIONS["by_cost"]
    lineages = laid_out(
        {
            "plain": Variant(),
            "cost": Variant(allocation=by_cost),
            "moments": Variant(rewind_step=2, rewind_moments=True),
            "drawn": Variant(action=reinit),
            "once": Variant(pruning="oneshot"),
            "early": Variant(pruning="at_start"),
        }
    )
    setup, whole = of_a_search(lineages=lineages), {"hidden_0/kernel": 30, "output/kernel": 15}
    terms, counts = _terms(setup), lineages.schedules["plain"][2]
    assert terms == [count_kept, by_cost.kept]
    cost = lineages.schedules["cost"][2]
    for arm, variant, expected in (
        ("ticket", "plain", Expected(True, counts, 0, True, True, False)),
        ("ticket", "cost", Expected(True, cost, 1, False, True, False)),
        ("ticket", "moments", Expected(True, counts, 0, True, True, True)),
        ("ticket", "drawn", Expected(True, counts, 0, True, False, False)),
        ("ticket", "once", Expected(False, counts, 0, True, True, False)),
        ("ticket", "early", Expected(False, counts, 0, True, True, False)),
        ("reinit", "moments", Expected(True, None, 0, True, False, False)),
        ("signed_reinit", "cost", Expected(True, None, 0, True, False, False)),
        ("rewound", "drawn", Expected(True, None, 0, True, True, False)),
        ("shuffle", "moments", Expected(False, None, 0, True, True, True)),
        ("oneshot", "cost", Expected(False, cost, 1, False, True, False)),
        ("dense", "cost", Expected(False, whole, 0, True, True, False)),
    ):
        assert expect(setup, terms, Coordinate(arm, 2, 1, variant), whole) == expected, arm


@pytest.mark.parametrize(("missing", "expected"), [(9, 5), (3, 3), (1, 2)])
def test_controls_train_as_many_at_a_time_as_have_room_and_are_there(
    missing, expected, monkeypatch
):
    asked = []

    def five(plan, replicates, state_bytes):
        asked.append((replicates, state_bytes))
        return 5

    monkeypatch.setattr(Plan, "control_chunk", five)
    # Two networks of 5 x 4 and 8 bytes.
    rewound = {"w": np.ones((2, 5), np.float32), "count": np.zeros(2, np.int64)}
    lineages = SimpleNamespace(number=2, names=("",), replicates=2)
    setup = of_a_search(plan=Plan("map"), lineages=lineages)
    assert _chunk(setup, Origin({}, rewound, ()), missing) == expected
    assert asked == [(2, 28)]
