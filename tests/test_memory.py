"""Populations are cut to the memory that there is, and nothing else changes."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import searches

from jaxticket import Plan, TicketError, population
from jaxticket.population import memory
from jaxticket.population.memory import Memory, MemoryLimitError
from jaxticket.population.programs import Programs


@pytest.fixture
def room(monkeypatch):
    """Lets a test say how many bytes a device has free."""

    def set_free(free):
        monkeypatch.setattr(memory, "device_memory", lambda plan: Memory(free, free, "a toy"))

    return set_free


def heavy(x):
    """Of each network: 4,000 bytes in, 4,000 bytes out."""
    return x + 1.0


def networks(number):
    return np.arange(number * 1000, dtype=np.float32).reshape(number, 1000)


@pytest.mark.parametrize("devices", [1, 2])
def test_a_population_runs_in_pieces_that_fit(room, devices):
    room(31_000)  # of which a program may take 80 %: three networks and little more
    notes, plan = [], Plan("map", devices)
    run = population.over(population.populate(heavy, plan), 10, notes.append)
    np.testing.assert_array_equal(run(networks(10)), networks(10) + 1)
    assert len(notes) == 1
    assert f"going on with {3 * devices} at a time" in notes[0]
    # What fits is remembered, so that nothing is tried or told twice.
    run(networks(4))
    assert len(notes) == 1


def test_running_out_halves_the_pieces_until_they_fit():
    tried, notes = [], []

    def function(piece, number):
        tried.append(len(piece))
        if len(piece) > 2:
            raise MemoryLimitError("too many", len(piece) // 2)
        return piece * 2

    doubled = population.over(function, 8, notes.append)(np.arange(7))
    assert doubled.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert tried == [8, 4, 2, 2, 2, 2]
    assert len(notes) == 2


def test_running_out_in_the_program_is_told_from_other_errors():
    class Broken:
        def __init__(self, message):
            self.message = message

        def lower(self, *arguments):
            raise RuntimeError(self.message)

    with pytest.raises(MemoryLimitError) as caught:
        Programs(Broken("RESOURCE_EXHAUSTED: 3 GB"), Plan("map"))(5, networks(5))
    assert caught.value.fits == 2
    with pytest.raises(RuntimeError, match="INTERNAL"):
        Programs(Broken("INTERNAL: broken"), Plan("map"))(5, networks(5))


def test_less_than_one_network_ends_in_one_line(room):
    room(7_000)
    run = population.over(population.populate(heavy, Plan("map")), 4)
    with pytest.raises(TicketError, match="fewer cannot be") as caught:
        run(networks(4))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_search_in_little_memory_finds_the_same_tickets(room, capsys):
    whole = searches.finished()
    needed = []
    seen = memory.program_bytes
    room(10**12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "program_bytes", lambda c: needed.append(seen(c)) or needed[-1])
        searches.search()
        # Two networks of the largest program do not fit; one does.
        room(max(needed))
        cut = searches.search()
    assert "going on with 1 at a time" in capsys.readouterr().err
    for arm, level, replicate in (("ticket", 2, 1), ("shuffle", 1, 0), ("oneshot", 2, 1)):
        expected, found = (r.network(arm, level, replicate) for r in (whole, cut))
        cases.assert_same_bits(found.params, expected.params)
        cases.assert_same_bits(found.mask, expected.mask)


def test_this_machine_tells_its_memory():
    one, two = (population.memory.device_memory(Plan("map", devices)) for devices in (1, 2))
    assert one.whole == pytest.approx(2 * two.whole, rel=0.01)
    assert 0 < one.free <= one.whole


def test_a_program_needs_what_goes_in_and_out():
    def donate(x):
        return x + 1.0

    plain = jax.jit(donate).lower(jnp.zeros(1000)).compile()
    donated = jax.jit(donate, donate_argnums=0).lower(jnp.zeros(1000)).compile()
    assert memory.program_bytes(plain) == 8000
    assert memory.program_bytes(donated) == 4000


@pytest.mark.parametrize("choices", [{"batch": 0}, {"inside": "map", "batch": 2}])
def test_a_batch_that_cannot_be(choices):
    with pytest.raises(TicketError, match="batch"):
        Plan(**({"inside": "vmap"} | choices))
