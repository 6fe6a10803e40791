"""Figures show the numbers they are given, on the papers' axes, and survive poor results."""

import subprocess
import sys

import numpy as np
import pytest
import xarray
from matplotlib import style
from matplotlib.colors import same_color, to_hex
from matplotlib.container import ErrorbarContainer

from jaxticket import TicketError, plots
from jaxticket.analysis import at_early_stop, early_stop_step
from jaxticket.arms import ARMS, CROSSED, DEFAULT_ARMS

pytestmark = pytest.mark.filterwarnings("error")

SIZES = {"hidden_0/kernel": 235_200, "hidden_1/kernel": 30_000, "output/kernel": 1_000}
DENSITY_FIGURES = (
    plots.accuracy_against_density,
    plots.early_stop_against_density,
    plots.both_against_density,
)
RESULT_FIGURES = (*DENSITY_FIGURES, plots.learning_curves, plots.layer_densities)


def make_results(arms=DEFAULT_ARMS, levels=16, replicates=5, steps=60, spacing=500, seed=0):
    """Results of LeNet's shape: tickets learn faster as they get sparser, controls slower."""
    rng = np.random.default_rng(seed)
    level = np.arange(levels)
    kept = np.stack([235_200 * 0.8**level, 30_000 * 0.8**level, 1_000 * 0.9**level], axis=1)
    kept = kept.round().astype(np.int64)
    density = kept.sum(axis=1) / sum(SIZES.values())
    harm = np.array([{"ticket": 0.0, "oneshot": 0.4}.get(arm, 1.0) for arm in arms])
    # The penalty of being sparse sets in sooner for a control than for the ticket.
    sparse = np.clip(-np.log(density) - 3.0 * (1 - harm[:, None]), 0, None)
    speed = 1 + (0.5 - harm[:, None]) * np.minimum(-np.log(density), 1.5) / 1.5 * 0.8
    shape = (len(arms), levels, replicates)
    final = (0.981 + 0.002 * (speed - 1) - 0.0035 * sparse)[:, :, None]
    final = final + 0.0006 * rng.standard_normal(shape)
    pace = (speed[:, :, None] * np.exp(0.08 * rng.standard_normal(shape)))[..., None]
    final[:, 0], pace[:, 0] = final[:1, 0], pace[:1, 0]
    step = np.arange(steps) * spacing
    done = pace * step / 9000
    accuracy = final[..., None] - 0.06 * np.exp(-4 * done) - 0.8 * np.exp(-60 * done)
    loss = 1 - accuracy + 0.01 * np.maximum(done - 1, 0) ** 2 + 0.03 * np.exp(-4 * done)
    dims = ("arm", "level", "replicate")
    results = xarray.Dataset(
        {
            "test_accuracy": ((*dims, "step"), accuracy.astype(np.float32)),
            "validation_loss": ((*dims, "step"), loss.astype(np.float32)),
            "kept": ((*dims, "layer"), np.broadcast_to(kept[None, :, None], (*shape, 3)).copy()),
            "size": ("layer", list(SIZES.values())),
            "valid": (dims, np.ones(shape, bool)),
            "diverged_step": (dims, np.full(shape, -1)),
        },
        coords={
            "arm": list(arms),
            "level": level,
            "replicate": np.arange(replicates),
            "step": step,
            "density": ("level", density),
            "layer": list(SIZES),
        },
    )
    results["test_accuracy"].attrs["units"] = "fraction correct"
    results["early_stop_step"] = early_stop_step(results["validation_loss"])
    return results


@pytest.fixture(scope="module")
def results():
    return make_results()


def bars_of(axes):
    """Lines with bars by label: x, y, lowest and highest ends."""
    found = {}
    for container in axes.containers:
        assert isinstance(container, ErrorbarContainer)
        line, _, (bars,) = container
        ends = np.array([segment[:, 1] for segment in bars.get_segments() if len(segment)])
        found[container.get_label()] = (*line.get_data(), *ends.reshape(-1, 2).T)
    return found


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def ticks(axis):
    """The numbers on an axis that can be seen."""
    low, high = sorted(axis.get_view_interval())
    shown = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
    return [tick.label1.get_text() for tick in shown]


def test_accuracy_is_the_mean_at_each_networks_own_early_stop_with_bars_over_replicates(results):
    (axes,) = plots.accuracy_against_density(results).axes
    drawn = bars_of(axes)
    assert list(drawn) == list(DEFAULT_ARMS)
    for arm, (x, y, low, high) in drawn.items():
        expected = at_early_stop(results, "test_accuracy").sel(arm=arm)
        np.testing.assert_allclose(x, 100 * results["density"])
        np.testing.assert_allclose(y, expected.mean("replicate"), rtol=1e-6)
        np.testing.assert_allclose(low, expected.min("replicate"), rtol=1e-6)
        np.testing.assert_allclose(high, expected.max("replicate"), rtol=1e-6)


def test_early_stop_is_the_mean_step(results):
    (axes,) = plots.early_stop_against_density(results, arms=["reinit"]).axes
    ((_, y, low, high),) = bars_of(axes).values()
    expected = results["early_stop_step"].sel(arm="reinit")
    np.testing.assert_allclose(y, expected.mean("replicate"))
    np.testing.assert_allclose(low, expected.min("replicate"))
    np.testing.assert_allclose(high, expected.max("replicate"))


def test_both_are_the_two_figures_side_by_side_with_one_legend(results):
    figure = plots.both_against_density(results)
    singles = (plots.accuracy_against_density(results), plots.early_stop_against_density(results))
    for axes, single in zip(figure.axes, singles, strict=True):
        assert axes.get_ylabel() == single.axes[0].get_ylabel()
        for arm, drawn in bars_of(axes).items():
            np.testing.assert_array_equal(drawn, bars_of(single.axes[0])[arm])
    assert len(figure.legends) == 1


def test_density_falls_from_100_at_the_left_in_logarithms_with_the_papers_numbers(results):
    figure = plots.accuracy_against_density(results)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    left, right = axes.get_xlim()
    assert axes.get_xscale() == "log"
    assert left > 100 > 3.58 > right
    assert ticks(axes.xaxis) == ["100", "51.3", "26.3", "13.5", "7.0", "3.6"]
    assert axes.get_xlabel() == "weights remaining (%)"
    assert axes.get_ylabel() == "test accuracy (fraction correct)\nat the early-stop step"


def test_the_dense_mean_is_a_line_across_all_densities(results):
    (axes,) = plots.accuracy_against_density(results).axes
    dense = at_early_stop(results, "test_accuracy").sel(arm="ticket", level=0).mean()
    across = [line for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert len(across) == 1
    np.testing.assert_allclose(across[0].get_ydata(), float(dense), rtol=1e-6)


def test_an_arm_looks_the_same_in_every_figure_and_like_no_other(results):
    assert set(plots.APPEARANCES) == set(ARMS)
    assert len(set(plots.APPEARANCES.values())) == len(ARMS)
    # Arms of two actions share their colour with the one and their marker with the other.
    ends = {name for pair, name in CROSSED.items() if not {"rewind", "zero"} & set(pair)}
    looks = [look for arm, look in plots.APPEARANCES.items() if arm not in ends]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks})
    assert len({look.colour for look in looks}) == len(ARMS) - len(ends) == len(looks)
    for arms in (["oneshot"], ["reinit", "oneshot", "ticket"]):
        (axes,) = plots.early_stop_against_density(results, arms=arms).axes
        lines = {container.get_label(): container[0] for container in axes.containers}
        assert list(lines) == arms
        look = plots.APPEARANCES["oneshot"]
        assert same_color(lines["oneshot"].get_color(), look.colour)
        assert lines["oneshot"].get_marker() == look.marker


def test_the_legend_says_what_each_arm_asks(results):
    assert labels(plots.accuracy_against_density(results, arms=["ticket", "shuffle_reinit"])) == [
        "ticket: iterative pruning, rewound",
        "shuffle reinit: does anything but the density matter?",
        "dense network",
    ]
    title = plots.early_stop_against_density(results).legends[0].get_title().get_text()
    assert title == "mean of 5 replicates, bars from least to greatest"


def test_an_arm_from_other_software_is_drawn_too():
    figure = plots.both_against_density(make_results(arms=("ticket", "gradual")))
    assert "gradual" in labels(figure)


def test_diverged_networks_are_left_out_and_said_to_be():
    results = make_results(arms=("ticket", "reinit"))
    results["valid"].loc[{"arm": "reinit", "level": [14, 15], "replicate": 2}] = False
    results["test_accuracy"].loc[{"arm": "reinit", "level": [14, 15], "replicate": 2}] = np.inf
    figure = plots.accuracy_against_density(results)
    assert labels(figure)[1].endswith("matter? (× 1 of 5 diverged)")
    assert "diverged" not in labels(figure)[0]
    assert "that did not diverge" in figure.legends[0].get_title().get_text()
    (axes,) = figure.axes
    y = bars_of(axes)["reinit"][1]
    expected = at_early_stop(results, "test_accuracy").sel(arm="reinit", level=15)
    np.testing.assert_allclose(y[15], expected[[0, 1, 3, 4]].mean(), rtol=1e-6)
    (crosses,) = [line for line in axes.lines if line.get_marker() == "x"]
    np.testing.assert_allclose(crosses.get_xdata(), 100 * results["density"][[14, 15]])
    # The crosses lie below all that is drawn.
    lowest = min(low.min() for *_, low, _ in bars_of(axes).values())
    heights = crosses.get_transform().transform(crosses.get_xydata())[:, 1]
    assert (heights < axes.transData.transform((100, lowest))[1]).all()
    assert same_color(crosses.get_color(), plots.APPEARANCES["reinit"].colour)


def test_learning_curves_are_means_with_bands_at_the_papers_densities(results):
    figure = plots.learning_curves(results)
    (axes,) = figure.axes
    assert labels(figure) == [
        *(f"{density} % remaining" for density in ("100", "51.3", "21.1", "7.0", "3.6")),
        "ticket",
        "reinit",
    ]
    curves = results["test_accuracy"]
    solid = [line for line in axes.lines if line.get_linestyle() == "-"]
    dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
    for level, line, band in zip((0, 3, 7, 12, 15), solid, axes.collections, strict=True):
        curve = curves.sel(arm="ticket", level=level)
        np.testing.assert_array_equal(line.get_xdata(), results["step"])
        np.testing.assert_allclose(line.get_ydata(), curve.mean("replicate"), rtol=1e-6)
        low, high = band.get_datalim(axes.transData).intervaly
        np.testing.assert_allclose([low, high], [curve.min(), curve.max()], rtol=1e-6)
    for level, line, ticket in zip((3, 7, 12, 15), dashed, solid[1:], strict=True):
        curve = curves.sel(arm="reinit", level=level)
        np.testing.assert_allclose(line.get_ydata(), curve.mean("replicate"), rtol=1e-6)
        assert line.get_color() == ticket.get_color()
    assert len({to_hex(line.get_color()) for line in solid}) == 5


def test_learning_curves_of_given_levels_and_of_an_arm_without_its_control(results):
    figure = plots.learning_curves(results, [2, 1, 2], "validation_loss", "oneshot")
    assert labels(figure) == ["64.1 % remaining", "80.0 % remaining"]
    assert figure.axes[0].get_ylabel() == "validation loss"
    shuffled = plots.learning_curves(results, [2], arm="shuffle")
    assert labels(shuffled) == ["64.1 % remaining", "shuffle", "shuffle reinit"]
    others = make_results(arms=("ticket", "reinit_copy", "reinit_frozen"), levels=3)
    # New weights, and besides another order, or other pruned weights: none of them is the control.
    assert labels(plots.learning_curves(others, [2])) == ["64.1 % remaining"]
    assert labels(plots.learning_curves(others, [2], arm="reinit_copy")) == ["64.1 % remaining"]


def test_learning_curves_fit_what_comes_after_the_first_tenth(results):
    (axes,) = plots.learning_curves(results).axes
    bottom, top = axes.get_ylim()
    late = results["test_accuracy"].sel(arm=["ticket", "reinit"], level=[0, 3, 7, 12, 15])
    late = late.isel(step=slice(6, None))
    assert 0.9 < bottom < late.min() < late.max() < top < 1


def test_layer_densities_are_the_share_kept_of_each_layer(results):
    figure = plots.layer_densities(results)
    drawn = bars_of(figure.axes[0])
    assert labels(figure) == [*SIZES, "whole network"]
    np.testing.assert_allclose(drawn["output/kernel"][1], 100 * 0.9 ** np.arange(16), atol=0.06)
    for layer, (_, y, low, high) in drawn.items():
        kept = results["kept"].sel(arm="ticket", layer=layer).mean("replicate")
        np.testing.assert_allclose(y, 100 * kept / SIZES[layer])
        np.testing.assert_allclose(low, high)
    figure.draw_without_rendering()
    assert figure.axes[0].get_yscale() == "log"
    assert ticks(figure.axes[0].yaxis) == ["100", "50", "20", "10", "5"]


def test_layer_densities_end_where_a_layer_is_empty():
    results = make_results(levels=3)
    results["kept"].loc[{"level": 2, "layer": "output/kernel"}] = 0
    y = bars_of(plots.layer_densities(results).axes[0])["output/kernel"][1]
    np.testing.assert_allclose(y, [100, 90, np.nan])


@pytest.mark.parametrize("shape", [(4, 3), (2, 2, 3)])
def test_mask_images_count_the_connections_of_each_pixel(shape):
    rng = np.random.default_rng(0)
    kernel = rng.random((12, 7)) < 0.4
    tree = {"hidden": {"bias": None, "kernel": kernel}, "output": {"kernel": rng.random((7, 12))}}
    figure = plots.mask_images({"array": kernel, "tree": tree}, shape)
    expected = kernel.sum(axis=1).reshape(shape)
    expected = expected if expected.ndim == 2 else expected.sum(axis=2)
    images = [axes for axes in figure.axes if axes.get_images()]
    assert [axes.get_title() for axes in images] == ["array", "tree"]
    for axes in images:
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), expected)
        assert image.get_clim() == (0, expected.max())


def test_mask_images_go_on_in_a_second_row_and_draw_an_empty_mask(tmp_path):
    masks = {f"{level}": np.zeros((4, 2), bool) for level in range(7)}
    figure = plots.mask_images(masks, (2, 2))
    assert sum(bool(axes.get_images()) for axes in figure.axes) == 7
    plots.save({"masks": figure}, tmp_path)


def test_mask_images_say_what_does_not_fit():
    with pytest.raises(TicketError, match=r"mask 'a': expected a leaf of shape \(6, units\).*5, 2"):
        plots.mask_images({"a": np.ones((5, 2), bool)}, (2, 3))
    with pytest.raises(TicketError, match="masks: got none"):
        plots.mask_images({}, (2, 3))


@pytest.mark.parametrize("draw", RESULT_FIGURES)
@pytest.mark.parametrize(
    "sizes",
    [
        {"levels": 1},
        {"replicates": 1},
        {"levels": 1, "replicates": 1, "arms": ("ticket",)},
        {"steps": 1},
        {"arms": tuple(ARMS), "levels": 2},
        {"levels": 40, "replicates": 1},
    ],
    ids=str,
)
def test_few_or_many_levels_replicates_arms_and_steps_draw(draw, sizes, tmp_path):
    plots.save({"figure": draw(make_results(**sizes))}, tmp_path)


@pytest.mark.parametrize("draw", RESULT_FIGURES)
def test_results_without_one_valid_network_draw(draw, tmp_path):
    results = make_results(levels=3)
    results["valid"][:] = False
    results["test_accuracy"][:] = np.nan
    results["early_stop_step"][:] = -1
    figure = draw(results)
    assert any(text.get_text() == "no valid network" for text in figure.axes[0].texts)
    plots.save({"figure": figure}, tmp_path)


def test_curves_that_were_never_evaluated_draw(tmp_path):
    results = make_results(levels=2)
    results["test_accuracy"][:] = np.nan
    for name, draw in {"a": plots.accuracy_against_density, "b": plots.learning_curves}.items():
        plots.save({name: draw(results)}, tmp_path)


@pytest.mark.parametrize("draw", RESULT_FIGURES)
def test_drawing_leaves_the_results_as_they_were(draw, results):
    before = results.copy(deep=True)
    draw(results)
    assert results.identical(before)


def test_curves_of_validation_are_drawn_where_test_was_measured_at_stops_only(results):
    early = results["step"] == results["early_stop_step"]
    ends = results["step"].isin([results["step"][0], results["step"][-1]])
    accuracy = results["test_accuracy"].assign_attrs(units="fraction correct")
    sparse = results.assign(
        test_accuracy=accuracy.where(early | ends),
        validation_accuracy=accuracy.rename("validation_accuracy"),
    )
    (axes,) = plots.learning_curves(sparse).axes
    assert axes.get_ylabel() == "validation accuracy (fraction correct)"
    (axes,) = plots.learning_curves(sparse.assign(test_accuracy=accuracy)).axes
    assert axes.get_ylabel() == "test accuracy (fraction correct)"
    message = (
        r"metric: got 'test_accuracy', which was measured only where networks begin, stop early "
        r"and end; choose e.g. metric='validation_accuracy', or train with test_curves=True"
    )
    with pytest.raises(TicketError, match=message):
        plots.learning_curves(sparse, metric="test_accuracy")
    with pytest.raises(TicketError, match=message):
        plots.learning_curves(sparse.drop_vars("validation_accuracy"))
    # Of training there is nothing at the first step.
    after = results["test_accuracy"].where(results["step"] > 0).rename("train_loss")
    figure = plots.learning_curves(sparse.assign(train_loss=after), metric="train_loss")
    assert figure.axes[0].get_ylabel() == "train loss (fraction correct)"
    # Networks that diverged are not drawn, so that nothing is missing of them.
    broken = results.assign(
        valid=results["valid"].where(results["level"] != 3, False),
        test_accuracy=results["test_accuracy"].where(results["level"] != 3),
    )
    assert plots.learning_curves(broken).axes[0].get_ylabel().startswith("test accuracy")


@pytest.mark.parametrize("draw", DENSITY_FIGURES)
def test_unknown_arms_are_named_with_those_there_are(draw, results):
    with pytest.raises(TicketError, match=r"unknown arm 'tiket': did you mean 'ticket'.*oneshot$"):
        draw(results, arms=["tiket"])
    with pytest.raises(TicketError, match="arms: got none"):
        draw(results, arms=[])


@pytest.mark.parametrize("draw", [plots.learning_curves, plots.layer_densities])
def test_an_unknown_arm_is_named(draw, results):
    with pytest.raises(TicketError, match="unknown arm 'reshuffle'"):
        draw(results, arm="reshuffle")


@pytest.mark.parametrize(
    "draw",
    [plots.accuracy_against_density, plots.both_against_density, plots.learning_curves],
)
@pytest.mark.parametrize("metric", ["accuracy", "density", "early_stop_step"])
def test_an_unknown_metric_is_named_with_those_there_are(draw, metric, results):
    message = (
        f"unknown metric '{metric}':.* Valid: test_accuracy, validation_loss; choose one of them, "
        "e.g. metric='validation_loss'$"
    )
    with pytest.raises(TicketError, match=message):
        draw(results, metric=metric)


def test_an_unknown_level_is_named(results):
    with pytest.raises(TicketError, match="unknown level 16"):
        plots.learning_curves(results, [16])
    with pytest.raises(TicketError, match="levels: got none, expected some of 0, 1"):
        plots.learning_curves(results, [])


def test_results_without_early_stop_say_why(results):
    with pytest.raises(TicketError, match="no early_stop_step, since the learner"):
        plots.both_against_density(results.drop_vars("early_stop_step"))


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    results = make_results(levels=4)
    figure = plots.both_against_density(results)
    (first,) = plots.save({"curves": figure}, tmp_path / "a" / "first")
    (again,) = plots.save({"curves": figure}, tmp_path / "again")
    (anew,) = plots.save({"curves": plots.both_against_density(results)}, tmp_path / "anew")
    assert first.read_bytes() == again.read_bytes() == anew.read_bytes()
    assert first.read_bytes().startswith(b"\x89PNG")
    assert b"matplotlib" not in first.read_bytes().lower()
    assert [path.name for path in first.parent.iterdir()] == ["curves.png"]


@pytest.mark.parametrize("draw", RESULT_FIGURES)
def test_a_dark_style_of_the_users_changes_nothing(draw, tmp_path):
    results = make_results(levels=3)
    (light,) = plots.save({"light": draw(results)}, tmp_path)
    with style.context("dark_background"):
        (dark,) = plots.save({"dark": draw(results)}, tmp_path)
    assert light.read_bytes() == dark.read_bytes()


def test_pyplot_and_the_users_settings_are_left_alone():
    program = (
        "import sys, matplotlib; before = matplotlib.rcParams.copy();"
        "import numpy, tempfile, pathlib; from jaxticket import plots;"
        "figure = plots.mask_images({'a': numpy.ones((4, 2), bool)}, (2, 2));"
        "plots.save({'a': figure}, pathlib.Path(tempfile.mkdtemp()));"
        "assert 'matplotlib.pyplot' not in sys.modules;"
        "assert matplotlib.rcParams.copy() == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.fixture(scope="module")
def swept():
    """Two variants: the second is two points worse everywhere."""
    one = make_results(arms=("ticket", "reinit"), levels=3)
    other = one.copy(deep=True)
    other["test_accuracy"] = one["test_accuracy"] - np.float32(0.02)
    other["test_accuracy"].attrs = one["test_accuracy"].attrs
    both = xarray.concat([one, other], "variant", join="outer").assign_coords(
        variant=["k = 0", "k = 100"], density=(("variant", "level"), [one["density"].values] * 2)
    )
    return both.assign(size=one["size"])


@pytest.mark.parametrize("step", ["early_stop", "start", "end"])
def test_a_sweep_is_a_panel_an_arm_and_a_line_a_variant(swept, step):
    figure = plots.variants_against_density(swept, step=step)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in panels] == ["ticket", "reinit"]
    assert len({axes.get_ylim() for axes in panels}) == 1
    for axes, arm in zip(panels, ("ticket", "reinit"), strict=True):
        lines = bars_of(axes)
        assert list(lines) == ["k = 0", "k = 100"]
        curve = swept["test_accuracy"].sel(variant="k = 0", arm=arm)
        wanted = {
            "early_stop": at_early_stop(swept.sel(variant="k = 0"), "test_accuracy").sel(arm=arm),
            "start": curve.isel(step=0),
            "end": curve.isel(step=-1),
        }[step].mean("replicate")
        np.testing.assert_allclose(lines["k = 0"][1], wanted, rtol=1e-5)
        np.testing.assert_allclose(lines["k = 0"][1] - lines["k = 100"][1], 0.02, rtol=1e-3)


def test_instability_is_drawn_in_percent_against_two(swept):
    values = np.full((2, 3, 5), 0.1)
    values[1] = 0.01
    results = swept.assign(instability=(("variant", "level", "replicate"), values))
    figure = plots.instability_against_density(results)
    lines = bars_of(figure.axes[0])
    assert lines["k = 0"][1].tolist() == pytest.approx([10.0] * 3)
    assert lines["k = 100"][1].tolist() == pytest.approx([1.0] * 3)
    assert any(list(line.get_ydata()) == [2.0, 2.0] for line in figure.axes[0].get_lines())


def test_an_unknown_place_of_a_curve_is_refused(swept):
    with pytest.raises(TicketError, match=r"unknown step 'ends'.*end"):
        plots.variants_against_density(swept, step="ends")


def test_learned_masks_are_drawn_by_share_and_by_width():
    rng = np.random.default_rng(0)
    kinds, shares, widths = ["Kaiming", "constant"], [0.1, 0.5, 1.0], [0.5, 1.0]
    results = xarray.Dataset(
        {
            "share_accuracy": (("weights", "share", "replicate"), rng.random((2, 3, 4))),
            "width_accuracy": (("width", "weights", "replicate"), rng.random((2, 2, 4))),
        },
        coords={"weights": kinds, "share": shares, "width": widths},
    )
    panels = plots.accuracy_against_share(results).axes[:2]
    for axes, axis, places in zip(panels, ("share", "width"), ([10, 50, 100], widths), strict=True):
        bars = [part for part in axes.containers if isinstance(part, ErrorbarContainer)]
        assert [part.get_label() for part in bars] == kinds
        for kind, part in zip(kinds, bars, strict=True):
            mean = 100 * results[f"{axis}_accuracy"].sel(weights=kind).mean("replicate")
            np.testing.assert_allclose(part.lines[0].get_xdata(), places)
            np.testing.assert_allclose(part.lines[0].get_ydata(), mean)
