"""Figures of what was measured on networks survive networks that diverged, and show it."""

import numpy as np
import pytest
import xarray

from jaxticket import plots

pytestmark = pytest.mark.filterwarnings("error")

REPLICATES = 3
COORDINATES = {
    "kind": ["copies", "strange"],
    "statistics": ["kept", "recomputed"],
    "replicate": list(range(REPLICATES)),
    "search": ["k = 0", "k = 5"],
    "relation": ["copies", "strange"],
    "control": ["ticket", "reinit", "shuffle_reinit"],
    "level": [0, 1, 2],
    "network": ["a", "b", "c"],
    "removal": ["smallest", "random", "oneshot"],
    "pair": ["ticket", "reinit", "oneshot"],
    "stage": ["init", "ticket", "reinit"],
    "examined": [1, 2],
    "point": ["trained", "pruned", "retrained"],
    "share": [0.2, 0.9],
    "part": ["hidden_0/kernel", "total"],
    "flow": ["trained", "random"],
    "layer": ["hidden_0/kernel", "output/kernel"],
    "variant": ["alone", "repelled"],
    "arm": ["ticket", "reinit"],
    "source": ["one", "other"],
    "target": ["one", "other"],
}
LENGTHS = {"place": 4, "at": 9, "direction": 20, "row": 5, "column": 5, "axis": 2, "step": 4}
LENGTHS |= {"way": 6, "other": REPLICATES, "beside": 3, "other_level": 3}
ALPHA = np.linspace(0, 1, LENGTHS["way"])
DENSITY = {"density": ("level", [1.0, 0.5, 0.2])}
BY_ARM = ("variant", "arm", "level", "replicate")
BY_STAGE = ("stage", "examined", "replicate")
BY_SEARCH = ("search", "control", "level", "replicate")

FIGURES = {
    plots.barrier_curves: ({"dense_curve": ("kind", "statistics", "replicate", "way")}, {}),
    plots.barrier_against_step: (
        {"barrier": ("relation", *BY_SEARCH)},
        {"begin": ("search", [0, 5]), "search_density": (("search", "level"), [[1, 0.5, 0.2]] * 2)},
    ),
    plots.barrier_heat_map: ({"matrix": ("network", "beside")}, {}),
    plots.barrier_against_gap: (
        {"barrier": ("relation", *BY_SEARCH), "gap": BY_SEARCH},
        {"search_density": (("search", "level"), [[1, 0.5, 0.2]] * 2)},
    ),
    plots.jumps_and_barriers: (
        {
            **{
                f"jump_{name}": ("removal", "level", "replicate")
                for name in ("jump", "linear", "quadratic")
            },
            "barrier": ("pair", "level", "replicate"),
        },
        DENSITY,
    ),
    plots.stages_against_density: (
        {
            **dict.fromkeys(
                ("train_subset_loss", "trace", "median_log_radius"),
                ("stage", "examined", "replicate"),
            ),
            "eigenvalue": ("stage", "examined", "replicate", "place"),
        },
        {"examined_density": ("examined", [0.5, 0.2])},
    ),
    plots.hessian_spectra: (
        {
            "eigenvalue": ("stage", "examined", "replicate", "place"),
            "density_of_eigenvalues": ("stage", "examined", "replicate", "at"),
        },
        {"examined_density": ("examined", [0.5, 0.2]), "at": ("at", np.linspace(-1, 3, 9))},
    ),
    plots.radius_histogram: (
        {"radius": ("stage", "examined", "replicate", "direction")},
        {"examined_density": ("examined", [0.5, 0.2])},
    ),
    plots.loss_plane: (
        {
            "plane_loss": ("replicate", "row", "column"),
            "plane_points": ("replicate", "point", "axis"),
        },
        {
            "plane_first": (("replicate", "column"), [np.linspace(-1, 3, 5)] * REPLICATES),
            "plane_second": (("replicate", "row"), [np.linspace(-1, 3, 5)] * REPLICATES),
        },
    ),
    plots.barriers_between_levels: (
        dict.fromkeys(("barrier", "strange_barrier", "gap"), ("level", "replicate")),
        {"matching": ((), 1), **DENSITY},
    ),
    plots.jumps_of_steps: (
        {"jump": ("level", "share", "replicate")},
        {"matching": ((), 1), **DENSITY},
    ),
    plots.angles_over_levels: (
        {
            "angle": ("level", "other_level", "replicate"),
            "strange_angle": ("level", "replicate"),
            "lift": ("level", "replicate", "part"),
            "chance": ("level", "replicate", "part"),
        },
        DENSITY,
    ),
    plots.flow_diagram: (
        {
            "magnitude_share": ("flow", "replicate", "level", "layer"),
            "exponent": ("flow", "replicate", "layer"),
            "intercept": ("flow", "replicate", "layer"),
        },
        {"fitted_levels": ((), 2), **DENSITY},
    ),
    plots.strengths_against_density: (
        dict.fromkeys(
            ("test_accuracy", "validation_loss"), ("variant", "arm", "level", "replicate", "step")
        ),
        {
            "search": ("variant", ["IMP", "IMP"]),
            "strength": ("variant", [0.0, 2.0]),
            "early_stop_step": (BY_ARM, np.full((2, 2, 3, REPLICATES), 3)),
            "valid": (BY_ARM, np.ones((2, 2, 3, REPLICATES), bool)),
            "density": (("variant", "level"), [[1, 0.5, 0.2]] * 2),
        },
    ),
    plots.successive_against_density: (
        dict.fromkeys(("angle", "barrier"), ("variant", "level", "replicate")),
        {
            "search": ("variant", ["IMP", "IMP"]),
            "strength": ("variant", [0.0, 2.0]),
            "density": (("variant", "level"), [[1, 0.5, 0.2]] * 2),
        },
    ),
    plots.transfer_matrices: (
        {
            "transfer_accuracy": ("source", "target", "control", "replicate"),
            "native_accuracy": ("target", "replicate"),
        },
        {},
    ),
    plots.flow_exponents: (
        {
            "exponent": ("variant", "replicate", "layer"),
            "null_exponent": ("replicate", "layer"),
            "share": ("variant", "level", "replicate", "layer"),
        },
        {"density": (("variant", "level"), [[1, 0.5, 0.2]] * 2)},
    ),
    plots.loss_against_distance: (
        {
            "transfer_accuracy": ("source", "target", "control", "replicate"),
            "native_accuracy": ("target", "replicate"),
            "flow_distance": ("source", "target", "replicate", "other"),
        },
        {},
    ),
}
"""Of each figure what is measured, positive numbers by their dimensions, and what is chosen."""

PLACES = {"plane_first", "plane_second"}
CROSSED = {
    "angles_over_levels",
    "barrier_against_step",
    "barrier_curves",
    "barriers_between_levels",
    "flow_diagram",
    "hessian_spectra",
    "jumps_and_barriers",
    "jumps_of_steps",
    "stages_against_density",
    "strengths_against_density",
    "successive_against_density",
}
"""Figures with means over replicates at every point of a line."""


def measured(draw, lost=(), value=np.nan):
    """Results for a figure; what was measured on the lost replicates is not finite."""
    generator = np.random.default_rng(0)
    drawn, chosen = FIGURES[draw]
    used = {
        dim
        for dims in (*drawn.values(), *(dims for dims, _ in chosen.values()))
        for dim in ((dims,) if isinstance(dims, str) else dims)
    }
    results = xarray.Dataset(chosen, {dim: COORDINATES[dim] for dim in used & set(COORDINATES)})
    for name, dims in drawn.items():
        shape = [len(COORDINATES[dim]) if dim in COORDINATES else LENGTHS[dim] for dim in dims]
        results[name] = (dims, generator.uniform(0.1, 1.0, shape))
    for name in (*drawn, *(set(chosen) & PLACES)):
        for replicate in lost:
            # A matrix of networks has no replicates: all of it is lost.
            results[name][
                {"replicate": replicate} if "replicate" in results[name].dims else ...
            ] = value
    # Two figures name dimensions otherwise, that other figures have for something else.
    renamed = {"way": "point", "beside": "other"}
    results = results.rename({a: b for a, b in renamed.items() if a in results.dims})
    if draw is plots.barrier_curves:
        results = results.assign(alpha=("point", ALPHA))
    return results.assign_coords(step=np.arange(4)) if "step" in results.dims else results


def said(figure):
    """All that stands in the panels of a figure, and in its legends."""
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    return [text.get_text() for axes in figure.axes for text in axes.texts] + legends


EMPTY = "no valid network"
CROSSES = "without replicates that have no value there"
VALUES = {"nan": np.nan, "infinite": np.inf}
BY_NAME = {draw.__name__: draw for draw in FIGURES}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", BY_NAME)
def test_what_is_nowhere_finite_is_said_to_be_nothing(name, value, tmp_path):
    draw = BY_NAME[name]
    figure = draw(measured(draw, range(REPLICATES), VALUES[value]))
    plots.save({name: figure}, tmp_path)
    assert {EMPTY, "—"} & set(said(figure))
    whole = said(draw(measured(draw)))
    assert not {EMPTY, CROSSES, "—"} & set(whole)


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", sorted(BY_NAME.keys() - {"barrier_heat_map"}))
def test_one_lost_replicate_leaves_the_others(name, value, tmp_path):
    draw = BY_NAME[name]
    figure = draw(measured(draw, (0,), VALUES[value]))
    plots.save({name: figure}, tmp_path)
    assert EMPTY not in said(figure)
    assert (CROSSES in said(figure)) == (name in CROSSED)


def test_a_curve_has_a_cross_where_it_lacks_a_replicate_and_a_gap_where_it_has_none():
    results = measured(plots.barrier_curves)
    results["dense_curve"][{"kind": 0, "statistics": 0, "replicate": 0, "point": 2}] = np.nan
    results["dense_curve"][{"kind": 0, "statistics": 0, "point": 4}] = np.inf
    axes, other = plots.barrier_curves(results).axes[:2]
    line, crosses = (
        next(one for one in axes.lines if one.get_marker() == marker) for marker in ("None", "x")
    )
    curve = 100 * results["dense_curve"].sel(kind="copies", statistics="kept").values
    mean = curve[1:, 2].mean()
    assert np.flatnonzero(np.isnan(line.get_ydata())).tolist() == [4]
    assert line.get_ydata()[2] == pytest.approx(mean)
    np.testing.assert_allclose(crosses.get_xydata(), [[ALPHA[2], mean]])
    assert all(line.get_marker() == "None" for line in other.lines)


def test_the_plane_is_that_of_the_first_replicate_with_the_most_finite_losses():
    results = measured(plots.loss_plane, (0,))
    results["plane_loss"][1, 2, 3] = np.inf
    assert plots.loss_plane(results).axes[0].get_title() == "replicate 2"
    axes = plots.loss_plane(results, replicate=1).axes[0]
    assert axes.get_title() == "replicate 1"
    (crosses,) = [part for part in axes.collections if part.get_label() == "loss not finite"]
    place = results["plane_first"][1, 3], results["plane_second"][1, 2]
    np.testing.assert_allclose(crosses.get_offsets(), [place])
    assert EMPTY in said(plots.loss_plane(results, replicate=0))
    assert plots.loss_plane(measured(plots.loss_plane)).axes[0].get_title() == "replicate 0"


def test_radii_say_how_many_replicates_have_none():
    results = measured(plots.radius_histogram)
    results["radius"].loc[{"stage": "reinit", "replicate": [0, 1]}] = np.nan
    names = [axes.get_ylabel() for axes in plots.radius_histogram(results).axes]
    assert names == ["initial weights", "trained\n(ticket)", "reinit\nwithout 2 replicates"]
