"""Laws of damage: what is not what was written is named, set aside, and never a result."""

import io
import json
import shutil
from pathlib import Path

import fuzz
import fuzz_kinds
import h5py
import jax
import numpy as np
import pytest
from rich.console import Console

from experiments import lenet
from jaxticket import TicketError, runs
from jaxticket.runs.files import SET_ASIDE
from jaxticket.runs.manifest import write_manifest


@pytest.fixture
def run(tmp_path):
    """A finished run: two levels of the ticket, then the control."""
    return fuzz_kinds.copy(tmp_path / "run")


def load(run, other=None):
    identity = fuzz_kinds.identity() | (other or {})
    store = runs.CheckpointStore(run / "checkpoints", identity, run=run)
    try:
        return store.load(fuzz_kinds.template())
    finally:
        store.close()


def flip(file, place=0.5):
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)


def spoil(file):
    """Flips a bit of every byte: which bytes of a database matter is its own affair."""
    file.write_bytes(bytes(byte ^ 1 for byte in file.read_bytes()))


def largest(step):
    """The file of a step that holds its arrays."""
    return max((path for path in step.rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)


def swap(run):
    one, other = run / "checkpoints" / "1", run / "checkpoints" / "2"
    one.rename(run / "x")
    other.rename(one)
    (run / "x").rename(other)


def other_run(run):
    """Puts in the place of a step that of a run of another configuration."""
    shutil.rmtree(run / "checkpoints" / "2")
    shutil.copytree(fuzz_kinds.MADE[1] / "checkpoints" / "1", run / "checkpoints" / "2")


def twin(run):
    """Makes all steps behind the first depend on another first one, as a twin run's would."""
    file = run / "checkpoints" / "1" / "_CHECKPOINT_METADATA"
    content = json.loads(file.read_text())
    metadata = content["custom_metadata"]
    metadata["after"] = "0" * 64
    rest = {name: part for name, part in metadata.items() if name != "sha256"}
    metadata["sha256"] = runs.json_files.checksum(rest)
    file.write_text(json.dumps(content))
    write_manifest(file.parent)


def older(run):
    """Puts a step without checksums behind one that has them."""
    file = run / "checkpoints" / "2" / "_CHECKPOINT_METADATA"
    content = json.loads(file.read_text())
    kept = ("arms", "levels", "replicates", "variants", "prunable")
    metadata = {name: content["custom_metadata"][name] for name in kept}
    file.write_text(json.dumps(content | {"custom_metadata": metadata | {"schema": 2}}))
    write_manifest(file.parent)


DAMAGE = {
    "arrays": (lambda run: spoil(largest(run / "checkpoints" / "2")), 2, "checkpoints/2: "),
    "metadata": (
        lambda run: flip(run / "checkpoints" / "1" / "_CHECKPOINT_METADATA"),
        1,
        "checkpoints/1: ",
    ),
    "a missing step": (
        lambda run: shutil.rmtree(run / "checkpoints" / "1"),
        1,
        "checkpoints/1: is missing, 2 is there",
    ),
    "swapped steps": (swap, 1, "checkpoints/1: was saved as step 2"),
    "another run's step": (other_run, 2, "checkpoints/2: was saved as step 1"),
    "a twin's step": (twin, 1, "checkpoints/1: was saved behind another step"),
    "an older version's step": (older, 2, "checkpoints/2: was saved behind another step"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_named_and_set_aside_with_what_depends_on_it(name, run, capsys):
    damage, first, message = DAMAGE[name]
    damage(run)
    before = runs.CheckpointReader(run / "checkpoints").steps()
    records = load(run)[1]
    assert fuzz_kinds.same(_bits(records), _bits(_whole()[1][:first]))
    said = capsys.readouterr().err
    assert message in said
    assert f"going on from checkpoint {first - 1}" in said
    assert said.count("\n") == 1
    moved = sorted(int(p.name) for p in (run / SET_ASIDE / "1" / "checkpoints").iterdir())
    assert moved == [step for step in before if step >= first]
    assert runs.CheckpointReader(run / "checkpoints").steps() == list(range(first))


def _whole():
    reader = runs.CheckpointReader(fuzz_kinds.MADE[0] / "checkpoints", fuzz_kinds.identity())
    return reader.load(fuzz_kinds.template())


def _bits(records):
    return [[np.asarray(leaf) for leaf in jax.tree.leaves(record[4:])] for record in records]


def test_where_no_checkpoint_is_whole_nothing_is_moved_and_fresh_is_asked_for(run, tmp_path):
    spoil(largest(run / "checkpoints" / "0"))
    number = len(runs.CheckpointReader(run / "checkpoints").steps())
    with pytest.raises(
        TicketError, match=rf"checkpoints/0: .*--fresh, which discards the {number}"
    ):
        load(run)
    assert len(runs.CheckpointReader(run / "checkpoints").steps()) == number
    assert not (run / SET_ASIDE).exists()


@pytest.mark.parametrize(("name", "other"), [("run", "lenet 0"), ("data", "f" * 64)])
def test_checkpoints_of_another_run_or_other_data_are_refused(name, other, run):
    with pytest.raises(TicketError, match=f"another {name}, .*--fresh"):
        load(run, {name: other})


def test_a_reader_names_the_damaged_step_and_changes_nothing(run):
    spoil(largest(run / "checkpoints" / "1"))
    reader = runs.CheckpointReader(run / "checkpoints", fuzz_kinds.identity())
    with pytest.raises(TicketError, match=r"checkpoints/1: .*rerun the command"):
        reader.read(1)
    with pytest.raises(TicketError, match=r"checkpoints/1: "):
        reader.load(fuzz_kinds.template())
    reader.read(2)
    assert not (run / SET_ASIDE).exists()


def test_steps_of_another_network_do_not_fit(run):
    template = fuzz_kinds.template()
    wider = jax.tree.map(
        lambda leaf: (
            jax.ShapeDtypeStruct((*leaf.shape[:-1], 99), leaf.dtype) if leaf.ndim else leaf
        ),
        template.state.params,
    )
    strange = template._replace(state=template.state._replace(params=wider))
    with pytest.raises(TicketError, match=r"checkpoints/0: does not fit: .*this network's is"):
        runs.CheckpointReader(run / "checkpoints").load(strange)


# The other files of a run directory


@pytest.mark.parametrize("content", [b"{", b"", None])
def test_a_lost_config_is_written_again_if_the_checkpoints_say_whose_they_are(content, run, capsys):
    file = run / "config.json"
    before = fuzz_kinds.read_config(run)
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    with pytest.raises(TicketError, match=r"config.json: .*are of 'lenet .*expected 'other"):
        runs.RunDirectory("other", fuzz_kinds.config(), run)
    fuzz_kinds.small(run).close()
    assert fuzz_kinds.read_config(run) == before
    assert "written again, as its checkpoints are of this run" in capsys.readouterr().err


def test_a_lost_config_without_checkpoints_is_not_guessed(run):
    shutil.rmtree(run / "checkpoints")
    (run / "config.json").write_text("{")
    with pytest.raises(TicketError, match=r"config.json: .*--fresh; .*do not say whose they are"):
        fuzz_kinds.small(run)
    runs.RunDirectory("lenet", fuzz_kinds.config(), run, fresh=True).close()
    assert sorted(path.name for path in run.iterdir()) == [".lock", "config.json"]


@pytest.mark.parametrize("content", ['{"model_type": "bert"}', "{"])
def test_a_folder_of_something_else_with_a_config_is_never_discarded(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "weights.bin").write_text("mine")
    (tmp_path / "tokenizer.json").write_text("mine")
    for fresh in (False, True):
        with pytest.raises(TicketError, match="holds other files"):
            runs.RunDirectory("lenet", fuzz_kinds.config(), tmp_path, fresh=fresh)
    assert (tmp_path / "checkpoints" / "weights.bin").read_text() == "mine"


def test_a_folder_of_checkpoints_of_something_else_is_never_discarded(tmp_path):
    (tmp_path / "checkpoints" / "0").mkdir(parents=True)
    with pytest.raises(TicketError, match="holds other files"):
        runs.RunDirectory("lenet", fuzz_kinds.config(), tmp_path, fresh=True)
    assert (tmp_path / "checkpoints" / "0").is_dir()


def test_damaged_results_never_reach_hdf5(run, monkeypatch):
    """It has read damaged strings for ever."""
    monkeypatch.setattr(h5py, "File", lambda *_: pytest.fail("opened"))
    file = run / "results.nc"
    whole = file.read_bytes()
    for damaged in (
        whole[:-1],
        whole[:-80],
        whole.replace(b"accuracy", b"accurate"),
        whole + b"\n",
    ):
        file.write_bytes(damaged)
        with pytest.raises(TicketError, match=r"results.nc: cannot be read .*damaged"):
            runs.read_results(file)


def test_edited_numbers_are_found_out(run):
    file = run / "summary.json"
    file.write_text(file.read_text().replace('"holds": true', '"holds": false'))
    with pytest.raises(TicketError, match=r"summary.json: .*damaged or edited"):
        runs.load(run).summary  # noqa: B018


def test_json_is_the_same_however_it_is_laid_out(run):
    file = run / "config.json"
    file.write_text(json.dumps(dict(reversed(json.loads(file.read_text()).items()))))
    assert runs.load(run).config["levels"] == 2


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of the command line; several tests take copies of it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert command(out)[0] == 0
    return out


def command(out, *words):
    console = Console(file=io.StringIO(), width=130)
    code = lenet.main([*fuzz_kinds.WORDS, "--out", str(out), *words], console)
    return code, console.file.getvalue()


@pytest.mark.slow
def test_the_same_command_goes_on_from_the_newest_whole_level(finished, tmp_path, capsys):
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    (out / "summary.json").unlink()
    spoil(largest(out / "checkpoints" / "1"))
    for _ in range(2):
        assert command(out)[0] == 0
        assert (out / "results.nc").read_bytes() == (finished / "results.nc").read_bytes()
    said = capsys.readouterr().err
    assert said.count("going on from checkpoint 0") == 1
    assert fuzz_kinds.same(_bits(load(out)[1]), _bits(load(finished)[1]))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["results.nc", "summary.json"])
def test_the_same_command_makes_a_damaged_last_file_again(name, finished, tmp_path, capsys):
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    flip(out / name)
    code, text = command(out)
    assert code == 0, text
    said = capsys.readouterr().err
    assert f"{out / name}: cannot be read" in said
    assert (out / SET_ASIDE / "1" / name).is_file()
    assert (out / "results.nc").read_bytes() == (finished / "results.nc").read_bytes()
    summaries = [runs.read_json(path / "summary.json") for path in (out, finished)]
    assert summaries[0]["claims"] == summaries[1]["claims"]
    if name == "results.nc":
        # What the networks have cost is not forgotten.
        assert summaries[0]["costs"] == summaries[1]["costs"]


@pytest.mark.slow
def test_a_damaged_result_that_nothing_can_make_again_asks_for_fresh(finished, tmp_path):
    out = Path(shutil.copytree(finished, tmp_path / "run"))
    flip(out / "results.nc")
    shutil.rmtree(out / "checkpoints")
    with pytest.raises(TicketError, match=r"results.nc: .*no checkpoint is there.*--fresh"):
        command(out)
    (out / "results.nc").unlink()
    with pytest.raises(TicketError, match=r"results.nc: is missing, and no checkpoint.*--fresh"):
        command(out)


# Everything at once


# Where no list of files stands before them, the parsers leave threads and warnings behind.
QUIET = [kind for kind in fuzz_kinds.KINDS if kind != "checkpoint not listed"]


@pytest.mark.parametrize("kind", QUIET)
def test_no_mutation_of_any_file_gives_another_result(kind):
    """A short stream; `python -m tests.fuzz --mutations 1000` is the long one."""
    number = 8 if kind.startswith(("checkpoint", "summary")) else 20
    outcomes = list(fuzz.fuzz(kind, number, seed=1))
    assert [outcome.fault for _, outcome in outcomes if outcome.fault] == []
    if kind != "lock":
        # Something was damaged indeed.
        assert {outcome.what for _, outcome in outcomes} != {"the same"}
