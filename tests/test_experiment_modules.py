"""Laws of every experiment: its smoke run holds, its costs are counted, nonsense ends in a line."""

import importlib
import io
import json

import cases
import pytest
from rich.console import Console

from experiments.__main__ import questions
from experiments.common.configuration import check_configuration
from experiments.common.cost import cost_of
from jaxticket import runs
from jaxticket.recipes import RECIPES

NAMES = [name for name in questions() if name != "report"]
MODULES = {name: importlib.import_module(f"experiments.{name}") for name in NAMES}
SWEEPS = [name for name in NAMES if name != "lenet"]  # test_experiments.py runs that one
ONE_SEARCH = ("koopman", "geometry", "levels")
every_module = pytest.mark.parametrize("name", NAMES)


def run(name, *words):
    console = Console(file=io.StringIO(), width=130)
    code = MODULES[name].main(["--plan", "map", *map(str, words)], console)
    return code, console.file.getvalue()


def test_the_promised_experiments_exist():
    wanted = {"lenet", "conv", "deep", "rewinding", "retraining", "deconstructing", "verdict"}
    wanted |= {"at_init", "dynamic", "isometry", "koopman", "supermask"}
    wanted |= {"connectivity", "geometry", "levels", "regurgitation", "universality"}
    assert wanted <= set(NAMES)


@pytest.mark.parametrize("name", cases.slow_but("levels", SWEEPS))
def test_the_smoke_run_holds_and_leaves_its_files(name, tmp_path):
    out = tmp_path / "run"
    code, text = run(name, "--preset", "smoke", "--check", "--out", out)
    assert code == 0, text
    summary = json.loads((out / "summary.json").read_text())
    figures = {figure.stem for figure in (out / "figures").iterdir()}
    assert figures == set(summary["figures"])
    assert all(figure.stat().st_size > 1_000 for figure in (out / "figures").iterdir())
    exact = [claim for claim in summary["claims"] if claim["exact"]]
    assert len(exact) >= 3
    assert all(claim["holds"] for claim in exact)
    # What a run of this size cannot decide says why, and is no failure.
    for claim in summary["claims"]:
        if claim["holds"] is None:
            assert claim["measured"].startswith("not computable: ")
    results = runs.load(out).results
    assert ("variant" in results.dims) is (name not in ONE_SEARCH)
    assert (results["nonzero_pruned"] == 0).all()
    # The same command again only prints.
    before = (out / "results.nc").stat().st_mtime_ns
    assert run(name, "--preset", "smoke", "--check", "--out", out)[0] == 0
    assert (out / "results.nc").stat().st_mtime_ns == before


@every_module
def test_every_preset_makes_sense(name):
    experiment = MODULES[name].EXPERIMENT
    assert {"default", "smoke", "paper"} <= set(experiment.presets)
    for preset, config in experiment.presets.items():
        assert config.preset == preset
        check_configuration(config)
        experiment.check(config)
    default = experiment.presets["default"]
    assert default.dataset in ("fashion_mnist_5k", "digits")
    assert default.replicates >= 5


@every_module
def test_the_docstring_says_question_claim_paper_command_and_cost(name):
    text = MODULES[name].__doc__ or ""
    assert "?" in text.split("\n")[0]
    for part in ("Claim:", "Paper:", f"Command: `python -m experiments.{name}`", "Presets:"):
        assert part in text
    flat = " ".join(text.split()).replace("ticket-steps", "network-steps")
    for preset in ("default", "paper"):
        networks, _, steps = str(cost_of(MODULES[name].EXPERIMENT, preset)).partition(", ")
        assert networks in flat or networks.replace(",", "") in flat, preset
        if preset == "paper":
            assert steps in flat, steps


def test_costs_are_those_of_the_definition():
    """Six dense pairs, then each variant's own steps, counted by hand."""
    cost = cost_of(MODULES["rewinding"].EXPERIMENT, "smoke")
    assert cost.networks == 2 * (1 + 2 * 2 * 5)
    assert cost.steps == 2 * (30 + 2 * 5 * (30 + 20))
    deep = cost_of(MODULES["deep"].EXPERIMENT, "smoke")
    assert deep.networks == 2 * (2 + 4 * 1 * 2)


@pytest.mark.parametrize("name", RECIPES)
def test_published_recipes_are_named_and_cite_their_source(name):
    assert RECIPES[name].source
