"""Laws of keeping less: results are the same, and what is gone says so or is made again."""

import shutil

import jax
import numpy as np
import pytest
import searches
import xarray
from test_runs import StopAfter

from jaxticket import TicketError, runs
from jaxticket.records import Dropped
from jaxticket.runs.thinning import has_params

LAST = searches.LEVELS - 1


def made(path, keep):
    """Searches into a store, or goes on."""
    with runs.CheckpointStore(path, keep=keep) as store:
        return searches.search(store=store)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The checkpoints of a finished search that keeps everything."""
    return searches.store_finished(tmp_path_factory.mktemp("keep") / "checkpoints")


def kept(path):
    """Lists arms and levels whose params are on disk, by what each checkpoint says of itself."""
    store = runs.CheckpointStore(path)
    records = {step: store.read(step) for step in store.steps()}
    store.close()
    found = {step for step, record in records.items() if not isinstance(record.params, Dropped)}
    assert found == {step for step in records if (path / str(step) / "params").is_dir()}
    return {(name.arm, name.level) for step in found for name in records[step].coordinates}


TICKETS = {("ticket", level) for level in range(searches.LEVELS)}
WANTED = {"tickets": TICKETS, "ends": {("ticket", 0), ("ticket", LAST)}}


@pytest.mark.slow
def test_results_are_the_same_and_only_what_was_asked_for_stays(tmp_path):
    with runs.CheckpointStore(tmp_path, keep="ends") as store, pytest.raises(KeyboardInterrupt):
        searches.search(store=StopAfter(store, 2))
    result = made(tmp_path, "ends")
    xarray.testing.assert_identical(runs.to_dataset(result), runs.to_dataset(searches.finished()))
    assert kept(tmp_path) == WANTED["ends"]


@pytest.mark.slow
def test_a_finished_run_is_thinned_on_request_and_a_kill_within_costs_nothing(whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "checkpoints")
    assert kept(path) > TICKETS
    runs.CheckpointStore(path, keep="tickets").close()
    assert kept(path) == TICKETS
    # Killed where the folder of one was taken out and not yet removed.
    (path / "1" / "params-dropped").touch()
    (path / "1" / "params").rename(path / ".1-params-dropped")
    assert has_params(path / "1")
    runs.CheckpointStore(path, keep="ends").close()
    assert kept(path) == WANTED["ends"]
    assert not list(path.glob(".*"))
    with runs.CheckpointStore(path) as store:
        again = searches.search(store=store, on_progress=lambda progress: pytest.fail("trained"))
    xarray.testing.assert_identical(runs.to_dataset(again), runs.to_dataset(searches.finished()))


@pytest.mark.slow
def test_a_level_that_is_lost_is_made_again_with_the_dropped_ones_before_it(whole, tmp_path):
    path = shutil.copytree(whole, tmp_path / "checkpoints")
    runs.CheckpointStore(path, keep="ends").close()
    for step in range(LAST, len(list(path.glob("[0-9]*")))):
        shutil.rmtree(path / str(step))
    result = made(path, "ends")
    xarray.testing.assert_identical(runs.to_dataset(result), runs.to_dataset(searches.finished()))
    mine, wanted = (one.network("ticket", LAST, 1).params for one in (result, searches.finished()))
    assert jax.tree.all(jax.tree.map(np.array_equal, mine, wanted))


def test_what_was_dropped_says_so_and_what_was_lost_is_no_drop(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "checkpoints")
    runs.CheckpointStore(tmp_path / "checkpoints", keep="tickets").close()
    runs.write_json(
        tmp_path / "config.json", {"experiment": "small", "hash": "0" * 12, "config": {}}
    )
    runs.write_json(tmp_path / "environment.json", {"starts": []})
    run, arm = runs.load(tmp_path), searches.ARMS[1]
    with pytest.raises(TicketError, match=r"were dropped \(--keep\)") as caught:
        run.params(arm, 1, 0)
    assert "\n" not in str(caught.value)
    network = run.network(arm, 1, 0)
    with pytest.raises(TicketError, match="were dropped"):
        network.params["output"]
    same = searches.finished().network(arm, 1, 0)
    assert jax.tree.all(jax.tree.map(np.array_equal, network.mask, same.mask))
    assert run.params("ticket", 1, 0).keys() == same.params.keys()
    shutil.rmtree(tmp_path / "checkpoints" / "1" / "params")
    with pytest.raises(TicketError, match=r"params/.* is missing"):
        runs.load(tmp_path).params("ticket", 1, 0)


@pytest.mark.usefixtures("unchecked")
def test_a_store_that_keeps_something_else_is_refused(tmp_path):
    with pytest.raises(TicketError, match="unknown keep 'end': did you mean 'ends'"):
        runs.CheckpointStore(tmp_path, keep="end")
