"""Laws of the claims and figures about searches that are repelled from their own solutions."""

import dataclasses
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from matplotlib.container import ErrorbarContainer
from rich.console import Console

from experiments import regurgitation
from experiments.common import sweeps
from experiments.common.instability import Barriers
from experiments.common.undefined import undefined_pairs
from experiments.regurgitation import advantage, successive
from experiments.regurgitation.advantage import Search
from jaxticket import TicketError, plots, runs

NAMES = [successive.name(search, s) for search in ("ticket", "reinit") for s in (0.0, 2.0)]
TICKET, REPELLED, REINIT, REPELLED_REINIT = map(Search, NAMES)
CELLS = (TICKET, REINIT, REPELLED, REPELLED_REINIT)
PERCENT = 25.0


def results(*accuracies, spread=0.0):
    """Four searches of three levels and four replicates, each as accurate as is said."""
    noise = spread * np.array([-1.0, 1.0, -1.0, 1.0])
    values = np.broadcast_to(
        np.array(accuracies)[:, None, None, None, None] + noise[:, None], (4, 1, 3, 4, 1)
    )
    dims = ("variant", "arm", "level", "replicate")
    angles = np.full((4, 3, 4), np.nan)
    angles[:, 1:] = np.array([0.1, 0.4, 0.95, 1.05])[:, None, None]
    return xarray.Dataset(
        {
            "test_accuracy": ((*dims, "step"), values),
            "early_stop_step": (dims, np.zeros(values.shape[:-1], int)),
            "valid": (dims, np.ones(values.shape[:-1], bool)),
            "density": (("variant", "level"), [[1.0, 0.5, 0.25]] * 4),
            "angle": (("variant", "level", "replicate"), angles),
            "barrier": (("variant", "level", "replicate"), angles / 10),
            "search": ("variant", ["ticket", "ticket", "reinit", "reinit"]),
            "strength": ("variant", [0.0, 2.0, 0.0, 2.0]),
        },
        coords={"variant": NAMES, "arm": ["ticket"], "level": [0, 1, 2], "step": [0]},
    )


def test_an_advantage_that_is_taken_away_is_found_and_one_that_stays_is_not():
    falls = advantage.advantage_falls(*CELLS, PERCENT, "source")
    assert falls.test(results(0.9, 0.8, 0.8, 0.8)).holds
    assert falls.test(results(0.9, 0.8, 0.8, 0.8)).measured == pytest.approx(0.1)
    assert not falls.test(results(0.9, 0.9, 0.8, 0.8)).holds
    # What both controls lose by being repelled is no loss of the ticket's advantage.
    assert not falls.test(results(0.9, 0.8, 0.8, 0.7)).holds


def test_no_better_and_unchanged_say_their_tolerance_and_side():
    no_better = advantage.no_better(REPELLED, REPELLED_REINIT, PERCENT, 0.005, "source")
    assert no_better.test(results(0.9, 0.804, 0.8, 0.8)).holds
    assert not no_better.test(results(0.9, 0.806, 0.8, 0.8)).holds
    assert no_better.test(results(0.9, 0.7, 0.8, 0.8)).holds
    unchanged = sweeps.unchanged(REPELLED_REINIT, REINIT, PERCENT, 0.01, "source")
    for accuracy, holds in ((0.809, True), (0.791, True), (0.811, False), (0.789, False)):
        assert unchanged.test(results(0.9, 0.8, 0.8, accuracy)).holds is holds


def test_without_an_advantage_nothing_can_be_taken_away():
    claim = advantage.no_better(REPELLED, REPELLED_REINIT, PERCENT, 0.005, "source")
    guarded = advantage.if_advantage(claim, ticket=TICKET, control=REINIT, percent=PERCENT)
    assert guarded.test(results(0.9, 0.8, 0.8, 0.8)).holds
    found = guarded.test(results(0.8, 0.8, 0.8, 0.8))
    assert found.holds is None
    assert "no advantage over reinit, strength 0 at 25 %" in str(found.measured)
    elsewhere = advantage.if_advantage(claim, ticket=TICKET, control=REINIT, percent=3.0)
    assert "needs a level at 3 %" in str(elsewhere.test(results(0.9, 0.8, 0.8, 0.8)).measured)


def test_claims_about_angles_read_the_means_over_levels():
    given = results(0.9, 0.8, 0.8, 0.8)
    below = successive.below("angle", ("ticket", 0), ("reinit", 0), "source").test(given)
    assert below.holds
    assert below.measured == pytest.approx(0.85)
    assert not successive.below("angle", ("reinit", 0), ("ticket", 0), "source").test(given).holds
    assert successive.nearly_orthogonal(("reinit", 2), "source").test(given).holds
    assert not successive.nearly_orthogonal(("ticket", 2), "source").test(given).holds
    missing = successive.below("barrier", ("ticket", -1), ("reinit", 0), "source").test(given)
    assert "needs the variant ticket, strength -1" in str(missing.measured)
    # A level that has no angle is not left out of a mean.
    given["angle"][0, 1, 0] = np.nan
    interval = successive.below("angle", ("ticket", 0), ("reinit", 0), "s").test(given).interval
    assert interval is not None
    assert interval.number == 3


def test_a_replicate_whose_loss_is_not_finite_on_the_way_is_named(monkeypatch):
    broken = Barriers(np.array([0.1, np.nan]), np.array([np.nan, 0.25]))
    monkeypatch.setattr(successive, "barriers_between", lambda *given: broken)
    monkeypatch.setattr(successive, "angles_of", lambda *given: np.array([0.3, 0.4]))
    monkeypatch.setattr(successive, "_first_mask_differences", lambda result: 0)
    learner, config = SimpleNamespace(init=lambda key: None), SimpleNamespace(seed=0, points=3)
    problem = SimpleNamespace(family=lambda given: learner, config=config)
    one = SimpleNamespace(variants=NAMES[:1], levels=2, replicates=2, network=lambda *given: None)
    coords = {"variant": NAMES[:1], "level": [0, 1], "replicate": [0, 1]}
    density = (("variant", "level"), [[1.0, 0.5]])
    found = successive.measured(problem, one, xarray.Dataset({"density": density}, coords))
    np.testing.assert_array_equal(found["angle"][0, 1], [0.3, 0.4])
    np.testing.assert_array_equal(found["barrier"][0, 1], [0.1, np.nan])
    (pair,) = undefined_pairs(found)
    assert pair["between"] == "variant ticket, strength 0, level 1, replicate 1"
    assert pair["alpha"] == 0.25
    *_, table = successive.tables(found)
    assert list(table.columns[1].cells) == [pair["between"]]


SMALL = ("--preset", "smoke", "--plan", "map", "--strengths", "0", "2")


@pytest.mark.slow
def test_what_is_trained_beside_a_run_that_is_read_is_what_a_run_of_its_own_trains(tmp_path):
    """To the bit, with all that is measured; and the run's own tickets are not trained again."""
    call = lambda *words: regurgitation.main(  # noqa: E731
        [*SMALL, *map(str, words)], Console(file=io.StringIO(), width=130)
    )
    own, read = tmp_path / "own", tmp_path / "read"
    assert call("--out", own) == 0
    for name, what in (("ticket, strength 2", "repulsion 2"), ("reinit, strength 0", "reinit")):
        with pytest.raises(TicketError, match=f"--variant {name}: is a search with .*{what}"):
            call("--run", own, "--variant", name, "--out", read)
    assert not read.exists()
    assert call("--run", own, "--out", read) == 0
    xarray.testing.assert_identical(runs.load(own).results, runs.load(read).results)
    networks = json.loads((read / "summary.json").read_text())["costs"]["networks"]
    assert networks == 3 * 2 * 2
    # Gone on with, nothing is left to train.
    (read / "results.nc").unlink()
    (read / "summary.json").unlink()
    assert call("--run", own, "--out", read) == 0
    xarray.testing.assert_identical(runs.load(own).results, runs.load(read).results)
    assert json.loads((read / "summary.json").read_text())["costs"]["networks"] == 0


def test_percents_are_densities():
    config = dataclasses.replace(regurgitation.PRESETS["default"], percents=(0.0,))
    with pytest.raises(TicketError, match="--percents: got 0, expected above 0 to 100"):
        regurgitation.check(config)


def lines(axes):
    """The points of every line, `[2, points]`."""
    bars = [part for part in axes.containers if isinstance(part, ErrorbarContainer)]
    return [np.asarray(part.lines[0].get_xydata()).T for part in bars]


def test_figures_show_a_panel_a_search_and_what_lies_between_solutions():
    given = results(0.9, 0.7, 0.8, 0.6)
    figure = plots.strengths_against_density(given)
    assert [axes.get_title() for axes in figure.axes] == ["ticket", "reinit"]
    for axes, expected in zip(figure.axes, ([0.9, 0.7], [0.8, 0.6]), strict=True):
        for line, accuracy in zip(lines(axes), expected, strict=True):
            np.testing.assert_allclose(line, [[100, 50, 25], [accuracy] * 3])
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    angle, barrier = plots.successive_against_density(given).axes
    for axes, scale in ((angle, 1), (barrier, 10)):
        for line, value in zip(lines(axes), (0.1, 0.4, 0.95, 1.05), strict=True):
            np.testing.assert_allclose(line, [[50, 25], [scale * value] * 2])
    with pytest.raises(TicketError, match="there are no search and strength"):
        plots.strengths_against_density(given.drop_vars("search"))
