"""Laws of groups of replicates: whatever is searched together, the same networks are found."""

import functools
from types import SimpleNamespace
from typing import Any, NamedTuple

import cases
import jax
import numpy as np
import pytest
import searches
import xarray
from test_runs import StopAfter
from test_sweeps import VARIANTS, family

from experiments.common.going_on import Begun
from jaxticket import Plan, Protocol, TicketError, result, runs
from jaxticket.costs import Ledger
from jaxticket.imp import groups, lineages
from jaxticket.imp.groups import replicates_together
from jaxticket.imp.lineages import Lineages
from jaxticket.imp.setup import Setup
from jaxticket.records import Dropped, Memory, Template

REPLICATES = 3
ARMS = ("ticket", "reinit", "oneshot")
SWEPT = {name: VARIANTS[name] for name in ("slow", "fast", "late", "fine_tuning", "snip_late")}


def search(**choices):
    return searches.search(**({"replicates": REPLICATES, "arms": ARMS} | choices))


@functools.cache
def whole():
    return search()


def assert_same(one, other):
    """Compares all that two searches found, to the bit."""
    xarray.testing.assert_identical(runs.to_dataset(one), runs.to_dataset(other))
    cases.assert_same_bits(one.origin, other.origin)
    names = {name for record in one.records for name in record.coordinates}
    assert names == {name for record in other.records for name in record.coordinates}
    for name in names:
        cases.assert_same_bits(one.network(*name), other.network(*name))
    for level in range(searches.LEVELS):
        mine, its = one.tickets(level), other.tickets(level)
        assert mine.coordinates == its.coordinates
        cases.assert_same_bits(mine[4:], its[4:])


@pytest.mark.parametrize("together", [1, 2])
def test_a_search_by_groups_finds_what_it_finds_at_once(together):
    told, ledger = [], Ledger()
    with ledger:
        found = search(together=together, on_progress=told.append, ledger=ledger)
    assert_same(found, whole())
    groups = [record.replicates for record in found.records if record.levels[0] == 0]
    assert groups == {1: [(0,), (1,), (2,)], 2: [(0, 1), (2,)]}[together]
    assert len(found.origins) == len(groups)
    assert told[-1].done == told[-1].total == ledger.network_steps
    assert ledger.networks == 3 * (1 + 3 * 2)
    [note] = ledger.notes
    assert note.startswith(f"memory: 3 replicates are searched {together} at a time, one group")


@pytest.mark.slow
def test_a_sweep_by_groups_finds_what_it_finds_at_once():
    given = {"learner": family, "variants": SWEPT}
    one, other = search(**given), search(**given, together=2)
    assert_same(one, other)
    for name in SWEPT:
        assert_same(one.only(name), other.only(name))


@pytest.mark.slow
def test_repelled_tickets_are_the_same_by_groups():
    assert_same(search(repulsion=0.3), search(repulsion=0.3, together=2))


class State(NamedTuple):
    params: Any
    model_state: Any


def test_what_is_kept_of_dense_training_and_what_repels_takes_memory_too(monkeypatch):
    found = setup(monkeypatch)
    found.lineages.begins[:8], found.lineages.keeps_rate[:] = 3, True
    # Of the state, 100 bytes, another step's and the end's.
    plain = groups.COPIES * 125 + 2 * 100
    assert groups._needed(found, 1) == 2 * plain
    found.lineages.repulsion[:] = 1.0
    state = State(jax.ShapeDtypeStruct((25,), np.float32), ())
    template = found.template()._replace(state=state)
    monkeypatch.setattr(Setup, "template", lambda setup: template)
    assert groups._needed(found, 1) == 2 * (plain + 2 * 2 * 100)
    at_stops = found._replace(protocol=Protocol(1, 1, 1, test_curves=False))
    assert groups._needed(at_stops, 1) == 2 * (plain + 2 * 2 * 100 + 100)


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [2, 8])
def test_all_groups_share_one_compilation(chunk):
    counts = []

    def traced(function):
        def counted(*given, **options):
            counts.append(1)
            return function(*given, **options)

        return counted

    numbers = []
    for together in (None, 2):
        counts.clear()
        plain = cases.learner(optimizer="adam_scheduled")
        learner = plain._replace(init=traced(plain.init), step=traced(plain.step))
        search(learner=learner, together=together, plan=Plan("map", chunk=chunk))
        numbers.append(len(counts))
    # All at once, eight controls train in a program of their own.
    assert numbers[0] == numbers[1] if chunk == 2 else numbers[0] > numbers[1] > 0


STOPS = cases.slow_but((8, 1), [(1, None), (4, 1), (7, 1), (8, 1), (9, 3)])
"""After how many records a search is stopped, and how many replicates are asked for then."""


@pytest.mark.parametrize("stop_and_again", STOPS)
def test_a_stopped_search_goes_on_in_the_groups_that_it_began_with(stop_and_again, tmp_path):
    stop, again = stop_and_again
    with runs.CheckpointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        search(store=StopAfter(store, stop), together=2)
    told = []
    with runs.CheckpointStore(tmp_path) as store:
        found = search(store=store, together=again, on_progress=told.append)
    assert_same(found, whole())
    assert told[-1].done == told[-1].total
    first = [record.replicates for record in found.records if record.levels[0] == 0]
    assert first == [(0, 1), (2,)]
    names = [name for record in found.records for name in record.coordinates]
    assert len(names) == len(set(names))
    with runs.CheckpointStore(tmp_path) as store:
        found = search(store=store, on_progress=lambda progress: pytest.fail("trained"))
    assert_same(found, whole())


@pytest.mark.slow
def test_any_record_that_a_store_lacks_is_made_again_alone():
    begun = search(together=2)
    for place, lacking in enumerate(begun.records):

        class AllButOne(Memory):
            def load(self, template, place=place):
                return begun.origins, [*begun.records[:place], *begun.records[place + 1 :]]

        told = []
        found = search(store=AllButOne(), on_progress=told.append)
        assert {(progress.arm, progress.level) for progress in told} <= {
            (name.arm, name.level) for name in lacking.coordinates
        }
        assert_same(found, whole())


def test_a_store_with_the_origin_of_a_group_only_trains_it_again():
    begun = search(together=2)

    class OnlyTheOrigin(Memory):
        def load(self, template):
            return begun.origins[:1], []

    found = search(store=OnlyTheOrigin(), together=1)
    assert [len(record.arms) for record in found.records if not record.levels[0]] == [2, 1]
    assert_same(found, whole())


def test_a_store_of_more_replicates_is_refused():
    class Another(Memory):
        def load(self, template):
            return whole().origins, whole().records

    with pytest.raises(TicketError, match=r"3 networks .* that were begun, expected at most 2 of"):
        search(store=Another(), replicates=2)


@pytest.mark.slow
def test_params_of_a_group_that_is_on_its_way_stay(tmp_path):
    with (
        runs.CheckpointStore(tmp_path, keep="ends") as store,
        pytest.raises(KeyboardInterrupt),
    ):
        # The first group is finished: the second is at its level 1.
        search(store=StopAfter(store, 3 + 2 * 2 + 2), together=2)
    store = runs.CheckpointStore(tmp_path, keep="ends")
    store.thin()
    records = [store.read(step) for step in store.steps()]
    kept = [(r.arms[0], r.levels[0], r.replicates[0]) for r in records if not gone(r)]
    assert kept == [("ticket", 0, 0), ("ticket", 2, 0), ("ticket", 0, 2), ("ticket", 1, 2)]
    store.close()
    told = []
    with runs.CheckpointStore(tmp_path, keep="ends") as store:
        found = search(store=store, on_progress=told.append)
    assert {progress.level for progress in told if progress.arm == "ticket"} == {2}
    xarray.testing.assert_identical(runs.to_dataset(found), runs.to_dataset(whole()))
    # Of one group they were dropped by the process before.
    assert gone(found.tickets(1))
    cases.assert_same_bits(found.tickets(2).params, whole().tickets(2).params)


def gone(record):
    return isinstance(record.params, Dropped)


def setup(monkeypatch, devices=1):
    """A search of twelve replicates of two variants, whose networks have 100 + 20 + 5 bytes."""
    shapes = [((25,), np.float32), ((20,), bool), ((5,), np.uint8)]
    template = Template(*[jax.ShapeDtypeStruct(*one) for one in shapes])
    monkeypatch.setattr(Setup, "template", lambda setup: template)
    each = {"begins": np.zeros(24, np.int32), "keeps_rate": np.zeros(24, bool)}
    each["repulsion"] = np.zeros(24)
    lineages = SimpleNamespace(names=("one", "other"), replicates=12, **each)
    plan = SimpleNamespace(devices=devices, padded=lambda size: -(-size // devices) * devices)
    known = {"replicates": 12, "lineages": lineages, "plan": plan, "levels": 3}
    known["protocol"] = Protocol(1, 1, 1)
    return Setup(*[None] * len(Setup._fields))._replace(**known)


A_REPLICATE = groups.COPIES * 2 * 125


@pytest.mark.parametrize(
    ("fits", "devices", "expected"),
    [
        (99, 1, 12),
        (12, 5, 12),
        (11, 1, 6),
        (5, 1, 4),
        (11, 2, 6),
        (11.9, 4, 8),
        (3, 4, 3),
        (0, 2, 1),
    ],
)
def test_so_many_are_searched_together_as_the_memory_holds_and_devices_share(
    fits, devices, expected, monkeypatch
):
    memory = (fits + 1e-6) * A_REPLICATE / groups.SHARE
    assert replicates_together(setup(monkeypatch, devices), memory) == expected


def test_processes_share_the_memory_and_nobody_may_tell_it(monkeypatch):
    memory, found = 8 * A_REPLICATE / groups.SHARE, setup(monkeypatch)
    monkeypatch.setattr(groups, "host_memory", lambda: (0, memory))
    assert replicates_together(found) == 6
    monkeypatch.setattr(groups.hosts, "number", lambda: 4)
    assert replicates_together(found) == 2
    monkeypatch.setattr(groups, "host_memory", lambda: (None, None))
    assert replicates_together(found) == 12


def test_every_array_of_lineages_is_cut_for_a_group():
    of_variants = {"names", "criteria", "pruners", "schedules", "scorings", "actions"}
    counted = {"replicates", "first", "dense", "dense_lineages"}
    assert set(Lineages._fields) == {*lineages._BY_LINEAGE, *of_variants, *counted}


NOTHING_SEEN = Template((), (), ())


def test_searches_that_go_on_from_a_run_begin_in_groups_of_their_own():
    read, kept = search(together=2), Memory()
    for together, sizes in ((1, [2, 2, 2]), (2, [4, 2]), (3, [6])):
        begun = Begun(kept, read, ("a", "b"), together)
        origins, records = begun.load(NOTHING_SEEN)
        assert [len(origin.initial["output"]["kernel"]) for origin in origins] == sizes
        assert [len(record.arms) for record in records] == sizes
        names = [name for record in records for name in record.coordinates]
        assert {(name.variant, name.replicate) for name in names} == {
            (variant, replicate) for variant in "ab" for replicate in range(REPLICATES)
        }
        for origin, record in zip(origins, records, strict=True):
            for row, name in enumerate(record.coordinates):
                dense = whole().network("ticket", 0, name.replicate).params
                mine = jax.tree.map(lambda leaf, r=row: leaf[r], record.params)
                cases.assert_same_bits(mine, dense)
                first = whole().origin.initial["output"]["kernel"][name.replicate]
                assert np.array_equal(origin.initial["output"]["kernel"][row], first)


def test_of_searches_that_have_begun_only_the_rest_is_begun():
    read = search(together=2)

    class Half(Memory):
        def load(self, template):
            return read.origins[:1], read.records[:1]

    _, records = Begun(Half(), read, ("",), 3).load(NOTHING_SEEN)
    assert [record.replicates for record in records] == [(0, 1), (2,)]


@pytest.mark.parametrize("level", [-1, searches.LEVELS])
def test_tickets_of_no_level_are_refused(level):
    with pytest.raises(TicketError, match=f"level: got {level}, expected 0 to 2"):
        whole().tickets(level)


def test_empty_arrays_of_groups_are_put_together():
    parts = [{"none": np.zeros((2 * number, 0)), "w": np.arange(2 * number)} for number in (2, 1)]
    found = result._in_order(parts, 2)
    assert found["none"].shape == (6, 0)
    assert found["w"].tolist() == [0, 1, 0, 2, 3, 1]


def test_lineages_of_a_group_are_those_of_all():
    from test_lineages import KEYS, laid_out

    every = laid_out(VARIANTS)
    group = every.only(range(1, 3))
    assert isinstance(group, Lineages)
    assert group.number == 2 * len(VARIANTS)
    for index in range(group.number):
        variant, replicate = group.name(index)
        assert replicate in (1, 2)
        assert group.place(variant, replicate) == index
        there = every.place(variant, replicate)
        cases.assert_same_bits(group.keys[index], KEYS[replicate])
        assert group.begins[index] == every.begins[there]
        dense, its = (
            of.dense_lineages[of.dense[at]] for of, at in ((group, index), (every, there))
        )
        assert group.name(int(dense)) == every.name(int(its))
    assert len(set(group.dense.tolist())) == len(group.dense_lineages)
    # A group of a group, by the numbers that replicates have among all.
    assert group.only(range(2, 3)).name(0) == ("slow", 2)


def test_a_run_by_groups_is_read_by_replicate(tmp_path):
    with runs.CheckpointStore(tmp_path / "checkpoints") as store:
        search(store=store, together=2)
    reader = runs.CheckpointReader(tmp_path / "checkpoints")
    for replicate in range(REPLICATES):
        step, place = reader.coordinates()[("ticket", 0, replicate, "")]
        initial = reader.initial_params(step)["output/kernel"][place]
        wanted = whole().origin.initial["output"]["kernel"][replicate]
        assert np.array_equal(initial, wanted)
