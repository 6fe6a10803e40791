"""Laws of finished networks that are mapped from the disk: the same bits, nothing left behind."""

import errno
import mmap
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import searches
import xarray

from jaxticket import runs
from jaxticket.errors import StorageError
from jaxticket.runs import shelf
from jaxticket.runs.shelf import Shelf


def is_mapped(leaf):
    return isinstance(leaf.base, mmap.mmap)


def trees():
    draw = np.random.default_rng(0).normal(size=(300, 70))
    return {
        "float": draw.astype(np.float32),
        "turned": draw.T,
        "mask": np.repeat(draw > 0, 4, axis=1),
        "half": np.repeat(draw, 2, axis=0).astype(jnp.bfloat16),
        "small": np.arange(3),
        "name": "ticket",
        "none": None,
        "empty": np.zeros((0, 2**20), np.float32),
    }


def test_what_exceeds_the_limit_is_the_same_mapped_from_a_file_that_nobody_sees(tmp_path, capsys):
    before = trees()
    held = Shelf(tmp_path, limit=2**30).put(before)
    assert held is before
    mapped = Shelf(tmp_path / "new", limit=0).put(before)
    large = {"float", "turned", "mask", "half"}
    for name, leaf in before.items():
        if not isinstance(leaf, np.ndarray):
            assert mapped[name] == leaf
            continue
        assert mapped[name].dtype == leaf.dtype
        assert np.array_equal(mapped[name], leaf)
        assert (name in large) == is_mapped(mapped[name]) == (not mapped[name].flags.writeable)
    assert list((tmp_path / "new").iterdir()) == []
    assert "finished networks take more than 0 B" in capsys.readouterr().err


def test_what_is_held_counts_and_is_told_of_once(tmp_path, capsys):
    one = {"w": np.ones(2**16, np.float32)}
    shelves = Shelf(tmp_path, limit=2.5 * one["w"].nbytes)
    assert [is_mapped(shelves.put(one)["w"]) for _ in range(4)] == [False, False, True, True]
    assert capsys.readouterr().err.count("\n") == 1


def test_every_mapping_may_hold_a_file_open_and_one_process_tells(tmp_path, monkeypatch, capsys):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    monkeypatch.setattr(shelf.hosts, "is_primary", lambda: False)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, hard), hard))
        shelves = Shelf(tmp_path, limit=0)
        kept = [shelves.put({"w": np.full(2**14, n, np.float32)}) for n in range(300)]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [tree["w"][-1] for tree in kept] == list(range(300))
    assert capsys.readouterr().err == ""


def test_processes_share_what_is_held(monkeypatch):
    alone = shelf.held_bytes()
    monkeypatch.setattr(shelf.hosts, "several", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    assert shelf.held_bytes() == alone / 4


def test_a_search_whose_networks_are_mapped_finds_the_same_and_so_does_one_that_goes_on(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(shelf, "_SMALL", 1)
    wanted, found = searches.finished(), []
    for _ in range(2):  # the second time all of it is read
        with runs.CheckpointStore(tmp_path / "checkpoints", held_bytes=0) as store:
            found.append(searches.search(store=store))
    for result in found:
        xarray.testing.assert_identical(runs.to_dataset(result), runs.to_dataset(wanted))
        trees = [(r.masks, r.params, r.model_state) for r in result.records]
        same = [(r.masks, r.params, r.model_state) for r in wanted.records]
        for one, other in zip(jax.tree.leaves(trees), jax.tree.leaves(same), strict=True):
            assert one.tobytes() == other.tobytes()
        mapped = jax.tree.leaves((trees, result.origin.initial))
        assert mapped
        assert all(is_mapped(leaf) for leaf in mapped)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoints"]
    assert "are read from files in" in capsys.readouterr().err


def test_a_disk_without_room_ends_it_in_one_line(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(StorageError, match=r"cannot be written \(No space left on device\)"):
        Shelf(tmp_path, limit=0).put(trees())
