"""Laws of what is said of networks of no use: against SciPy's exact test, in every place."""

import io
from typing import Any

import numpy as np
import pytest
import xarray
from rich.console import Console
from scipy import stats

from experiments.common.report import results_table
from experiments.common.troubles import describe_useless, useless_networks
from jaxticket import plots
from jaxticket.analysis.usefulness import add_usefulness, chance_p_values, guess

LABELS = np.repeat([0, 1, 2, 3], [30, 30, 30, 10])


@pytest.mark.parametrize("chance", [0.1, 0.3])
def test_p_values_are_those_of_the_exact_binomial_test(chance):
    for correct in (0, 9, 10, 35, 40, 100):
        wanted: Any = stats.binomtest(correct, 100, chance, alternative="greater")
        (found,) = chance_p_values(np.array([correct / 100], np.float32), 100, chance)
        assert found == pytest.approx(wanted.pvalue)
    assert np.isnan(chance_p_values(np.array([np.nan]), 100, chance)).all()


def test_a_guess_is_right_as_often_as_the_most_frequent_class_is_there():
    assert guess(LABELS) == 0.3


def made(variants=None):
    """Two arms, three levels, two replicates; some of no use, in every way."""
    dims = ("arm", "level", "replicate")
    kept = np.full((2, 3, 2, 2), 5)
    kept[1, 2, 0, 1] = 0
    # 38 of 100 against a share of 0.3 is just above 5 %, 39 just below; 20 is less than a guess.
    accuracy = np.full((2, 3, 2), 0.9, np.float32)
    accuracy[0, 1], accuracy[1, 2, 0], accuracy[0, 2, 1] = (0.38, 0.39), 0.2, 0.1
    valid = np.ones(accuracy.shape, bool)
    valid[0, 2, 1] = False
    results = xarray.Dataset(
        {
            "test_accuracy": ((*dims, "step"), np.stack([accuracy * 0, accuracy], axis=-1)),
            "early_stop_step": (dims, np.full(accuracy.shape, 10)),
            "kept": ((*dims, "layer"), kept),
            "valid": (dims, valid),
        },
        coords={
            "arm": ["ticket", "reinit"],
            "level": [0, 1, 2],
            "replicate": [0, 1],
            "layer": ["hidden", "output"],
            "step": [0, 10],
            "density": ("level", [1.0, 0.5, 0.25]),
        },
    )
    if variants:
        results = results.expand_dims(variant=list(variants))
    return add_usefulness(results, LABELS)


NAMES = {
    "collapsed": [{"arm": "reinit", "level": 2, "replicate": 0, "layers": ["output"]}],
    "untrained": [
        {"arm": "ticket", "level": 1, "replicate": 0},
        {"arm": "reinit", "level": 2, "replicate": 0},
    ],
}


def test_what_is_of_no_use_is_listed_and_what_diverged_is_not():
    results = made()
    assert useless_networks(results) == NAMES
    attributes = results["untrained"].attrs
    assert (attributes["chance"], attributes["examples"], attributes["level"]) == (0.3, 100, 0.05)
    lines = describe_useless(NAMES)
    assert lines[0].startswith("1 network with a layer that has no weight left: reinit level 2 ")
    assert "2 networks not above chance" in lines[1]
    assert describe_useless({"collapsed": [], "untrained": []}) == []


def test_a_sweep_says_which_variant():
    found = useless_networks(made(["slow"]))
    assert [name.pop("variant") for names in found.values() for name in names] == ["slow"] * 3
    assert found == NAMES


def test_dense_networks_are_listed_once():
    results = made()
    results["untrained"][:, 0, 1] = True
    dense = {"arm": "ticket", "level": 0, "replicate": 1}
    assert useless_networks(results)["untrained"][0] == dense
    assert len(useless_networks(results)["untrained"]) == 3


def test_without_labels_or_in_older_results_nothing_is_said_of_chance():
    results = add_usefulness(made().drop_vars(["untrained", "empty_layers"]))
    assert "untrained" not in results
    older = results.drop_vars("empty_layers")
    assert useless_networks(older) == {"collapsed": [], "untrained": []}


def printed(results):
    console = Console(file=io.StringIO(), width=130)
    console.print(results_table(results))
    return console.file.getvalue()


def test_cells_are_marked_and_the_caption_says_with_what():
    text = printed(made())
    assert "@10? " in text
    assert "@10!?" in text
    marks = "! in some replicate a layer is empty; ? in some replicate not above chance"
    assert marks in " ".join(text.split())
    clean = made()
    clean["untrained"][:], clean["empty_layers"][:] = False, 0
    assert "some replicate" not in printed(clean)


def test_points_are_hollow_where_some_replicate_is_of_no_use():
    (axes,) = plots.accuracy_against_density(made()).axes
    hollow = [line for line in axes.get_lines() if line.get_markerfacecolor() == "white"]
    assert sorted(line.get_xdata().tolist() for line in hollow) == [[25.0], [50.0]]
    means = {line.get_xdata()[0]: line.get_ydata()[0] for line in hollow}
    assert means == pytest.approx({50.0: 0.385, 25.0: 0.55})
    legend = plots.accuracy_against_density(made()).legends[0]
    assert "hollow: of no use in some replicate" in [t.get_text() for t in legend.get_texts()]
