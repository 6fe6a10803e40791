"""Laws of --verify: any network of any run is trained again to the bit, and a lie is found."""

import io
import shutil

import numpy as np
import pytest
import searches
from rich.console import Console

from experiments import lenet
from experiments.common import verifying
from experiments.common.verifying import TrainedAgainError, Withholding
from jaxticket import TicketError, runs

pytestmark = pytest.mark.usefixtures("quick_compilation")

SMALL = ("--preset", "smoke", "--plan", "map", "--steps", "6it", "--evaluate-every", "3it")
SMALL = (*SMALL, "--levels", "3", "--width", "0.1", "--arms", "ticket", "shuffle")


def run(*arguments):
    console = Console(file=io.StringIO(), width=200)
    code = lenet.main([*SMALL, *map(str, arguments)], console)
    return code, console.file.getvalue()


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A finished run."""
    path = tmp_path_factory.mktemp("verify") / "run"
    assert run("--out", path)[0] == 0
    return path


def withheld(path, seed):
    """Searches with one record withheld; gives the store and what was trained in its place."""
    store = runs.CheckpointStore(path)
    withholding = Withholding(store, seed)
    with pytest.raises(TrainedAgainError) as caught:
        searches.search(store=withholding)
    store.close()
    return withholding, caught.value.record


def test_every_network_that_can_be_drawn_is_trained_again_to_the_bit(tmp_path):
    with runs.CheckpointStore(tmp_path, keep="ends") as store:
        searches.search(store=store)
    drawn = {}
    # As many seeds as find every population: dense, later levels, and controls.
    for seed in range(12):
        withholding, trained = withheld(tmp_path, seed)
        assert runs.differences(withholding.withheld, trained) == []
        assert withholding.drawn in trained.coordinates
        drawn[withholding.drawn.arm, withholding.drawn.level] = trained
    assert {("ticket", level) for level in range(searches.LEVELS)} < drawn.keys()


def test_a_partial_run_is_verified_and_left_as_it_is(tmp_path):
    with runs.CheckpointStore(tmp_path / "checkpoints") as store:
        searches.search(store=store)
    shutil.rmtree(tmp_path / "checkpoints" / "3")
    (tmp_path / "checkpoints-partway.npz").write_bytes(b"of a level in training")
    before = sorted(tmp_path.rglob("*"))
    for seed in range(3):
        withholding, trained = withheld(tmp_path / "checkpoints", seed)
        assert runs.differences(withholding.withheld, trained) == []
    assert sorted(tmp_path.rglob("*")) == before


def test_the_command_says_what_it_drew_and_that_it_is_identical(out):
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}
    code, text = run("--out", out, "--verify")
    assert code == 0
    assert "masks, params, model state and curves are identical" in text
    seed = text.split("--verify-seed ")[1].split(")")[0]
    code, again = run("--out", out, "--verify", "--verify-seed", seed)
    assert (code, again) == (0, text)
    after = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.name != ".lock"}
    assert after == before


def test_one_bit_of_one_weight_is_found_and_named_with_what_has_changed(out, monkeypatch, capsys):
    load = Withholding.load

    def load_flipped(withholding, template):
        found = load(withholding, template)
        leaf = withholding.withheld.params["hidden_0"]["bias"]
        leaf.view(np.uint32)[0, 3] ^= 1
        return found

    monkeypatch.setattr(Withholding, "load", load_flipped)
    environment = verifying.describe_environment()
    monkeypatch.setattr(verifying, "describe_environment", lambda: environment | {"python": "3.99"})
    code, _ = run("--out", out, "--verify", "--verify-seed", 1)
    assert code == 1
    message = capsys.readouterr().err
    assert "params/hidden_0/bias differs in 1 of 30 values, by up to " in message
    assert "; python 3." in message
    assert "3.99 now" in message
    assert message.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--verify-seed", "3"], "--verify-seed: got no --verify"),
        (["--verify", "--fresh"], "--verify: got --fresh, which would discard the run"),
        (["--verify", "--out", "/nonexistent"], "--verify: /nonexistent holds no run"),
        (["--verify", "--verify-seed", "-1"], "--verify-seed: got -1, expected 0 to"),
        (["--keep-every", "-1"], "--keep-every: got -1.0, expected seconds"),
    ],
)
def test_what_cannot_be_verified_is_refused_and_nothing_is_written(words, message, tmp_path):
    with pytest.raises(TicketError, match=message):
        run("--out", tmp_path / "run", *words)
    assert not (tmp_path / "run").exists()


def test_two_whole_searches_are_identical_to_the_bit():
    first, second = searches.finished(), searches.search()
    assert len(first.records) == len(second.records)
    for one, other in zip(first.records, second.records, strict=True):
        assert one.coordinates == other.coordinates
        assert runs.differences(one, other) == []


def test_differences_are_of_bits_not_of_values():
    record = searches.finished().records[1]
    curves = {name: curve.copy() for name, curve in record.curves.items()}
    assert runs.differences(record, record._replace(curves=curves)) == []
    curves["test_loss"][1, 0] = np.nan
    (found,) = runs.differences(record, record._replace(curves=curves))
    assert (found.network.replicate, found.path, found.number) == (1, "curves/test_loss", 1)
    curves["test_loss"] = record.curves["test_loss"].astype(np.float64)
    assert {one.size for one in runs.differences(record, record._replace(curves=curves))} == {0}
    zeros = record._replace(curves={"test_loss": np.zeros((2, 1), np.float32)})
    negative = record._replace(curves={"test_loss": -np.zeros((2, 1), np.float32)})
    assert [one.number for one in runs.differences(zeros, negative)] == [1, 1]


def test_an_environment_says_what_may_change_a_bit():
    now = runs.describe_environment()
    assert runs.environment_differences(now, now) == []
    other = now | {"flags": now["flags"] | {"XLA_FLAGS": "--x"}, "command": ["other"]}
    assert runs.environment_differences(now, other) == ["flags.XLA_FLAGS  then, --x now"]
    assert len(now["machine"]["features"]) == 12
    assert {"jax", "jaxlib"} <= now["packages"].keys()


def test_an_experiment_that_reads_another_run_does_not_verify_it(out, tmp_path):
    from experiments import connectivity

    with pytest.raises(TicketError, match="--verify: got --run, whose networks belong to another"):
        connectivity.main(["--run", str(out), "--verify", "--out", str(tmp_path / "x")])
    with pytest.raises(TicketError, match="--keep ends: got connectivity, which measures"):
        connectivity.main(["--keep", "ends", "--out", str(tmp_path / "x")])
