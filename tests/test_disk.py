"""Laws of the prediction: what a run takes is counted within 15 % before it begins."""

import io
import re
import shutil
from collections import namedtuple

import pytest
from rich.console import Console

from experiments import dynamic, lenet
from experiments.common import disk
from experiments.common.disk import DiskUse, check_disk
from jaxticket import TicketError

SMALL = ("--preset", "smoke", "--plan", "map", "--steps", "6it", "--evaluate-every", "3it")
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def run(*arguments, main=lenet.main):
    console = Console(file=io.StringIO(), width=300)
    assert main([*SMALL, *map(str, arguments)], console) == 0
    return console.file.getvalue()


def predicted(text):
    number, unit = re.search(r"disk: ([\d.]+) (\w+), and up to", text).groups()
    return float(number) * UNITS[unit]


def taken(folder):
    return sum(512 * path.stat().st_blocks for path in [folder, *folder.rglob("*")])


@pytest.mark.slow
def test_what_a_run_takes_is_predicted_within_15_percent(tmp_path):
    """Of a thinned sweep; the smoke run is in test_experiments.py."""
    sweep = ("--learning-rates", "1e-3", "2e-3", "--arms", "ticket", "reinit")
    text = run(*sweep, "--keep", "ends", "--out", tmp_path / "run")
    assert predicted(text) == pytest.approx(taken(tmp_path / "run"), rel=0.15)


@pytest.mark.slow
def test_networks_that_begin_sparse_are_not_counted_as_dense_ones(tmp_path):
    """Within 15 % too, but for the smallest: what rules have alike compresses within a window."""
    sparse = ("--dataset", "fashion_mnist", "--densities", "0.05", "0.02", "--change-every", "2")
    sparse += ("--replicates", "3")
    text = run(*sparse, "--out", tmp_path / "run", main=dynamic.main)
    assert predicted(text) == pytest.approx(taken(tmp_path / "run"), rel=0.15)


def test_a_run_that_cannot_fit_is_refused_in_one_line_with_the_fix(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(2**30, 2**30 - 2**20, 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(TicketError, match=r"the run takes .* expected at most the 1 MiB") as caught:
        run("--out", tmp_path / "run")
    assert "--keep ends" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_what_a_run_holds_already_need_not_be_free(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(2**30, 0, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    console = Console(file=io.StringIO(), width=300)
    (tmp_path / "checkpoint").write_bytes(b"x" * 2**20)
    check_disk(DiskUse(2**20, 500), tmp_path, console)
    with pytest.raises(TicketError, match=r"free there and 1\.\d+ MiB that it has"):
        check_disk(DiskUse(2**21, 500), tmp_path, console)


def test_a_mask_takes_the_entropy_of_its_bits():
    assert [disk._entropy(density) for density in (0.0, 0.5, 1.0)] == [0, 1, 0]
