"""Laws of every experiment: its smoke run holds, its costs are counted, nonsense ends in a line."""

import contextlib
import dataclasses
import importlib
import io
import json

import cases
import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments.__main__ import questions
from experiments.common.configuration import check_configuration
from experiments.common.cost import cost_of
from experiments.common.problem import make_problem
from jaxticket import runs
from jaxticket.data import Dataset
from jaxticket.recipes import RECIPES, Step
from jaxticket.types import Examples

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
    for preset in MODULES[name].PRESETS:
        if preset == "smoke":
            continue
        networks, _, steps = str(cost_of(MODULES[name].EXPERIMENT, preset)).partition(", ")
        assert networks in flat or networks.replace(",", "") in flat, preset
        if preset.startswith("paper"):
            assert steps.replace(" network-steps", "") in flat, steps


CLAIMED = [
    ("conv", "default", "conv_4"),
    ("conv", "default", "conv_6"),
    *(
        (name, preset, None)
        for name in (
            "conv",
            "deconstructing",
            "deep",
            "lenet",
            "retraining",
            "rewinding",
            "verdict",
        )
        for preset in MODULES[name].PRESETS
        if preset != "smoke"
    ),
]


@pytest.mark.parametrize(("name", "preset", "model"), CLAIMED)
def test_every_claim_is_made_at_a_level_and_of_arms_that_the_run_has(name, preset, model):
    """A claim at a density that is on no level can never hold or fail."""
    experiment = MODULES[name].EXPERIMENT
    config = experiment.presets[preset]
    # A few images have few steps in an epoch.
    steps = Step.iterations(config.steps.at(703))
    config = dataclasses.replace(config, model=model or config.model, steps=steps)
    problem = make_problem(config, images_for(config.dataset), experiment.make_family)
    results = empty_results(problem, experiment.variants(problem))
    for claim in experiment.claims(problem):
        # What `measure` adds is not there.
        with contextlib.suppress(KeyError):
            measured = str(claim.test(results).measured)
            assert "needs a level" not in measured, claim.id
            assert "needs the" not in measured, claim.id


@pytest.mark.parametrize(
    ("name", "preset", "network"),
    [
        ("deep", "default", "ResNet-18 on CIFAR-10"),
        ("deep", "paper_vgg_19", "VGG-19 on CIFAR-10"),
        ("rewinding", "default", "ResNet-20 on CIFAR-10"),
        ("rewinding", "paper_vgg_16", "VGG-16 on CIFAR-10"),
        ("retraining", "default", "ResNet-50 on ImageNet"),
    ],
)
def test_numbers_of_others_than_the_paper_say_so_and_of_which_network_they_are(
    name, preset, network
):
    experiment = MODULES[name].EXPERIMENT
    config = experiment.presets[preset]
    config = dataclasses.replace(config, steps=Step.iterations(config.steps.at(703)))
    problem = make_problem(config, images_for(config.dataset), experiment.make_family)
    given = [claim.paper for claim in experiment.claims(problem) if claim.paper]
    assert sum(network in paper for paper in given) >= 2
    for paper in given:
        assert ("unverified" in paper) is (" on " in paper and "2109.09670" not in paper)


def images_for(name):
    """Makes a data set of that one's shape."""
    shape = (32, 32, 3) if name == "cifar10" else (8, 8, 1) if name == "digits" else (28, 28, 1)
    labels = np.arange(130, dtype=np.int32) % 10
    images = np.random.default_rng(0).integers(0, 255, (130, *shape), np.uint8)
    split = Examples(images, labels)
    return Dataset(name, split, split, split, 10, "made", "0", "made")


def empty_results(problem, variants):
    """Makes results of the shape that a run would have, every network alike."""
    arms, levels, replicates = list(problem.config.arms), problem.config.levels, 3
    names = list(variants or {"": None})
    shape = len(names), len(arms), levels, replicates
    chosen = [one and one.allocation for one in (variants or {"": None}).values()]
    densities = [problem.densities(allocation) for allocation in chosen]
    dims = ("variant", "arm", "level", "replicate")
    curves = {
        name: ((*dims, "step"), np.full((*shape, 2), 0.5))
        for name in ("test_accuracy", "validation_accuracy", "validation_loss", "test_loss")
    }
    results = xarray.Dataset(
        curves
        | {
            "density": (("variant", "level"), np.array(densities) / 100),
            "early_stop_step": (dims, np.ones(shape, int)),
            "valid": (dims, np.ones(shape, bool)),
        },
        {"variant": names, "arm": arms, "level": range(levels), "step": [0, 1]}
        | {"replicate": range(replicates)},
    )
    return results if variants else results.isel(variant=0, drop=True)


def test_costs_are_those_of_the_definition():
    """Six dense pairs, then each variant's own steps, counted by hand."""
    cost = cost_of(MODULES["rewinding"].EXPERIMENT, "smoke")
    assert cost.networks == 2 * (1 + 2 * 2 * 4)
    assert cost.steps == 2 * (30 + 2 * 4 * (30 + 20))
    deep = cost_of(MODULES["deep"].EXPERIMENT, "smoke")
    assert deep.networks == 2 * (2 + 4 * 1 * 2)


@pytest.mark.parametrize("name", RECIPES)
def test_published_recipes_are_named_and_cite_their_source(name):
    assert RECIPES[name].source
