"""Claims and figures of connectivity, from made-up results and from a run of another question."""

import dataclasses
import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments import connectivity, lenet
from experiments.common.undefined import undefined_pairs
from experiments.connectivity import copies, dense, verdicts
from experiments.connectivity.statistics import STATISTICS
from jaxticket import TicketError, plots, runs
from jaxticket.analysis import judge

SEARCHES, LEVELS, REPLICATES, POINTS = 2, 3, 4, 5


def made(**changes):
    """Results in which every claim holds."""
    noise = 0.001 * np.arange(REPLICATES)
    shape = (SEARCHES, len(copies.RELATIONS), len(copies.CONTROLS), LEVELS, REPLICATES)
    rising = np.array([0.01, 0.3, 0.2])[:, None, None] * np.arange(1, LEVELS + 1)[:, None]
    barrier = np.broadcast_to(rising, shape) + noise
    barrier = barrier * np.array([2, 1])[:, None, None, None, None]
    barrier[:, :, :, 0] = np.array([0.6, 0.01])[:, None, None, None] + noise
    ways = len(STATISTICS)
    curve = np.zeros((len(dense.KINDS), ways, REPLICATES, POINTS))
    height = np.array([0, 0.01, 0.7, 0.4, 0.2])[:, None, None] + np.zeros((5, ways, REPLICATES))
    height[1:] += noise
    pairs = ("search", "relation", "control", "level", "replicate")
    results = xarray.Dataset(
        {
            **dict.fromkeys(copies.MEASURES, (pairs, barrier)),
            "gap": (("search", "control", "level", "replicate"), barrier[:, 0] / 10),
            "begin": ("search", [0, 200]),
            "search_density": (("search", "level"), [[1, 0.2, 0.04]] * 2),
            "dense_curve": (("kind", "statistics", "replicate", "point"), curve + 0.1),
            "dense_barrier": (("kind", "statistics", "replicate"), height),
            "alignment_error": ("replicate", np.full(REPLICATES, 1e-6)),
            "alpha": ("point", np.linspace(0, 1, POINTS)),
            "matrix": (("network", "other"), np.eye(3)),
            "chosen_statistics": ((), "kept"),
        },
        coords={
            "search": ["k = 0", "k = 200"],
            "relation": list(copies.RELATIONS),
            "control": list(copies.CONTROLS),
            "level": np.arange(LEVELS),
            "replicate": np.arange(REPLICATES),
            "kind": list(dense.KINDS),
            "statistics": list(STATISTICS),
            "network": list("abc"),
            "other": list("abc"),
        },
    )
    return results.assign(changes)


def verdict(results, percent=4.0, statistics="kept"):
    own = [claim for claim in verdicts.claims(percent, statistics) if claim.id not in LOTTERY]
    return {one["id"]: one["holds"] for one in judge(own, results)}


LOTTERY = ("density-schedule", "exact-zeros", "nested-masks")


def test_every_claim_can_hold_and_can_fail():
    assert set(verdict(made()).values()) == {True}
    good = made()
    turned = good.assign(
        {name: 1 - good[name] for name in (*copies.MEASURES, "dense_barrier", "alignment_error")}
    )
    # The dense networks stay unstable, without which most are undecided, but from the last k on.
    level = xarray.DataArray(np.arange(LEVELS) == 0, dims="level")
    dense_pairs = good["barrier"].isel(search=[1, 0]).assign_coords(search=good["search"]) + 0.03
    turned["barrier"] = xarray.where(level, dense_pairs, turned["barrier"]).transpose(
        *good["barrier"].dims
    )
    turned["dense_barrier"].loc[{"kind": "independent"}] = 0.001
    found = verdict(turned)
    assert found.pop("dense-unstable-at-the-first-k")
    assert set(found.values()) == {False}


def test_what_a_run_lacks_is_undecided_and_said():
    good = made()
    stable = good["barrier"].copy()
    stable[:, :, :, 0] = 0.0
    found = verdict(made(barrier=stable))
    assert [found[f"ticket-below-{arm}-4"] for arm in ("reinit", "shuffle")] == [None, None]
    assert found["barrier-goes-with-the-gap"] is None
    no_arm = made(barrier=good["barrier"].where(good["control"] != "shuffle"))
    assert verdict(no_arm)["ticket-below-shuffle-4"] is None
    (claim,) = (one for one in verdicts.claims(4.0, "kept") if one.id == "ticket-below-shuffle-4")
    assert claim.test(no_arm).measured == "not computable: needs two arms shuffle"
    (claim,) = (one for one in verdicts.claims(7.0, "kept") if one.id == "ticket-below-shuffle-7")
    assert "needs a level at 7 %, give another --percent" in claim.test(good).measured
    alone = good.drop_vars(["dense_barrier", "dense_curve", "alignment_error", "alpha", "kind"])
    assert verdict(alone)["identical-pair"] is None
    assert verdict(alone)["curve-below-independent"] is None
    assert verdict(good.isel(search=[0]))["dense-barrier-falls"] is None


def test_statistics_that_do_not_exist_are_one_line():
    config = dataclasses.replace(connectivity.PRESETS["default"], statistics="recompute")
    with pytest.raises(TicketError, match="unknown statistics 'recompute': did you mean 'recomp"):
        connectivity.check(config)


OF_DENSE = ("independent-have-a-barrier", "same-start-below-independent")
OF_BARRIERS = (
    *("dense-unstable-at-the-first-k", "dense-barrier-falls", *OF_DENSE),
    *("aligned-below-independent", "ticket-below-reinit-4", "ticket-below-shuffle-4"),
    *("barrier-goes-with-the-gap", "ticket-returns-barrier-4"),
)


@pytest.mark.parametrize("statistics", STATISTICS)
def test_statements_about_barriers_name_the_batch_statistics_that_they_read(statistics):
    said = {claim.id: claim.statement for claim in verdicts.claims(4.0, statistics)}
    assert all(f"batch statistics {statistics}" in said[name] for name in OF_BARRIERS)
    assert "batch statistics recomputed" in said["curve-below-independent"]
    none = made()
    none["dense_barrier"].loc[{"statistics": statistics, "kind": "independent"}] = 0.0
    found = verdict(none, statistics=statistics)
    assert [found[name] for name in OF_DENSE] == [False, False]
    others = [name for name in STATISTICS if name != statistics]
    assert all(verdict(none, statistics=other)[OF_DENSE[0]] for other in others)


def test_pairs_whose_loss_is_not_finite_on_the_way_are_named_once(monkeypatch):
    def compare(problem, result, name, pairs, measuring):
        found = {measure: np.zeros(len(pairs)) for measure in (*copies.MEASURES, copies.UNDEFINED)}
        lost = [
            str(first) in ("reinit level 1 replicate 1", "dense level 1 replicate 0")
            for first, _ in pairs
        ]
        found["barrier"][lost] = np.nan
        found[copies.UNDEFINED] = np.where(lost, 0.25, np.nan)
        return found

    monkeypatch.setattr(copies, "compare", compare)
    monkeypatch.setattr(copies, "_gaps", lambda results: np.zeros((1, 3, 3, 2)))
    monkeypatch.setattr(copies, "_begin", lambda results: 0)
    monkeypatch.setattr(copies, "_matrix", lambda *given: {})
    result = SimpleNamespace(
        variants=("",), arms=copies.ARMS, levels=3, replicates=2, densities=lambda name: [1, 1, 1]
    )
    problem = SimpleNamespace(config=SimpleNamespace(statistics="kept"))
    measured = copies.measured(problem, result, xarray.Dataset(), {"": None})
    found = xarray.Dataset(measured)
    named = [pair["between"] for pair in undefined_pairs(found)]
    start = "search the run, relation"
    assert named == [
        f"{start} copies, control ticket, level 0, replicate 0",
        f"{start} copies, control reinit, level 1, replicate 1",
        f"{start} pruned, control reinit, level 1, replicate 1",
    ]
    assert np.isnan(found["barrier"].isel(level=0, replicate=0)).all()


def test_figures_show_the_numbers():
    results = made()
    lines = plots.barrier_against_step(results).axes[2].containers
    ticket = lines[0].lines[0].get_ydata()
    values = results["barrier"].sel(relation="copies", control="ticket", level=2)
    np.testing.assert_allclose(ticket, 100 * values.mean("replicate"))
    image = plots.barrier_heat_map(results).axes[0].get_images()[0].get_array()
    np.testing.assert_allclose(image, 100 * np.eye(3))
    dots = plots.barrier_against_gap(results).axes[0].collections[0].get_offsets()
    assert dots.shape == (SEARCHES * REPLICATES, 2)
    curve = plots.barrier_curves(results).axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(curve, 10.0)
    broken = results["dense_curve"].copy()
    broken[:, :, :, 2] = np.nan
    curve = plots.barrier_curves(made(dense_curve=broken)).axes[0].lines[0].get_ydata()
    assert np.isnan(curve).tolist() == [False, False, True, False, False]
    with pytest.raises(TicketError, match="results: got no matrix, expected a run that measures"):
        plots.barrier_heat_map(results.drop_vars("matrix"))


@pytest.mark.slow
def test_a_run_of_another_question_is_measured_as_far_as_it_goes(tmp_path):
    def call(experiment, *words):
        console = Console(file=io.StringIO(), width=130)
        return experiment.main(["--plan", "map", "--preset", "smoke", *map(str, words)], console)

    out, new = tmp_path / "lenet", tmp_path / "new"
    small = ("--model", "deep_mlp", "--width", "0.2", "--levels", "2", "--arms", "ticket", "copy")
    assert call(lenet, *small, "--out", out) == 0
    words = ("--percent", "65", "--statistics", "recomputed", "--matrix-replicates", "2")
    assert call(connectivity, "--run", out, *words, "--check", "--out", new) == 0
    summary = json.loads((new / "summary.json").read_text())
    assert summary["costs"]["networks"] == 0
    holds = {claim["id"]: claim["holds"] for claim in summary["claims"]}
    assert holds["identical-pair"] is holds["alignment-keeps-the-function"] is True
    said = {claim["id"]: claim["measured"] for claim in summary["claims"]}
    wanted = "not computable: needs the arm dense at two levels above 0"
    assert said["dense-unstable-at-the-first-k"] == wanted
    found = runs.load(new).results
    assert np.isfinite(found["barrier"].sel(control="ticket").isel(level=1)).all()
    assert np.isnan(found["barrier"].sel(control="shuffle")).all()
    # Sparse pairs, the matrix and dense pairs are measured with the same statistics.
    assert found["chosen_statistics"].item() == "recomputed"
    names = {name: found["matrix"].sel(network=name) for name in found["network"].values}
    dense_pairs = found["dense_barrier"].sel(kind="independent").isel(replicate=0)
    first = names["level 0, replicate 0"]
    chosen = dense_pairs.sel(statistics="recomputed")
    assert float(first.sel(other="level 0, replicate 1")) == float(chosen)
    assert len(set(dense_pairs.values.tolist())) == len(STATISTICS)
    pruned = found["barrier"].sel(relation="pruned", control="ticket").isel(level=1, replicate=0)
    assert float(first.sel(other="level 1, replicate 0")) == float(pruned.item())
