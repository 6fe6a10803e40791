"""Laws of what is kept: resumed equals uninterrupted, loaded equals trained, nothing is lost."""

import dataclasses
import itertools
import json
import os
import subprocess
import sys

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import searches
import xarray

from jaxticket import Protocol, TicketError, allocate, runs
from jaxticket.records import Memory
from jaxticket.runs.empty import check_taken
from jaxticket.runs.files import replacing
from jaxticket.runs.partway import PartwayFile
from jaxticket.runs.steps import Steps


@dataclasses.dataclass(frozen=True)
class Config:
    levels: int = 3
    rate: float = 0.2
    out: str | None = dataclasses.field(default=None, metadata={"science": False})


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A complete run directory of the small search."""
    path = tmp_path_factory.mktemp("run") / "run"
    run = runs.RunDirectory("small", Config(), path)
    run.record_environment(data={"sha256": "0" * 64, "source": "test"})
    with runs.CheckpointStore(run.checkpoints) as store:
        result = searches.search(store=store)
    runs.write_results(run.results, runs.to_dataset(result))
    runs.write_json(run.summary, {"claims": []})
    return path


class StopAfter(Memory):
    """Lets so many records through and then fails, as a kill would."""

    def __init__(self, store, records):
        self.store, self.left = store, records

    def load(self, template):
        return self.store.load(template)

    def save_origin(self, origin):
        return self.store.save_origin(origin)

    def save(self, record):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return self.store.save(record)


@pytest.mark.parametrize(
    ("records", "options"),
    [(1, {}), pytest.param(4, {"rewind_step": 2}, marks=pytest.mark.slow)],
)
def test_a_search_that_was_stopped_goes_on_to_the_same_results(records, options, tmp_path):
    whole = runs.to_dataset(searches.search(**options))
    with runs.CheckpointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        searches.search(store=StopAfter(store, records), **options)
    seen = []
    with runs.CheckpointStore(tmp_path) as store:
        result = searches.search(store=store, on_progress=seen.append, **options)
    xarray.testing.assert_identical(runs.to_dataset(result), whole)
    assert seen[-1].done == seen[-1].total


EMPTY = {"allocation": allocate.layerwise({"*": 0.3, "output/*": 0.99}), "empty_layers": True}


def test_a_search_goes_on_from_levels_that_keep_nothing_of_a_layer(tmp_path):
    choices = {**EMPTY, "arms": ("ticket", "reinit")}
    whole = searches.search(**choices)
    with runs.CheckpointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        searches.search(store=StopAfter(store, 2), **choices)
    with runs.CheckpointStore(tmp_path) as store:
        result = searches.search(store=store, **choices)
    with runs.CheckpointStore(tmp_path) as store:
        again = searches.search(
            store=store, on_progress=lambda progress: pytest.fail("trained"), **choices
        )
    for arm, level, replicate in itertools.product(choices["arms"], range(3), range(2)):
        trained = whole.network(arm, level, replicate)
        assert trained.mask["output"]["kernel"].any() == (level == 0)
        for resumed in (result, again):
            cases.assert_same_bits(resumed.network(arm, level, replicate), trained)
    read = runs.CheckpointReader(tmp_path).read(1)
    assert read.params["output/kernel"].dtype == np.float32
    assert read.params["output/kernel"].shape == (2, 5, 3)


def everything_pruned():
    """A record without a kept weight, and with state and observations without elements."""
    record = searches.finished().records[1]
    mask = {"hidden_0": {"kernel": np.zeros((2, 6, 5), bool)}}
    return record._replace(
        masks=mask,
        params=jax.tree.map(np.float32, mask),
        model_state={"norm": {"none": np.zeros((2, 0, 3), jnp.bfloat16)}},
        observed=[np.zeros((2, 0), np.int32), np.arange(2)],
    )


def test_arrays_without_an_element_come_back_as_they_were(tmp_path):
    record = everything_pruned()
    with runs.CheckpointStore(tmp_path) as store:
        store.save(record)
    metadata = Steps(tmp_path).metadata(0)
    assert {"/".join(one["path"]) for one in metadata["empty"]} <= set(metadata["leaves"])
    read = runs.CheckpointReader(tmp_path).read(0)
    norm, first, second = read.model_state["norm/none"], *map(read.observed.get, ("00000", "00001"))
    assert (norm.dtype, norm.shape) == (jnp.bfloat16, (2, 0, 3))
    assert (first.dtype, first.shape) == (np.int32, (2, 0))
    assert second.tolist() == [0, 1]
    cases.assert_same_bits(read.params, {"hidden_0/kernel": np.zeros((2, 6, 5), np.float32)})
    assert not (tmp_path / "0" / "params").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [1]},
        {"shape": [0, -1]},
        {"shape": [0, 2**40]},
        {"dtype": "float31"},
        {"dtype": "(2,)f4"},
        {"dtype": 3},
        {"path": ["params"]},
        {"path": ["params", "a\x1b[2J"]},
    ],
    ids=str,
)
def test_what_is_said_of_them_and_makes_no_sense_is_refused(change):
    one = {"path": ["params", "output/kernel"], "dtype": "float32", "shape": [0]}
    check_taken([one])
    with pytest.raises(ValueError, match=r"empty|without an element|character"):
        check_taken([one | change])


def test_a_search_of_which_only_the_origin_was_kept_begins_again():
    class OnlyTheOrigin(Memory):
        def load(self, template):
            return searches.finished().origins, []

    result = searches.search(store=OnlyTheOrigin())
    whole = runs.to_dataset(searches.finished())
    xarray.testing.assert_identical(runs.to_dataset(result), whole)


@pytest.mark.slow
def test_a_search_that_is_stopped_within_every_level_goes_on_to_the_same_results(tmp_path):
    whole = runs.to_dataset(searches.finished())
    furthest = -1

    def stop(progress):
        nonlocal furthest
        if progress.done > furthest:
            furthest = progress.done
            raise KeyboardInterrupt

    for attempt in range(100):
        try:
            with runs.CheckpointStore(tmp_path / "checkpoints") as store:
                result = searches.search(store=store, on_progress=stop)
            break
        except KeyboardInterrupt:
            assert attempt < 99
    xarray.testing.assert_identical(runs.to_dataset(result), whole)
    assert attempt > 8
    # What was partway is gone with the last of it.
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


@pytest.mark.slow
def test_a_damaged_file_of_what_was_partway_is_said_and_costs_only_time(tmp_path, capsys):
    def stop(progress):
        if progress.done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), runs.CheckpointStore(tmp_path / "checkpoints") as store:
        searches.search(store=store, on_progress=stop)
    kept = tmp_path / "checkpoints-partway.npz"
    content = bytearray(kept.read_bytes())
    content[len(content) // 2] ^= 1
    kept.write_bytes(content)
    with runs.CheckpointStore(tmp_path / "checkpoints") as store:
        result = searches.search(store=store)
    xarray.testing.assert_identical(runs.to_dataset(result), runs.to_dataset(searches.finished()))
    assert "cannot be read" in capsys.readouterr().err


def test_what_is_partway_and_cannot_be_written_is_said_and_stops_nothing(tmp_path, capsys):
    kept = tmp_path / "missing" / "kept.npz"
    PartwayFile(kept).save({"stop": 1})
    said = f"{kept}: cannot be written (No such file or directory); training goes on\n"
    assert capsys.readouterr().err == said


@pytest.mark.slow
def test_a_finished_search_trains_nothing_again(directory):
    with runs.CheckpointStore(directory / "checkpoints") as store:
        result = searches.search(store=store, on_progress=lambda progress: pytest.fail("trained"))
    xarray.testing.assert_identical(
        runs.to_dataset(result), runs.read_results(directory / "results.nc")
    )


def test_the_results_file_is_the_same_bytes_every_time(tmp_path):
    dataset = runs.to_dataset(searches.finished())
    for name in ("first.nc", "second.nc"):
        runs.write_results(tmp_path / name, dataset)
    assert (tmp_path / "first.nc").read_bytes() == (tmp_path / "second.nc").read_bytes()
    xarray.testing.assert_identical(runs.read_results(tmp_path / "first.nc"), dataset)


def test_load_gives_every_network_back(directory):
    run, result = runs.load(directory), searches.finished()
    for arm, level, replicate in itertools.product(searches.ARMS, range(3), range(2)):
        loaded = run.network(arm, level, replicate)
        trained = result.network(arm, level, replicate)
        chex.assert_trees_all_equal(loaded.params, trained.params)
        assert loaded.mask["hidden_0"]["bias"] is None
        chex.assert_trees_all_equal(loaded.mask, trained.mask)
        chex.assert_trees_all_equal(loaded.curves, trained.curves)
    first = jax.tree.map(lambda leaf: leaf[1], result.origin.initial)
    chex.assert_trees_all_equal(run.initial_params(1), first)
    assert run.config["levels"] == 3
    assert run.results.sizes["replicate"] == 2


def test_load_says_what_is_missing(directory, tmp_path):
    with pytest.raises(TicketError, match=r"no network \('ticket', 7, 0, ''\).*levels 0 to 2"):
        runs.load(directory).params("ticket", 7, 0)
    with pytest.raises(TicketError, match=r"is .* a run directory"):
        runs.load(tmp_path)
    with pytest.raises(TicketError, match="has not finished"):
        runs.read_results(tmp_path / "results.nc")
    (tmp_path / "results.nc").write_bytes(b"\x89HDF\r\n\x1a\n broken")
    with pytest.raises(TicketError, match="cannot be read"):
        runs.read_results(tmp_path / "results.nc")


def test_load_of_a_file_names_the_folder_that_is_wanted(directory):
    message = f"results.nc: is a file, expected the run directory; try {directory}$"
    with pytest.raises(TicketError, match=message):
        runs.load(directory / "results.nc")


def test_runs_are_compared_to_the_bit(directory):
    one, other = runs.load(directory), runs.load(str(directory))
    assert runs.differences(one, other) == []
    record = next(one.records())
    name = record.coordinates[1]
    changed = record.curves["validation_loss"].copy()
    changed[1, -1] += 1
    spoiled = record._replace(curves=record.curves | {"validation_loss": changed})
    found = runs.differences(other, spoiled)
    assert [(each.network, each.path, each.number) for each in found] == [
        (name, "curves/validation_loss", 1)
    ]
    networks = sum(len(each.coordinates) for each in other.records())
    assert networks == 2 + 2 * 2 * len(searches.ARMS)
    assert next(other.records({name})).coordinates == record.coordinates


@pytest.mark.usefixtures("unchecked")
def test_what_is_no_run_is_not_compared(directory):
    run = runs.load(directory)
    with pytest.raises(TicketError, match=r"got Dataset, expected runs from load\(directory\)"):
        runs.differences(run, run.results)


def test_a_store_takes_the_name_of_its_folder_relative_ones_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        with runs.CheckpointStore("checkpoints") as store:
            result = searches.search(store=store, levels=1, arms=("ticket",))
    reader = runs.CheckpointReader("checkpoints")
    assert reader.steps() == [0]
    chex.assert_trees_all_equal(reader.read(0).curves, result.records[0].curves)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]


def test_a_run_is_read_by_a_relative_path(directory, monkeypatch):
    monkeypatch.chdir(directory.parent)
    run, whole = runs.load(directory.name), runs.load(directory)
    chex.assert_trees_all_equal(run.params("reinit", 2, 1), whole.params("reinit", 2, 1))
    chex.assert_trees_all_equal(run.initial_params(1), whole.initial_params(1))


def test_results_hold_the_curves_of_the_networks_they_name():
    result = searches.finished()
    dataset = runs.to_dataset(result)
    for arm, level, replicate in itertools.product(searches.ARMS, range(3), range(2)):
        network = result.network(arm, level, replicate)
        here = dataset.sel(arm=arm, level=level, replicate=replicate)
        for name, curve in network.curves.items():
            np.testing.assert_array_equal(here[name].sel(step=network.steps), curve)
        stop = network.steps[np.argmin(network.curves["validation_loss"])]
        assert int(here["early_stop_step"]) == stop
    assert int(dataset["nonzero_pruned"].sum()) == int(dataset["regrown"].sum()) == 0
    kept = dataset["kept"].sel(arm="shuffle", level=2, replicate=0).values
    assert kept.tolist() == list(result.counts[2].values())
    np.testing.assert_allclose(dataset["density"], result.densities())


def test_contract_violations_would_be_counted():
    """The counters behind the exact claims are not constants."""
    result = searches.finished()
    record = result.records[1]
    spoilt = record._replace(
        params=jax.tree.map(lambda leaf: leaf + 1, record.params),
        masks=jax.tree.map(np.logical_not, record.masks),
    )
    dataset = runs.to_dataset(
        result._replace(records=[result.records[0], spoilt, *result.records[2:]])
    )
    pruned = 45 - sum(result.counts[1].values())
    wrong = dataset["nonzero_pruned"].sel(arm="ticket", level=1)
    assert wrong.values.tolist() == [45 - pruned, 45 - pruned]
    assert int(dataset["regrown"].sel(level=2).min()) > 0


def test_invalid_networks_hand_it_down():
    result = searches.finished()
    record = result.records[1]
    curves = {name: curve.copy() for name, curve in record.curves.items()}
    curves["validation_loss"][0, 1] = np.nan
    spoilt = [result.records[0], record._replace(curves=curves), *result.records[2:]]
    dataset = runs.to_dataset(result._replace(records=spoilt))
    valid = dataset["valid"].sel(replicate=0)
    assert int(dataset["diverged_step"].sel(arm="ticket", level=1, replicate=0)) == 3
    assert valid.sel(arm="ticket").values.tolist() == [True, False, False]
    assert valid.sel(arm="reinit").values.tolist() == [True, True, False]
    assert valid.sel(arm="oneshot").values.tolist() == [True, True, True]
    assert bool(dataset["valid"].sel(replicate=1).all())


def test_only_changed_science_enters_the_hash():
    assert runs.run_hash(Config()) == runs.run_hash(Config(levels=3, out="elsewhere"))
    assert runs.run_hash(Config()) != runs.run_hash(Config(levels=4))

    @dataclasses.dataclass(frozen=True)
    class Later(Config):
        added: bool = False

    assert runs.run_hash(Later(levels=5)) == runs.run_hash(Config(levels=5))


def test_a_directory_of_another_configuration_is_left_alone(tmp_path):
    runs.RunDirectory("small", Config(), tmp_path / "run").close()
    before = (tmp_path / "run" / "config.json").read_bytes()
    with pytest.raises(TicketError, match=r"another configuration \(rate 0.2 there, 0.3 now\)"):
        runs.RunDirectory("small", Config(rate=0.3), tmp_path / "run")
    with pytest.raises(TicketError, match="experiment 'small' there"):
        runs.RunDirectory("other", Config(), tmp_path / "run")
    assert (tmp_path / "run" / "config.json").read_bytes() == before
    assert sorted(os.listdir(tmp_path / "run")) == [".lock", "config.json"]


def test_fresh_discards_a_run_and_nothing_else(tmp_path):
    run = runs.RunDirectory("small", Config(), tmp_path)
    run.close()
    run.checkpoints.mkdir()
    (tmp_path / "summary.json").write_text("{}")
    (tmp_path / "notes.txt").write_text("mine")
    runs.RunDirectory("small", Config(rate=0.3), tmp_path, fresh=True)
    assert sorted(os.listdir(tmp_path)) == [".lock", "config.json", "notes.txt"]
    assert json.loads((tmp_path / "config.json").read_text())["config"]["rate"] == 0.3


@pytest.mark.parametrize("fresh", [False, True])
def test_a_folder_that_is_no_run_is_refused_untouched(fresh, tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(TicketError, match="holds other files"):
        runs.RunDirectory("small", Config(), tmp_path, fresh=fresh)
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize(
    ("place", "message"),
    [("file", "is a file"), ("file/below", "cannot be written"), ("/proc/run", "cannot be")],
)
def test_a_place_that_cannot_be_written_is_named(place, message, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TicketError, match=message):
        runs.RunDirectory("small", Config(), tmp_path / place)


def test_other_data_do_not_continue_a_run(tmp_path):
    run = runs.RunDirectory("small", Config(), tmp_path)
    run.record_environment(data={"sha256": "a" * 64, "source": "here"})
    with pytest.raises(TicketError, match=r"began with data of sha256 aaaaaaaaaaaa \(here\)"):
        run.record_environment(data={"sha256": "b" * 64, "source": "there"})
    starts = runs.read_json(tmp_path / "environment.json")["starts"]
    assert len(starts) == 1
    assert starts[0]["packages"]["jax"] == jax.__version__


def test_a_file_is_whole_or_absent(tmp_path):
    target = tmp_path / "results.nc"
    target.write_text("old")

    def fail_halfway():
        with replacing(target) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["results.nc"]


def test_damaged_json_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(TicketError, match=r"config.json: cannot be read .*--fresh"):
        runs.read_json(tmp_path / "config.json")


def test_a_checkpoint_of_another_schema_is_refused(directory, monkeypatch):
    monkeypatch.setattr(runs.steps, "SCHEMA", 4)
    with pytest.raises(TicketError, match="has schema 3, expected 4"):
        runs.load(directory)


def test_masks_take_one_bit_a_weight_and_pruned_weights_no_place(directory):
    content = Steps(directory / "checkpoints").read(2, "record", "params")[1]
    assert content["record"]["masks"]["hidden_0/kernel"].size == -(-2 * 30 // 8)
    kept = searches.finished().counts[2]["hidden_0/kernel"]
    assert content["params"]["hidden_0/kernel"].shape == (2 * kept,)
    assert "params" not in content["record"]


@pytest.mark.slow
def test_batch_statistics_and_criterion_states_survive(tmp_path):
    learner = cases.learner("linen_with_batch_statistics", "adam")
    options = {"learner": learner, "arms": ("reinit",), "levels": 2, "rewind_step": 3}
    with runs.CheckpointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        searches.search(store=StopAfter(store, 1), **options)
    with runs.CheckpointStore(tmp_path) as store:
        resumed = searches.search(store=store, **options)
    whole = searches.search(**options)
    rewound = (result.origin.rewound for result in (resumed, whole))
    chex.assert_trees_all_equal(*rewound)
    xarray.testing.assert_identical(runs.to_dataset(resumed), runs.to_dataset(whole))


def test_a_protocol_of_nothing_is_refused():
    with pytest.raises(TicketError, match="steps: got 0, expected at least 1"):
        Protocol(0, 1, 1)


def test_a_folder_in_use_is_refused_and_one_whose_process_was_killed_is_not(tmp_path):
    out = tmp_path / "run"
    program = (
        "import dataclasses, sys, time; from jaxticket import runs\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config:\n    levels: int = 3\n"
        f"kept = runs.RunDirectory('small', Config(), runs.files.Path({str(out)!r}))\n"
        "print('open', flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "open\n"
    where = f"is in use by process {holder.pid} on .* since .*another --out"
    for fresh in (False, True):
        with pytest.raises(TicketError, match=where):
            runs.RunDirectory("small", Config(), out, fresh=fresh)
    holder.kill()
    holder.wait()
    holder.stdout.close()
    first = runs.RunDirectory("small", Config(), out)
    with pytest.raises(TicketError, match=f"is in use by process {os.getpid()} "):
        runs.RunDirectory("small", Config(), out)
    first.close()
    runs.RunDirectory("small", Config(), out).close()
