"""What a run cost is counted once, in its place, and nothing is left out."""

import time

import cases
import jax
import jax.numpy as jnp
import pytest
import searches

from jaxticket import Plan, costs
from jaxticket.costs import Ledger, account, flops_of, ledger
from jaxticket.records import Memory


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until a test moves it."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", clock)
    return clock


def test_phases_count_for_themselves_and_add_up(clock):
    book = Ledger()
    clock.now = 1.0
    with book.phase("train"):
        clock.now = 3.0
        with book.phase("evaluate"):
            clock.now = 7.0
        clock.now = 15.0
    clock.now = 16.0
    with book.phase("train"):
        clock.now = 48.0
    assert book.seconds == {"other": 2.0, "train": 42.0, "evaluate": 4.0, "compile": 0.0}


def test_compilation_is_taken_out_of_the_phase_that_waited(clock):
    with Ledger() as book, book.phase("train"):
        clock.now = 10.0
        # A trace inside of a trace is part of it.
        jax.monitoring.record_event_time_span("/jax/core/compile/a", 100.0, 104.0)
        jax.monitoring.record_event_time_span("/jax/core/compile/b", 101.0, 102.0)
        jax.monitoring.record_event_time_span("/jax/core/compile/c", 104.0, 105.0)
        jax.monitoring.record_event_time_span("/jax/somewhere/else", 200.0, 209.0)
    assert (book.seconds["train"], book.seconds["compile"]) == (5.0, 5.0)


def test_jax_tells_when_it_compiles():
    with Ledger() as book, book.phase("start"):
        jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((7, 7))).block_until_ready()
    assert book.seconds["compile"] > 0
    before = dict(book.seconds)
    jax.jit(lambda x: jnp.cos(x) @ x)(jnp.ones((7, 7))).block_until_ready()
    assert book.seconds == before


def test_a_phase_that_does_not_exist():
    with pytest.raises(ValueError, match="lunch"), Ledger().phase("lunch"):
        pass


def test_a_search_counts_every_step_and_network(monkeypatch):
    book = Ledger()
    with book:
        result = searches.search(ledger=book)
    networks = 2 * (1 + 2 * 4)
    assert (book.networks, book.network_steps) == (networks, networks * 6)
    assert {"start", "train", "evaluate", "prune", "checkpoint", "compile"} <= set(book.seconds)
    assert sum(len(record.arms) for record in result.records) == networks
    found = account(book, limit=1e12)
    assert found.flops_a_second == found.network_steps_a_second * found.flops_a_step
    assert found.share_of_limit == found.flops_a_second / 1e12


def test_a_search_that_goes_on_counts_only_what_it_trains():
    class Begun(Memory):
        def load(self, template):
            return searches.finished().origins, searches.finished().records[:2]

    book = Ledger()
    with book:
        searches.search(ledger=book, store=Begun())
    # Two replicates: the ticket's last level, and two levels of three controls.
    assert book.networks == 2 * (1 + 2 * 3)


def test_the_arithmetic_of_a_step_is_that_of_its_matrix_products():
    learner, size = cases.learner(optimizer="sgd"), 100
    state = jax.eval_shape(learner.init, jax.random.key(0))
    mask, batch = cases.mask(), cases.examples(size)
    flops = flops_of(learner.step, state, mask, batch, jax.random.key(0))
    # Forward and both derivatives, except that the images need none.
    least = 2 * size * (2 * 6 * 5 + 3 * 5 * 3)
    assert least < flops < 2 * least


def test_an_account_of_nothing_has_no_rates():
    found = account(Ledger())
    assert found.network_steps_a_second is None
    assert found.flops_a_second is None


def test_notes_are_told_once(capsys):
    book = Ledger()
    book.note("memory: less at a time")
    book.note("memory: less at a time")
    assert capsys.readouterr().err == "memory: less at a time\n"
    assert account(book).notes == ("memory: less at a time",)


def test_notes_are_told_by_one_process_of_a_run(monkeypatch, capsys):
    monkeypatch.setattr(ledger.hosts, "is_primary", lambda: False)
    book = Ledger()
    book.note("memory: less at a time")
    assert capsys.readouterr().err == ""
    assert account(book).notes == ("memory: less at a time",)


@pytest.mark.parametrize("devices", [1, 2])
def test_the_machine_multiplies_matrices(devices):
    assert costs.matrix_rate(Plan("map", devices)) > 1e8


def test_the_union_of_spans():
    assert ledger._covered([(0.0, 2.0), (1.0, 3.0), (5.0, 6.0), (5.2, 5.4)]) == 4.0
    assert ledger._covered([]) == 0.0
