"""Laws of every experiment: its smoke run holds, its costs are counted, nonsense ends in a line."""

import importlib
import io
import json
import os

import pytest
from rich.console import Console

from experiments.__main__ import questions
from experiments.common.configuration import check_configuration
from experiments.common.cost import cost_of
from jaxticket import TicketError, runs
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


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.parametrize("name", SWEEPS)
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


BAD = [
    ("retraining", ["--schedule", "constant", "--drops"], "under a constant rate"),
    ("retraining", ["--schedule", "cosine", "--drops"], "its last rate is zero"),
    ("retraining", ["--retrainings", "weight"], "unknown retraining 'weight'.*weights"),
    ("retraining", ["--rewind-step", "40it"], "rewind.step: got 40"),
    ("rewinding", ["--arms", "ticket", "copy"], "--arms: got no dense"),
    ("rewinding", ["--arms", "ticket"], "--arms: got no copy and no dense"),
    ("rewinding", ["--rewind-steps", "0it", "99it"], "variant 'k = 99': rewind step: got 99"),
    ("rewinding", ["--rewind-steps", "5it", "5it"], "--rewind-steps: got 5it twice"),
    ("rewinding", ["--rewind-steps", "0it"], "--rewind-steps: got 0it alone"),
    ("rewinding", ["--rewind-steps", "0it", "0ep"], "which are the steps .0, 0., expected diff"),
    ("retraining", ["--rewind-moments"], "variant 'rate rewinding': got rewind_moments"),
    ("conv", ["--model", "deep_mlp"], "--convolution-prune-rate: got 0.25 for deep_mlp"),
    ("lenet", ["--learning-rates", "0.1", "0.1"], "--learning-rates: got 0.1 twice"),
    ("rewinding", ["--points", "1"], "--points: got 1"),
    ("rewinding", ["--levels", "2"], "--levels: got 2, expected 3"),
    ("deconstructing", ["--criteria", "large_finall"], "unknown criterion 'large_finall'"),
    ("conv", ["--model", "resnet_20"], "--model resnet_20: has no dropout"),
    ("conv", ["--dropouts", "0.5", "1.0"], "--dropouts: got 1.0"),
    ("deep", ["--scopes", "globally"], "unknown scope 'globally'"),
    ("deep", ["--warmups", "11it"], "--warmups: got 11 steps, expected at most the 10"),
    ("deep", ["--batch-size", "1"], "batch"),
    ("deep", ["--learning-rates", "0"], "--learning-rates: got 0"),
    ("verdict", ["--learning-rates", "nan"], "--learning-rates: got nan"),
    ("isometry", ["--model", "deep_mlp"], "unknown model of this experiment 'deep_mlp'"),
    ("isometry", ["--shares", "1.0"], "--shares: got 1.0"),
    ("isometry", ["--schedule", "constant", "--drops"], "unknown schedule of this experiment"),
    ("isometry", ["--examples", "0"], "--examples: got 0"),
    ("geometry", ["--examined", "3"], "--examined: got 3, expected levels from 1 to 2"),
    ("geometry", ["--levels", "1"], "--levels: got 1, expected 2 or more"),
    ("geometry", ["--shares", "1.0"], "--shares: got 1.0, expected between 0 and 1"),
    ("geometry", ["--rise", "0"], "--rise: got 0.0, expected more than 0"),
    ("geometry", ["--eigenvalues", "4"], "--eigenvalues: got 4 of --lanczos-steps 3"),
    ("geometry", ["--directions", "0"], "--directions: got 0, expected at least 1"),
    ("verdict", ["--tolerance", "2"], "--tolerance: got 2"),
    ("supermask", ["--densities", "0"], "--densities: got 0"),
    ("supermask", ["--densities", "0.5", "0.5"], "--densities: got 0.5 twice"),
    ("supermask", ["--densities", "0.001"], "keeps no weight of hidden_1.kernel .300., output"),
    ("supermask", ["--widths", "nan"], "--widths: got nan"),
    ("supermask", ["--widths", "0.1"], "--widths: got 0.1 twice"),
    ("supermask", ["--levels", "2"], "--levels 2 --arms ticket: expected 1 and ticket"),
    ("connectivity", ["--arms", "ticket", "copy"], "--arms: got no reinit, no reinit_copy, no"),
    ("connectivity", ["--levels", "2"], "--levels 2 --replicates 2: expected 3 and 2 or more"),
    ("connectivity", ["--points", "1"], "--points: got 1"),
    ("connectivity", ["--percent", "0"], "--percent: got 0"),
    ("connectivity", ["--statistics-examples", "9"], "--statistics-examples: got 9, expected at"),
    ("connectivity", ["--curve-steps", "0"], "--curve-steps: got 0"),
    ("connectivity", ["--rewind-steps", "0it", "0ep"], "which are the steps .0., expected diff"),
    ("dynamic", ["--levels", "2"], "--levels 2 --arms ticket: expected one level"),
    ("dynamic", ["--arms", "ticket", "reinit"], "--levels 1 --arms ticket reinit: expected one"),
    ("dynamic", ["--rules", "static", "rigll"], "unknown rule 'rigll'.*rigl"),
    ("dynamic", ["--densities", "0.1", "1.5"], "--densities: got 1.5"),
    ("dynamic", ["--change-every", "0"], "every: got 0"),
    ("dynamic", ["--change-until", "0"], "--change-until: got 0"),
    ("dynamic", ["--fraction", "1.5"], "fraction: got 1.5"),
    ("levels", ["--levels", "2"], "--levels 2 --replicates 2: expected 3 levels and 2 replicates"),
    ("levels", ["--points", "1"], "--points: got 1"),
    ("levels", ["--examples", "0"], "--examples: got 0"),
    ("levels", ["--tolerance", "nan"], "--tolerance: got nan"),
    ("levels", ["--jumps", "0.9", "0.2"], "--jumps: got 0.9 0.2, expected at least two rising"),
    ("regurgitation", ["--strengths", "2"], "--strengths: got 2.0, expected .*0 among them"),
    ("regurgitation", ["--strengths", "0", "nan"], "--strengths: got 0.0 nan, expected finite"),
    ("regurgitation", ["--strengths", "0", "0"], "--strengths: got 0.0 twice"),
    ("regurgitation", ["--levels", "1"], "--levels: got 1, expected at least two"),
    ("regurgitation", ["--points", "1"], "--points: got 1"),
    ("universality", ["--scope", "layerwise"], "--scope layerwise: the layers' shares hardly"),
    ("universality", ["--tasks", "whole", "whole"], "--tasks: got whole twice"),
    ("universality", ["--tasks", "lower", "upper"], "--tasks: got no whole"),
    ("universality", ["--tasks", "whole", "digits", "cifar10_jpeg"], "cifar10_jpeg"),
    ("universality", ["--transfer-level", "3"], "--transfer-level: got 3, expected 1 to 2"),
    ("universality", ["--transfer-arms", "reinit"], "--transfer-arms: got no ticket"),
    ("universality", ["--transfer-arms", "ticket", "oneshot"], "got oneshot, expected one made of"),
    ("universality", ["--other-optimizers", "adam"], "got adam, expected different ones"),
    ("universality", ["--renewed-mask", "half"], "unknown renewed mask 'half'"),
]


@pytest.mark.parametrize(("name", "words", "message"), BAD, ids=lambda value: str(value))
def test_what_makes_no_sense_is_one_line_and_nothing_is_written(
    name, words, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TicketError, match=message) as caught:
        run(name, "--preset", "smoke", *words)
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []
