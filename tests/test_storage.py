"""A full disk, a read-only one, a quota: one line, and the last good state stays whole."""

import contextlib
import errno
import os
import subprocess

import fuzz_kinds
import jax
import numpy as np
import pytest
import xarray

from experiments.common.command_line import run_main
from jaxticket import plots, runs
from jaxticket.errors import StorageError
from jaxticket.runs.files import storing


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, and a function that changes what it allows."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", place], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this user may not mount: {mounted.stderr.decode().strip()}")

    def change(options):
        subprocess.run(["mount", "-o", f"remount,{options}", place], check=True)

    yield place, change
    change("rw")
    subprocess.run(["umount", "--lazy", place], check=True)


def used(place):
    found = os.statvfs(place)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def fill(place):
    with contextlib.suppress(OSError), (place / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@pytest.mark.parametrize("options", ["full", "ro"])
def test_what_was_kept_before_a_disk_refused_is_whole_and_the_rest_is_kept_later(options, disk):
    place, change = disk
    identity, template = fuzz_kinds.identity(), fuzz_kinds.template()
    [origin], records = runs.CheckpointReader(fuzz_kinds.MADE[0] / "checkpoints").load(template)

    def open_store():
        return runs.CheckpointStore(place / "checkpoints", identity, run=place)

    with open_store() as store:
        assert store.load(template) == ([], [])
        store.save_origin(origin)
        store.save(records[0])
        store.save(records[1])
    change("ro") if options == "ro" else fill(place)
    with pytest.raises(StorageError) as caught, open_store() as store:
        store.save(records[2])
    message = str(caught.value)
    said = "Read-only file system" if options == "ro" else "No space left on device"
    assert message.startswith(f"{place / 'checkpoints'}: cannot be written ({said}), ")
    assert "rerun the same command, which goes on from what is finished" in message
    assert "\n" not in message
    change("rw")
    (place / "filler").unlink(missing_ok=True)
    with open_store() as store:
        assert len(store.load(template)[1]) == 2
        store.save(records[2])
    with open_store() as store:
        again = store.load(template)
    listed = lambda tree: [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]  # noqa: E731
    whole = listed([one[4:] for one in records])
    assert fuzz_kinds.same(listed([one[4:] for one in again[1]]), whole)
    assert sorted(path.name for path in place.iterdir()) == ["checkpoints"]


def test_a_file_that_cannot_be_replaced_stays_what_it_was(disk):
    from matplotlib.figure import Figure

    place, _ = disk
    dataset = runs.read_results(fuzz_kinds.MADE[0] / "results.nc")
    runs.write_json(place / "summary.json", {"claims": []})
    runs.write_results(place / "results.nc", dataset)
    fill(place)
    full = r"cannot be written \(No space left on device\), 0 MB is free in .*free some space"
    with pytest.raises(StorageError, match=rf"summary.json: {full}"):
        runs.write_json(place / "summary.json", {"claims": ["x" * 10**5]})
    with pytest.raises(StorageError, match=r"results.nc: cannot be written"):
        runs.write_results(place / "results.nc", dataset)
    with pytest.raises(StorageError, match=full), storing(place / "figures"):
        plots.save({"empty": Figure((5, 5))}, place / "figures")
    assert runs.read_json(place / "summary.json") == {"claims": []}
    xarray.testing.assert_identical(runs.read_results(place / "results.nc"), dataset)
    assert not list(place.glob(".*.partial"))


@pytest.mark.parametrize("number", [errno.EDQUOT, errno.EACCES, errno.EIO])
def test_each_refusal_of_the_system_has_its_remedy_and_ends_with_1(
    number, tmp_path, capsys, monkeypatch
):
    def main():
        with storing(tmp_path / "summary.json"):
            raise OSError(number, os.strerror(number))

    class EndedError(Exception):
        """What `os._exit` would do."""

    def end(code):
        raise EndedError(code)

    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(EndedError, match=r"^1$"):
        run_main(main)
    said = capsys.readouterr().err
    remedies = {errno.EDQUOT: "free some of your quota", errno.EACCES: "make the folder yours"}
    assert remedies.get(number, "make room") in said
    assert said.startswith("error: ")
    assert said.count("\n") == 1
