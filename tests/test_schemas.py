"""A run directory of every schema, as the version that had it wrote it, is still read."""

import io
import shutil

import fuzz_kinds
import h5py
import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments import lenet
from jaxticket import runs
from jaxticket.runs.json_files import SCHEMA

SCHEMAS = sorted(fuzz_kinds.FIXTURES.glob("schema_?"))


def test_there_is_one_of_the_schema_that_is_written_now():
    assert SCHEMAS[-1].name == f"schema_{SCHEMA}"
    assert [path.name for path in SCHEMAS] == [f"schema_{n}" for n in range(2, SCHEMA + 1)]


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_every_network_of_it_is_read(path):
    run = runs.load(path)
    assert run.config["levels"] == 2
    assert run.summary["experiment"] == "lenet"
    kept = run.results["kept"]
    for arm, level in (("ticket", 0), ("ticket", 1), ("oneshot", 1)):
        network = run.network(arm, level, 1)
        mask = {layer: network.mask[layer]["kernel"] for layer in network.mask}
        found = kept.sel(arm=arm, level=level, replicate=1)
        assert found.values.tolist() == [
            int(mask[p.split("/")[0]].sum()) for p in kept.layer.values
        ]
        curve = run.results["train_loss"].sel(arm=arm, level=level, replicate=1)
        np.testing.assert_array_equal(curve.sel(step=network.steps), network.curves["train_loss"])
    assert run.initial_params(0)["output"]["kernel"].shape == (2, 10)


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.name)
def test_its_command_only_prints_and_a_run_goes_on_from_it(path, tmp_path, capsys):
    out = shutil.copytree(path, tmp_path / "run")
    console = Console(file=io.StringIO(), width=130)
    assert lenet.main([*fuzz_kinds.WORDS, "--out", str(out)], console) == 0
    store = runs.CheckpointStore(out / "checkpoints", fuzz_kinds.identity(), run=out)
    records = store.load(fuzz_kinds.template())[1]
    store.close()
    assert [record.arms[0] for record in records] == ["ticket", "ticket", "oneshot"]
    said = capsys.readouterr().err
    assert ("carry no checksums" in said) == (path.name == "schema_2")


def test_results_and_checkpoints_say_which_schema_they_have():
    path = SCHEMAS[-1]
    with h5py.File(path / "results.nc") as file:
        assert np.ravel(file.attrs["schema"]).tolist() == [SCHEMA]
    assert runs.steps.Steps(path / "checkpoints").metadata(0)["schema"] == SCHEMA


def test_schemas_2_and_3_say_the_same_of_the_same_run():
    """The same command: only seals and marks are new."""
    first, second = (runs.read_results(path / "results.nc") for path in SCHEMAS[:2])
    assert set(first.variables) <= set(second.variables)
    xarray.testing.assert_identical(first["scheduled"], second["scheduled"])
