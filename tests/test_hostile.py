"""Run directories from strangers: what they declare, name and link to is refused, in one line."""

import ast
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import fuzz_kinds
import h5py
import numpy as np
import pytest

from jaxticket import TicketError, runs
from jaxticket.archives import UNREADABLE, read_archive
from jaxticket.data.idx import read_idx
from jaxticket.runs.json_files import checksum
from jaxticket.runs.manifest import write_manifest
from jaxticket.runs.partway import PartwayFile
from jaxticket.runs.results_file import seal_results

ROOT = Path(__file__).parents[1]


@pytest.fixture
def run(tmp_path):
    """A run directory to be made hostile."""
    return fuzz_kinds.copy(tmp_path / "run")


def refused(function, *arguments):
    with pytest.raises(TicketError) as caught:
        function(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def open_to_write(run):
    fuzz_kinds.small(run).close()


def test_no_source_file_can_run_what_it_reads():
    """No pickle, eval, exec, shell or import by a name that is not looked up in a list."""
    forbidden = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
    calls = {"eval", "exec", "compile", "__import__"}
    found = []
    for file in [*ROOT.glob("jaxticket/**/*.py"), *ROOT.glob("experiments/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name.split(".")[0] for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [(node.module or "").split(".")[0]]
            elif isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                shell = called in ("os.system", "os.popen") or any(
                    word.arg in ("shell", "allow_pickle")
                    and getattr(word.value, "value", True) is not False
                    for word in node.keywords
                )
                loads = called in ("np.load", "numpy.load")
                unsafe = loads and "allow_pickle" not in {word.arg for word in node.keywords}
                if shell or unsafe or called in calls:
                    found.append(f"{file}:{node.lineno}: {ast.unparse(node)}")
            found += [f"{file}: imports {name}" for name in names if name in forbidden]
    assert found == []


@pytest.mark.parametrize(
    "place",
    [
        "config.json",
        "results.nc",
        "summary.json",
        "environment.json",
        "checkpoints",
        "checkpoints/0/record/manifest.ocdbt",
        "figures",
        ".lock",
    ],
)
def test_links_out_of_a_run_directory_are_refused_and_not_followed(place, run, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    path = run / place
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(mine)
    assert f"{path}: is a link" in refused(runs.load, run)
    assert f"{path}: is a link" in refused(open_to_write, run)
    assert mine.read_text() == "mine"


def test_a_pipe_is_refused_and_not_waited_for(run):
    (run / "config.json").unlink()
    os.mkfifo(run / "config.json")
    assert "config.json: is no file or folder" in refused(runs.load, run)
    assert "config.json: is no file or folder" in refused(open_to_write, run)


def test_a_link_in_the_place_of_a_temporary_file_is_not_written_through(run, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (run / ".summary.json.partial").symlink_to(mine)
    runs.write_json(run / "summary.json", {"claims": []})
    assert mine.read_text() == "mine"
    assert not (run / "summary.json").is_symlink()


def test_the_run_directory_itself_may_be_a_link(run, tmp_path):
    (tmp_path / "shortcut").symlink_to(run)
    assert runs.load(tmp_path / "shortcut").config["levels"] == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b"[1, 2]", "it is of type list, expected dict"),
        (b'{"experiment": 1, "hash": "0", "config": {}}', "experiment is of type int"),
        (b'{"experiment": "small", "hash": "0"}', "it has no config"),
        (b'{"experiment": "small", "hash": "0", "config": NaN}', "NaN is no JSON"),
        (b'{"experiment": "\\u001b[2J", "hash": "0", "config": {}}', "the character '\\x1b'"),
        (b'{"experiment": "\\ud800", "hash": "0", "config": {}}', "the character '\\ud800'"),
        (b"\xff\xfe", "UnicodeDecodeError"),
        (b'{"experiment": ' + b"9" * 5000 + b"}", "ValueError"),
    ],
)
def test_json_that_is_not_of_the_form_is_refused(text, message, run):
    (run / "config.json").write_bytes(text)
    assert message in refused(runs.load, run)


def test_json_larger_than_any_of_ours_is_not_read(run):
    with (run / "config.json").open("r+b") as file:
        file.truncate(2**40)
    assert "more than 67108864 bytes" in refused(runs.load, run)


def test_json_of_a_newer_version_is_not_guessed_at(run):
    content = {"schema": 99, "experiment": "small", "hash": "0", "config": {}}
    text = json.dumps(content | {"sha256": checksum(content)})
    (run / "config.json").write_text(text)
    assert "schema 99, this version knows 3: update it" in refused(runs.load, run)


def write_npz(path, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)


def npy(array=None, header=None):
    file = io.BytesIO()
    if header is None:
        np.save(file, np.zeros(3) if array is None else array)
    else:
        np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


HUGE = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 2**10)}


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("../../evil.npy", npy())], "the member '../../evil.npy'"),
        ([("/etc/evil.npy", npy())], "the member '/etc/evil.npy'"),
        ([("a.txt", npy())], "the member 'a.txt'"),
        ([("a.npy", npy(header=HUGE))], "declares [1099511627776, 1024] of float64"),
        ([("a.npy", npy(header=HUGE | {"shape": (-1,)}))], "declares [-1] of float64"),
        ([("a.npy", npy(header=HUGE | {"descr": "|O", "shape": (1,)}))], "Python objects"),
        ([("a.npy", b"\x93NUMPY\x09\x00")], "another format"),
        ([("a.npy", b"\x93NUMPY\x01\x00\xff\xff{'descr': __import__('os')}")], ""),
    ],
)
def test_archives_are_refused_by_what_they_declare(members, message, tmp_path):
    write_npz(tmp_path / "a.npz", members)
    with pytest.raises(UNREADABLE) as caught:
        read_archive(tmp_path / "a.npz")
    assert message in str(caught.value)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_of_two_members_of_one_name_are_refused(tmp_path):
    write_npz(tmp_path / "a.npz", [("a.npy", npy()), ("a.npy", npy(np.ones(3)))])
    with pytest.raises(ValueError, match="two members of one name"):
        read_archive(tmp_path / "a.npz")


@pytest.mark.parametrize("field", [30, 32], ids=["extra", "comment"])
def test_archives_of_which_one_member_hides_the_next_are_refused(field, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, first=np.arange(3), second=np.arange(3))
    content = bytearray(path.read_bytes())
    entries = [match.start() for match in re.finditer(b"PK\x01\x02", content)]
    # The length of what belongs to the first entry is stretched over the second, by one number.
    content[entries[0] + field] = content.index(b"PK\x05\x06") - entries[1]
    path.write_bytes(content)
    with pytest.raises(UNREADABLE):
        read_archive(path)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path):
    """Members that lie on each other: more than deflate could expand the file to."""
    bomb = tmp_path / "checkpoints-partway.npz"
    write_npz(bomb, [("a.npy", npy(np.zeros(2**20, np.uint8)))])
    content = bomb.read_bytes()
    with zipfile.ZipFile(bomb) as archive:
        begin = archive.start_dir
    entry = content[begin : content.index(b"PK\x05\x06")]
    number = 60
    entries = b"".join(entry.replace(b"a.npy", f"{i:01x}.npy"[:5].encode()) for i in range(16))
    many = entries * (number // 16)
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    end[8:12] = (16 * (number // 16)).to_bytes(2, "little") * 2
    end[12:16] = len(many).to_bytes(4, "little")
    bomb.write_bytes(content[:begin] + many + bytes(end))
    with pytest.raises(UNREADABLE):
        read_archive(bomb)
    assert PartwayFile(bomb).load() is None


def test_an_idx_file_is_not_unpacked_further_than_it_declares(tmp_path):
    import gzip

    head = bytes([0, 0, 8, 3]) + np.array([2, 2, 2], ">u4").tobytes()
    bomb = tmp_path / "train-images-idx3-ubyte.gz"
    bomb.write_bytes(gzip.compress(head + bytes(2**26)))
    assert "holds 9 bytes of data, expected 8" in refused(read_idx, bomb, 3)
    huge = bytes([0, 0, 8, 3]) + np.array([2**31, 2**31, 2**31], ">u4").tobytes()
    bomb.write_bytes(gzip.compress(huge))
    assert "can expand to" in refused(read_idx, bomb, 3)


def external_link(file):
    file["test_loss"] = h5py.ExternalLink("/etc/passwd", "x")


def soft_link(file):
    file["link"] = h5py.SoftLink("/arm")


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (4,))
    file.create_virtual_dataset("virtual", layout)


def external(file):
    file.create_dataset("raw", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def huge(file):
    file.create_dataset("huge", (2**30, 2**20), "f8")


def packed(file):
    file.create_dataset("packed", (2**20,), "f8", chunks=(2**16,), compression="gzip")


def folder(file):
    file.create_group("arm2")


def repeated(file):
    """One long string that many elements refer to."""
    file.create_dataset("text", (2000,), h5py.string_dtype(), data=["x" * 10**5] * 2000)


@pytest.mark.parametrize(
    "add", [external_link, soft_link, virtual, external, huge, packed, folder, repeated]
)
def test_results_that_declare_what_is_not_theirs_are_refused(add, run):
    content = (run / "results.nc").read_bytes()
    (run / "results.nc").write_bytes(content[: content.rindex(b"\nsha256 ")])
    with h5py.File(run / "results.nc", "a") as file:
        if add is external_link:
            del file["test_loss" if "test_loss" in file else "train_loss"]
        add(file)
    seal_results(run / "results.nc")
    assert "results.nc: cannot be read (ValueError" in refused(lambda: runs.load(run).results)


def rewrite(run, step, change):
    """Changes what a checkpoint says of itself, and makes its checksum right again."""
    file = run / "checkpoints" / str(step) / "_CHECKPOINT_METADATA"
    content = json.loads(file.read_text())
    metadata = content["custom_metadata"]
    change(metadata)
    rest = {name: part for name, part in metadata.items() if name != "sha256"}
    metadata["sha256"] = checksum(rest)
    file.write_text(json.dumps(content))
    write_manifest(file.parent)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["prunable"].update({"../../x": [2, 3]}), "names a leaf '../../x'"),
        (lambda m: m["prunable"].update({"hidden_0/kernel": [2, 2**40, 2**40]}), "contradicts"),
        (lambda m: m["prunable"].update({"hidden_0/kernel": [2, -6, 5]}), "of shape [2, -6, 5]"),
        (lambda m: m["prunable"].update({"hidden_0/kernel": [2, None, 5]}), "NoneType"),
        (lambda m: m.update(arms=["\x1b[2J"] * 2), "the character"),
        (lambda m: m.update(arms=["ticket"]), "of different lengths"),
        (lambda m: m.update(levels=["1", "1"]), "levels[0] is of type str"),
        (lambda m: m.update(leaves={}), "has another sha256 than it was saved with"),
        (lambda m: m.update(step=2), "was saved as step 2"),
        (lambda m: m.update(identity={"run": "x"}), "was saved by a run of another run, 'x'"),
        (lambda m: m.update(schema=4), "has schema 4, expected 3"),
    ],
)
def test_checkpoints_that_name_what_is_not_theirs_are_refused(change, message, run):
    rewrite(run, 1, change)
    assert message in refused(lambda: runs.load(run).params("ticket", 1, 0))


def test_a_checkpoint_of_a_huge_declared_shape_is_refused_before_it_is_read(run):
    """The array's own metadata, inside the database that TensorStore reads."""
    import tensorstore

    item = run / "checkpoints" / "1" / "record"
    spec = {
        "driver": "zarr3",
        "kvstore": {"driver": "ocdbt", "base": f"file://{item}/", "path": "steps/"},
        "metadata": {
            "shape": [2**50],
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [2**20]}},
            "data_type": "int64",
        },
        "create": True,
        "delete_existing": True,
    }
    tensorstore.open(spec).result()
    write_manifest(item.parent)
    assert "of this machine's memory" in refused(lambda: runs.load(run).params("ticket", 1, 0))
