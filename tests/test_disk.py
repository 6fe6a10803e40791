"""Laws of the prediction: what a run takes is counted within 15 % before it begins."""

import dataclasses
import io
import re
import shutil
from collections import namedtuple

import jax
import pytest
from rich.console import Console

from experiments import dynamic, lenet
from experiments.common import disk
from experiments.common.disk import DiskUse, check_disk
from experiments.common.problem import make_problem
from experiments.common.searching import lay_out
from jaxticket import TicketError, data

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


def test_what_the_memory_does_not_hold_is_counted_as_it_is_mapped(monkeypatch):
    config = dataclasses.replace(lenet.PRESETS["smoke"], width=0.1)
    problem = make_problem(config, data.load("digits"))
    setup = lay_out(problem)
    state = problem.family({}).init(jax.random.key(0))
    params, whole = (sum(leaf.nbytes for leaf in jax.tree.leaves(t)) for t in (state.params, state))
    mask = sum(leaf.size for leaf in jax.tree.leaves(problem.shapes) if leaf.ndim > 1)
    networks, lineages = 2 * (3 + 4 * 2), 2
    mapped = networks * (params + mask) + lineages * (params + whole)
    found = []
    for held in (float("inf"), mapped, mapped - 1000, 0):
        monkeypatch.setattr(disk, "held_bytes", lambda held=held: held)
        found.append(disk.predict(setup, 3).passing)
    assert [one - found[0] for one in found] == [0, 0, 1000, mapped]


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
