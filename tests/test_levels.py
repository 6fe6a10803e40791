"""Laws of the experiment levels: its claims on planted results, its nulls, its figures."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments import levels
from experiments.common.instability import Barriers
from experiments.levels import exponents, measuring, verdicts
from jaxticket import plots
from jaxticket.analysis import judge

LEVELS, REPLICATES = 6, 4
DENSITY = 0.5 ** np.arange(LEVELS)
GENERATOR = np.random.default_rng(0)


def noisy(means, scale=1e-3):
    """Means along axis 0, and a replicate's own noise along the last axis."""
    means = np.asarray(means, float)
    return means[..., None] + scale * GENERATOR.normal(size=(*means.shape, REPLICATES))


def made(last=3, **changes):
    """Results of a run whose levels match up to `last`, with all that the paper says of them."""
    matches = np.arange(LEVELS) <= last
    angle = 0.05 * np.abs(np.subtract.outer(np.arange(LEVELS), np.arange(LEVELS)))
    fall, sizes = np.array([-0.2, 0.1, 0.3]), np.array([0.8, 0.15, 0.05])
    slopes = np.stack([fall, np.zeros(3), 0.5 * fall])
    share = sizes * DENSITY[:, None] ** -slopes[:, None]
    share /= share.sum(axis=-1, keepdims=True)
    values = {
        "gap": (("level", "replicate"), noisy(np.where(matches, 0.01, -0.05))),
        "matching": ((), last),
        "fitted_levels": ((), LEVELS),
        "barrier": (("level", "replicate"), noisy(np.where(matches, 0.0, 0.08))),
        "strange_barrier": (("level", "replicate"), noisy(np.full(LEVELS, 0.3))),
        "own_barrier": (("end", "replicate"), np.zeros((2, REPLICATES))),
        "angle": (("level", "other_level", "replicate"), noisy(angle)),
        "strange_angle": (("level", "replicate"), noisy(np.full(LEVELS, 0.97))),
        "lift": (("level", "replicate", "part"), noisy(np.full((LEVELS, 2), 1.5)).swapaxes(1, 2)),
        "chance": (("level", "replicate", "part"), np.full((LEVELS, REPLICATES, 2), 1.1)),
        "jump": (("level", "share", "replicate"), noisy(np.tile([0.01, 0.9], (LEVELS, 1)))),
        "magnitude_share": (
            ("flow", "replicate", "level", "layer"),
            np.repeat(share[:, None], REPLICATES, axis=1),
        ),
        "exponent": (("flow", "replicate", "layer"), np.swapaxes(noisy(slopes, 0.01), 1, 2)),
        "intercept": (("flow", "replicate", "layer"), np.zeros((3, REPLICATES, 3))),
    }
    names = {"share": [0.2, 0.9], "part": ["a", "total"], "layer": list("abc")}
    flows = {"flow": ["trained", "random", "magnitude"]}
    results = xarray.Dataset(values, coords={"density": ("level", DENSITY)} | names | flows)
    # Noise of four replicates around zero, whose interval holds zero for certain.
    marginal = 0.01 * np.array([1.0, -1.0, 0.5, -0.5])
    results["exponent"][1] = marginal[:, None] * np.ones(3)
    return results.assign(changes)


def holds(claim, results):
    return judge([claim], results)[0]["holds"]


def changed(name, change):
    """What a claim reads, made otherwise."""
    results = made()
    values = results[name].copy(deep=True)
    change(values.values)
    return results.assign({name: values})


def put(place, value):
    return lambda values: values.__setitem__(place, value)


BREAKS = {
    "no_barrier_to_itself": changed("own_barrier", put((1, 2), 0.01)),
    "connected_while_matching": changed("barrier", put(2, 0.05)),
    "separated_afterwards": changed("barrier", put(-1, 0.01)),
    "barrier_rises": changed("barrier", put(slice(1, 4), 0.2)),
    "angles_are_small": changed("strange_angle", put(slice(None), 0.05)),
    "inits_choose_alike": changed("lift", put(3, 1.05)),
}
FLOW_BREAKS = {
    "shares_sum_to_one": changed("magnitude_share", put((0, 1, 2, 0), 0.9)),
    "no_flow_grows_everywhere": changed("magnitude_share", put((0, 1, 2), 0.9)),
    "random_pruning_is_marginal": changed("exponent", put((1, slice(None), 2), 0.1)),
    "training_flows_otherwise": changed(
        "exponent", lambda values: values.__setitem__(0, values[2] + 0.01 * values[1])
    ),
    "last_layer_is_relevant": changed("exponent", put((0, slice(None), 2), -0.1)),
}


@pytest.mark.parametrize(
    ("claim", "broken"),
    [
        *((getattr(verdicts, name)(), results) for name, results in BREAKS.items()),
        *((getattr(exponents, name)(), results) for name, results in FLOW_BREAKS.items()),
        (
            verdicts.small_steps_jump_less(0.2, 0.9),
            changed("jump", put((slice(None), 0), 0.5)),
        ),
    ],
    ids=lambda value: value.id if hasattr(value, "id") else "",
)
def test_a_claim_holds_of_what_it_says_and_of_nothing_else(claim, broken):
    assert holds(claim, made()) is True
    assert holds(claim, broken) is False


def test_what_a_run_cannot_decide_says_why():
    never = made(last=LEVELS - 1)
    for claim in (verdicts.separated_afterwards(), verdicts.barrier_rises()):
        found = judge([claim], never)[0]
        assert found["holds"] is None
        assert "match" in found["measured"]
    assert holds(verdicts.connected_while_matching(), made(last=0)) is None
    for make in (exponents.random_pruning_is_marginal, exponents.last_layer_is_relevant):
        assert "needs global" in judge([make("layerwise")], made())[0]["measured"]
    empty = changed("exponent", put((0, 1, 2), np.nan))
    for claim in (exponents.training_flows_otherwise(), exponents.last_layer_is_relevant()):
        assert holds(claim, empty) is None
    two = made().isel(replicate=slice(2))
    assert holds(exponents.training_flows_otherwise(), two) is None
    assert holds(exponents.random_pruning_is_marginal(), made().isel(replicate=[0])) is None


def test_matching_ends_after_the_last_level_that_matches():
    accuracy = np.array([0.8, 0.81, 0.79, 0.7985, 0.7])
    curves = np.repeat(accuracy[None, :, None, None], 3, axis=2)
    results = xarray.Dataset(
        {
            "test_accuracy": (("arm", "level", "replicate", "step"), curves),
            "valid": (("arm", "level", "replicate"), np.ones((1, 5, 3), bool)),
        },
        coords={"arm": ["ticket"], "level": np.arange(5), "step": [1]},
    )
    found = measuring.gaps(results, tolerance=0.002)
    np.testing.assert_allclose(found["gap"][1][:, 0], accuracy - 0.8, atol=1e-12)
    assert found["matching"][1] == 3
    assert measuring.gaps(results, tolerance=0.0)["matching"][1] == 1


def test_the_tables_have_a_row_a_level_and_a_sign_a_layer():
    assert verdicts.by_level(made()).row_count == LEVELS
    table = exponents.table(made())
    assert table.row_count == 3
    signs = [[cell.split()[-1] for cell in table.columns[place].cells] for place in (1, 2)]
    assert signs == [["irrelevant", "relevant", "relevant"], ["marginal"] * 3]


def test_a_replicate_whose_loss_is_not_finite_on_the_way_is_named(monkeypatch):
    def between(learner, state, pairs, problem, points):
        heights, alphas = np.zeros(len(pairs)), np.full(len(pairs), np.nan)
        # Level 1 of three, the second of two replicates.
        heights[1], alphas[1] = np.nan, 0.25
        return Barriers(heights, alphas)

    monkeypatch.setattr(measuring, "barriers_between", between)
    learner = SimpleNamespace(init=lambda key: None)
    config = SimpleNamespace(seed=0, points=5)
    problem = SimpleNamespace(family=lambda given: learner, config=config)
    row = [(None, None)] * 2
    found = measuring._barriers(problem, [row] * 2, [row] * 3, [row] * 2)
    results = made().drop_vars(["barrier", "strange_barrier", "own_barrier"])
    results = results.isel(level=slice(3), other_level=slice(3), replicate=slice(2))
    results = results.assign(found)
    assert np.isnan(results["barrier"].values[1]).tolist() == [False, True]
    shown = io.StringIO()
    for table in levels.tables(results):
        Console(file=shown, width=150).print(table)
    assert "no barrier" in shown.getvalue()
    assert "level 1, replicate 1" in shown.getvalue()
    assert len(levels.tables(made())) == 2


def test_figures_show_what_was_measured():
    results = made()
    above, below = plots.barriers_between_levels(results).axes
    drawn = above.lines[0].get_ydata()
    np.testing.assert_allclose(drawn, 100 * results["barrier"].mean("replicate"), rtol=1e-9)
    np.testing.assert_allclose(
        below.lines[0].get_ydata(), 100 * results["gap"].mean("replicate"), rtol=1e-9
    )
    jumps = plots.jumps_of_steps(results).axes[0]
    np.testing.assert_allclose(
        jumps.lines[0].get_ydata(), results["jump"].sel(share=0.2).mean("replicate"), rtol=1e-9
    )
    picture = plots.angles_over_levels(results).axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(picture, results["angle"].mean("replicate"))
    panels = plots.flow_diagram(results).axes
    assert [axes.get_title() for axes in panels] == [
        "iterative pruning",
        "random, untrained",
        "by magnitude, untrained",
    ]
    share = 100 * results["magnitude_share"].sel(flow="trained", layer="a").mean("replicate")
    np.testing.assert_allclose(panels[0].lines[0].get_ydata(), share, rtol=1e-9)
