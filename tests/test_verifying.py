"""Laws of --verify: any network of any run is trained again to the bit, and a lie is found."""

import shutil

import numpy as np
import pytest
import searches

from experiments import lenet
from experiments.common.verifying import TrainedAgainError, Withholding
from jaxticket import TicketError, runs


def withheld(path, arm, level):
    """Searches with one record withheld; gives the store and what was trained in its place."""
    store = runs.CheckpointStore(path)
    names = sorted(store.coordinates())
    draw = lambda seed: names[np.random.default_rng(seed).integers(len(names))][:2]  # noqa: E731
    withholding = Withholding(store, next(s for s in range(999) if draw(s) == (arm, level)))
    with pytest.raises(TrainedAgainError) as caught:
        searches.search(store=withholding)
    store.close()
    assert withholding.drawn[:2] == (arm, level)
    return withholding.withheld, caught.value.record


def test_dense_networks_late_levels_and_controls_are_trained_again_to_the_bit(tmp_path):
    # The level before the last one is dropped, so it is trained again too.
    path = searches.store_finished(tmp_path / "checkpoints", keep="ends")
    for arm, level in (("ticket", 0), ("ticket", searches.LEVELS - 1), ("oneshot", 1)):
        kept, trained = withheld(path, arm, level)
        assert (arm, level) in [name[:2] for name in trained.coordinates]
        assert runs.differences(kept, trained) == []
    # A run that has not finished is left as it is.
    shutil.rmtree(max(path.glob("[0-9]*"), key=lambda step: int(step.name)))
    (tmp_path / "checkpoints-partway.npz").write_bytes(b"of networks in training")
    before = sorted(tmp_path.rglob("*"))
    kept, trained = withheld(path, "ticket", 1)
    assert runs.differences(kept, trained) == []
    assert sorted(tmp_path.rglob("*")) == before


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
        lenet.main(["--preset", "smoke", "--out", str(tmp_path / "run"), *words])
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
    curves["train_loss"][1, 0] = -1.0
    (found,) = runs.differences(record, record._replace(curves=curves))
    assert (found.network.replicate, found.path, found.number) == (1, "curves/train_loss", 1)
    curves["train_loss"] = record.curves["train_loss"].astype(np.float64)
    assert {one.size for one in runs.differences(record, record._replace(curves=curves))} == {0}
    zeros = record._replace(curves={"test_loss": np.zeros((2, 1), np.float32)})
    negative = record._replace(curves={"test_loss": -np.zeros((2, 1), np.float32)})
    assert [one.number for one in runs.differences(zeros, negative)] == [1, 1]


def test_an_environment_says_what_may_change_a_bit(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    now = runs.describe_environment()
    assert runs.environment_differences(now, now) == []
    other = now | {"flags": now["flags"] | {"XLA_FLAGS": "--x"}, "command": ["other"]}
    assert runs.environment_differences(now, other) == ["flags.XLA_FLAGS  then, --x now"]
    assert len(now["machine"]["features"]) == 12
    assert {"jax", "jaxlib"} <= now["packages"].keys()


def test_what_needs_the_weights_of_its_networks_refuses_to_lose_or_verify_them(tmp_path):
    from experiments import connectivity

    with pytest.raises(TicketError, match="--verify: got --run, whose networks belong to another"):
        connectivity.main(["--run", str(tmp_path), "--verify", "--out", str(tmp_path / "x")])
    with pytest.raises(TicketError, match="--keep ends: got connectivity, which measures"):
        connectivity.main(["--keep", "ends", "--out", str(tmp_path / "x")])
