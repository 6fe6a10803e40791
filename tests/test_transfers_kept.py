"""Transfers that are killed and asked for again: to the same bits, and none of them twice."""

import re

import cases
import chex
import jax
import numpy as np
import pytest
import searches

from jaxticket import masks, transfer
from jaxticket.costs import Ledger
from jaxticket.runs.partway import PartwayFile
from jaxticket.transfer import Renewed, Transfer
from jaxticket.transfer.keeping import Finished

NAMES = [
    Transfer("", "", arm, level, r)
    for arm in ("ticket", "reinit")
    for level in (1, 2)
    for r in (0, 1)
]
STEPS, EVERY = searches.PROTOCOL.steps, searches.PROTOCOL.evaluate_every


class Killed(BaseException):
    pass


def norms(names, record):
    """Something of the weights, in another shape than a curve's."""
    leaves = jax.tree.leaves(record.params)
    return {"norms": np.stack([np.sum(leaf.reshape(len(names), -1) ** 2, 1) for leaf in leaves], 1)}


def moved(**options):
    return transfer.transfer(
        searches._learner(),
        cases.data(),
        jax.random.key(0),
        searches.PROTOCOL,
        transfer.tickets_of(searches.finished()),
        searches.finished(),
        NAMES,
        plan=searches.PLAN,
        **options,
    )


@pytest.fixture(scope="module")
def whole():
    return moved(on_record=norms)


class Mortal:
    """Is told of training, and kills it at every evaluation that is new to it."""

    def __init__(self):
        self.reached, self.told = -1, []

    def __call__(self, name, steps, metrics):
        self.told.append((name, steps))
        if sum(steps for _, steps in self.told) > self.reached:
            self.reached = sum(steps for _, steps in self.told)
            raise Killed


def until_it_ends(**options):
    mortal, kills = Mortal(), 0
    while True:
        mortal.told.clear()
        try:
            return moved(on_segment=mortal, **options), kills, mortal
        except Killed:
            kills += 1


def test_transfers_that_are_killed_at_every_evaluation_end_as_if_they_never_were(whole, tmp_path):
    book, kept = Ledger(), PartwayFile(tmp_path / "transfers.npz")
    options = {"keeper": kept, "keep_every": 1e9, "ledger": book, "on_record": norms}
    found, kills, mortal = until_it_ends(**options)
    chex.assert_trees_all_equal(found, whole)
    assert found.names == whole.names
    # At every evaluation of four populations of two; a beginning is no step further, but for one.
    assert kills == 1 + 4 * STEPS // EVERY
    assert mortal.reached == len(NAMES) * STEPS
    # The last interval of each was made twice: its end is kept only when it is finished.
    assert book.network_steps == len(NAMES) * (STEPS + EVERY)
    assert book.networks == len(NAMES)
    # What is finished is told of once, by the first of its names.
    assert mortal.told[:2] == [(NAMES[0], 2 * STEPS), (NAMES[2], 2 * STEPS)]


def test_finished_transfers_are_read_and_not_trained(whole, tmp_path):
    kept = PartwayFile(tmp_path / "transfers.npz")
    moved(keeper=kept, on_record=norms)
    book = Ledger()
    found = moved(keeper=PartwayFile(kept.path), ledger=book, on_record=norms)
    chex.assert_trees_all_equal(found, whole)
    assert found.measured["norms"].dtype == whole.measured["norms"].dtype
    assert (book.network_steps, book.networks) == (0, 0)


def test_who_takes_weights_and_gives_nothing_back_is_given_them_again(tmp_path):
    kept, book, asked = PartwayFile(tmp_path / "transfers.npz"), Ledger(), []

    def on_record(names, record):
        asked.extend(names)

    for _ in range(2):
        assert moved(keeper=kept, ledger=book, on_record=on_record).measured is None
    assert asked == 2 * NAMES
    assert book.networks == 2 * len(NAMES)


def test_what_began_otherwise_is_not_taken_for_what_is_finished(whole, tmp_path):
    kept, book = PartwayFile(tmp_path / "transfers.npz"), Ledger()
    moved(keeper=kept)
    nothing = Renewed(masks.matching())
    found = moved(keeper=kept, ledger=book, renewed=nothing)
    chex.assert_trees_all_equal(found, moved(renewed=nothing))
    assert not np.array_equal(found.curves["validation_loss"], whole.curves["validation_loss"])
    # Of the reinitialised ones all weights are new either way.
    assert book.networks == len(NAMES) // 2
    # Both are kept in the same file.
    again = Ledger()
    for renewed in (Renewed(), nothing):
        moved(keeper=PartwayFile(kept.path), ledger=again, renewed=renewed)
    assert again.networks == 0


STRANGE = {
    "an array": (np.zeros(3), None),
    "other curves": ({"curves": np.zeros(2), "steps": np.zeros(1)}, "ValueError|TypeError"),
    "nothing in it": ({}, "KeyError: 'steps'"),
    "no numbers": (np.zeros(()), None),
}


@pytest.mark.parametrize("name", STRANGE)
@pytest.mark.parametrize("deep", [False, True])
def test_whatever_a_file_holds_only_finished_transfers_are_taken_from_it(name, deep, capsys):
    content, said = STRANGE[name]

    class Drawer:
        def load(self):
            return {"finished": {"a": content} if deep else content, "training": content}

        def save(self, content):
            pytest.fail("nothing is finished")

    kept = Finished(Drawer(), 0)
    assert kept.find("a", tuple(NAMES), measured=False) is None
    found = capsys.readouterr().err
    assert bool(found) is deep
    assert not deep or re.search(said or "TypeError: no numbers by name", found)
    assert kept.load() is None or isinstance(kept.load(), dict)


def test_what_does_not_fit_is_said_and_trained_again(whole, tmp_path, capsys):
    kept, book = PartwayFile(tmp_path / "transfers.npz"), Ledger()
    moved(keeper=kept)
    content = kept.load()
    for one in content["finished"].values():
        one["diverged"] = one["diverged"][:1]
    kept.save(content)
    found = moved(keeper=kept, ledger=book)
    chex.assert_trees_all_equal(found, whole._replace(measured=None))
    assert book.networks == len(NAMES)
    said = capsys.readouterr().err
    assert said.count("what was kept of finished transfers does not fit (ValueError: numbers") == 4
