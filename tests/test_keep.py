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
from jaxticket.runs.thinning import drop, has_params

pytestmark = pytest.mark.usefixtures("quick_compilation")

LAST = searches.LEVELS - 1


def made(path, keep, stop=None):
    """Searches into a store, all at once or killed after so many records."""
    if stop is not None:
        with runs.CheckpointStore(path, keep=keep) as store, pytest.raises(KeyboardInterrupt):
            searches.search(store=StopAfter(store, stop))
    with runs.CheckpointStore(path, keep=keep) as store:
        return searches.search(store=store)


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


@pytest.mark.parametrize("keep", WANTED)
@pytest.mark.parametrize("stop", [None, 2, searches.LEVELS + 1])
def test_results_are_the_same_and_only_what_was_asked_for_stays(keep, stop, tmp_path):
    result = made(tmp_path, keep, stop)
    whole = runs.to_dataset(searches.finished())
    xarray.testing.assert_identical(runs.to_dataset(result), whole)
    assert kept(tmp_path) == WANTED[keep]
    with runs.CheckpointStore(tmp_path, keep=keep) as store:
        again = searches.search(store=store, on_progress=lambda progress: pytest.fail("trained"))
    xarray.testing.assert_identical(runs.to_dataset(again), whole)


def test_a_finished_run_is_thinned_on_request_and_a_kill_within_costs_nothing(tmp_path):
    made(tmp_path, "all")
    assert kept(tmp_path) > TICKETS
    # Killed where the folder of one was renamed and not yet emptied.
    (tmp_path / "1" / "params").rename(tmp_path / "1" / "params-dropped")
    assert has_params(tmp_path / "1")
    runs.CheckpointStore(tmp_path, keep="ends").close()
    assert kept(tmp_path) == WANTED["ends"]
    assert not any((tmp_path / "1" / "params-dropped").iterdir())


def test_a_level_that_is_lost_is_made_again_with_the_dropped_ones_before_it(tmp_path):
    made(tmp_path, "ends")
    count = len(list(tmp_path.iterdir()))
    for step in range(LAST, count):
        shutil.rmtree(tmp_path / str(step))
    result, whole = made(tmp_path, "ends"), searches.finished()
    xarray.testing.assert_identical(runs.to_dataset(result), runs.to_dataset(whole))
    mine, wanted = (one.network("ticket", LAST, 1).params for one in (result, whole))
    assert jax.tree.all(jax.tree.map(np.array_equal, mine, wanted))


def test_what_was_dropped_says_so_and_what_was_lost_is_no_drop(tmp_path):
    directory = tmp_path / "run"
    directory.mkdir()
    made(directory / "checkpoints", "tickets")
    runs.write_json(directory / "config.json", {"experiment": "small", "config": {}})
    runs.write_json(directory / "environment.json", {"starts": []})
    run, arm = runs.load(directory), searches.ARMS[1]
    with pytest.raises(TicketError, match=r"were dropped \(--keep\)") as caught:
        run.params(arm, 1, 0)
    assert "\n" not in str(caught.value)
    network = run.network(arm, 1, 0)
    with pytest.raises(TicketError, match="were dropped"):
        network.params["output"]
    whole = searches.finished().network(arm, 1, 0)
    assert jax.tree.all(jax.tree.map(np.array_equal, network.mask, whole.mask))
    assert run.params("ticket", 1, 0).keys() == whole.params.keys()
    shutil.rmtree(directory / "checkpoints" / "1" / "params")
    with pytest.raises(TicketError, match="has lost its params"):
        runs.load(directory).params("ticket", 1, 0)
    drop(directory / "checkpoints" / "2")
    with pytest.raises(TicketError, match="were dropped"):
        runs.load(directory).params("ticket", 2, 0)


def test_a_store_that_keeps_something_else_is_refused(tmp_path):
    with pytest.raises(TicketError, match="unknown keep 'end': did you mean 'ends'"):
        runs.CheckpointStore(tmp_path, keep="end")
