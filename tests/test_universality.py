"""What the experiment on transfer computes of its results, against the definitions."""

import dataclasses

import make_datasets
import numpy as np
import pytest
import xarray

from experiments import universality
from experiments.universality import claiming, flow_claims
from experiments.universality.tasks import stack, with_optional
from jaxticket import TicketError, data, plots
from jaxticket.analysis import at_early_stop, transfer_results
from jaxticket.runs import run_path
from jaxticket.transfer import Transfer, Transferred

TASKS, REPLICATES, LAYERS = ("whole", "lower", "permuted"), 3, ("a/kernel", "b/kernel")


def results(**changes):
    """Results as `measuring.measured` makes them, drawn at random."""
    generator = np.random.default_rng(0)
    draw = lambda *shape: generator.uniform(0.2, 0.8, shape)  # noqa: E731
    arms, each = ("ticket", "shuffle_reinit"), range(REPLICATES)
    number = len(TASKS)
    variables = {
        "transfer_accuracy": (
            ("source", "target", "control", "replicate"),
            draw(number, number, 2, REPLICATES),
        ),
        "native_accuracy": (("target", "replicate"), draw(number, REPLICATES)),
        "flow_distance": (
            ("source", "target", "replicate", "other"),
            draw(number, number, REPLICATES, REPLICATES),
        ),
        "overlap": (
            ("source", "target", "layer", "replicate"),
            draw(number, number, 2, REPLICATES),
        ),
        "exponent": (("variant", "replicate", "layer"), draw(number, REPLICATES, 2)),
        "r_squared": (("variant", "replicate", "layer"), draw(number, REPLICATES, 2)),
        "null_exponent": (("replicate", "layer"), draw(REPLICATES, 2)),
        "share": (("variant", "level", "replicate", "layer"), draw(number, 2, REPLICATES, 2)),
        "density": (("variant", "level"), np.array([[1.0, 0.3]] * number)),
        "transfer_wrong": ((), 0),
        "identity_differences": ((), 0),
    }
    coordinates = {"source": list(TASKS), "target": list(TASKS), "variant": list(TASKS)}
    coordinates |= {"control": list(arms), "layer": list(LAYERS), "replicate": list(each)}
    return xarray.Dataset(variables | changes, coordinates)


def test_transfers_are_read_where_their_names_say():
    names = [
        Transfer(s, t, arm, 2, r) for s in "ab" for t in "ba" for arm in ("x", "y") for r in (0, 1)
    ]
    steps, generator = np.array([0, 5, 9]), np.random.default_rng(0)
    curves = {
        name: generator.random((len(names), 3)).astype(np.float32)
        for name in ("validation_loss", "test_accuracy")
    }
    diverged = np.full(len(names), -1)
    diverged[3] = 5
    made = Transferred(tuple(names[:-1]), steps, *tail(curves, diverged), {}, np.zeros(15, int))
    dataset = transfer_results(made)
    values = at_early_stop(dataset, "test_accuracy")
    for place, name in enumerate(names):
        found = float(values.sel(name._asdict()))
        best = curves["validation_loss"][place].argmin()
        if place in (3, 15):
            assert np.isnan(found)
        else:
            assert found == curves["test_accuracy"][place, best]


def tail(curves, diverged):
    """Leaves the last network out, so that one place stays empty."""
    return {name: values[:-1] for name, values in curves.items()}, diverged[:-1]


def test_losses_and_distances_are_paired_by_source_target_and_replicate():
    given = results()
    losses, distances = flow_claims.loss_and_distance(given)
    place = 0
    for source in TASKS:
        for target in TASKS:
            if source == target:
                continue
            at = {"source": source, "target": target}
            for r in range(REPLICATES):
                native = given["native_accuracy"].sel(target=target).values[r]
                carried = given["transfer_accuracy"].sel(**at, control="ticket").values[r]
                assert losses[r, place] == native - carried
                assert distances[r, place] == given["flow_distance"].sel(at).values[r, r]
            place += 1
    assert losses.shape == (REPLICATES, place)


def test_the_spread_compares_other_initial_weights_only():
    """Each replicate by hand; the distance of a replicate from itself is never read."""
    given = results()
    distance = given["flow_distance"].values
    for r, found in enumerate(flow_claims.spread_gap(given, TASKS)):
        others = [o for o in range(REPLICATES) if o != r]
        within = np.mean([distance[t, t, r, o] for t in range(3) for o in others])
        between = np.mean(
            [distance[s, t, r, o] for s in range(3) for t in range(3) if s != t for o in others]
        )
        assert abs(found - (between - within)) < 1e-12


def evidence(claim, **changes):
    return claim.test(results(**changes))


def test_claims_hold_where_they_are_true_and_fail_where_not():
    dims = ("source", "target", "control", "replicate")
    shape = (3, 3, 2, REPLICATES)
    native = (("target", "replicate"), np.full((3, REPLICATES), 0.6))
    noise = 0.001 * np.arange(REPLICATES)
    for ticket, random, holds in ((0.5, 0.4, (True, True)), (0.7, 0.8, (False, False))):
        carried = np.stack([np.full(shape[:2] + shape[3:], v) for v in (ticket, random)], axis=2)
        changes = {"transfer_accuracy": (dims, carried + noise), "native_accuracy": native}
        matches = evidence(claiming.native_at_least_transferred(TASKS, "x"), **changes)
        beats = evidence(claiming.transferred_beats("shuffle_reinit", TASKS, "x"), **changes)
        assert (matches.holds, round(beats.measured, 6)) == (holds[0], round(ticket - random, 6))
        assert beats.holds is holds[1]


def test_exact_claims_fail_where_a_number_is_wrong():
    counts, home, sums = claiming.exact_claims()
    assert evidence(counts).holds
    assert evidence(home).holds
    assert not evidence(counts, transfer_wrong=((), 1)).holds
    assert not evidence(home, identity_differences=((), 1)).holds
    dims = ("variant", "level", "replicate", "layer")
    assert evidence(sums, share=(dims, np.full((3, 2, REPLICATES, 2), 0.5))).holds
    assert not evidence(sums, share=(dims, np.full((3, 2, REPLICATES, 2), 0.5001))).holds


def test_loss_that_grows_with_distance_is_seen_as_such():
    distance = results()["flow_distance"].values
    own = distance[:, :, np.arange(REPLICATES), np.arange(REPLICATES)]
    carried = np.stack([0.6 - 0.1 * own, np.zeros_like(own)], axis=2)
    changes = {
        "transfer_accuracy": (("source", "target", "control", "replicate"), carried),
        "native_accuracy": (("target", "replicate"), np.full((3, REPLICATES), 0.6)),
    }
    found = evidence(flow_claims.loss_grows_with_distance(), **changes)
    assert abs(found.measured - 1) < 1e-12
    assert found.holds
    flat = changes | {"transfer_accuracy": (changes["transfer_accuracy"][0], 0 * carried)}
    assert evidence(flow_claims.loss_grows_with_distance(), **flat).holds is None


def test_claims_about_tasks_that_a_run_lacks_are_not_computable():
    for claim, what in (
        (claiming.permuted_transfers_worse(("upper",), "permuted", "whole", "x"), "upper"),
        (claiming.permuted_first_layer_differs(("upper",), "permuted", "whole"), "upper"),
        (claiming.across_optimizers("whole", "whole, sgd", "x"), "whole, sgd"),
        (claiming.transferred_beats("reinit", TASKS, "x"), "reinit"),
        (claiming.transferred_beats("shuffle_reinit", TASKS[:1], "x"), "two tasks"),
        (claiming.native_at_least_transferred(TASKS[:1], "x"), "two tasks"),
    ):
        found = evidence(claim)
        assert found.holds is None
        assert what in found.measured


def test_figures_show_every_pair_and_every_layer():
    given = results()
    matrices = plots.transfer_matrices(given)
    assert [len(axes.texts) for axes in matrices.axes] == [9, 9]
    gap = given["transfer_accuracy"].sel(control="ticket") - given["native_accuracy"]
    first = 100 * float(gap.isel(source=0, target=0).mean())
    assert matrices.axes[0].texts[0].get_text().startswith(f"{first:+.1f}")
    flows = plots.flow_exponents(given)
    assert len(flows.axes) == 2 * len(LAYERS)
    assert [len(axes.lines) for axes in flows.axes[:2]] == [3, 3]
    points = plots.loss_against_distance(given).axes[0].containers
    assert len(points) == 6


def test_tasks_are_stacked_in_the_order_of_the_configuration():
    config = dataclasses.replace(
        universality.PRESETS["smoke"], tasks=("whole", "upper", "permuted")
    )
    digits = data.load("digits")
    made = stack(config, digits)
    assert made.train.images.shape[1:] == (3, 8, 8, 1)
    assert made.train.labels.max(axis=0).tolist() == [9, 4, 9]
    pixels = np.sort(made.train.images.reshape(len(made.train.labels), 3, -1), axis=-1)
    np.testing.assert_array_equal(pixels[:, 0], pixels[:, 2])


def write_mnist(folder):
    """As many digits of one size as MNIST's idx files hold in this test, more than `digits` has."""
    make_datasets.write_idx(folder, train=3_000, test=500)
    return folder


def test_a_second_data_set_is_found_where_a_path_says_and_cut_to_the_size_of_the_first(tmp_path):
    paths = (f"mnist={write_mnist(tmp_path)}",)
    config = dataclasses.replace(
        universality.PRESETS["smoke"], tasks=("whole", "mnist"), task_paths=paths
    )
    digits = data.load("digits")
    made = stack(config, digits)
    assert made.train.images.shape == (*digits.train.labels.shape, 2, 8, 8, 1)
    # Each example of both stands there once: the larger one is not repeated, nor is the smaller.
    assert (
        made.split == "tasks stacked, with 1257, 1257 different training examples, smaller "
        "sets repeated"
    )


def test_optional_tasks_are_decided_before_the_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    default = universality.PRESETS["default"]
    without = with_optional(default)
    assert without.tasks == default.tasks
    assert run_path("universality", without, None) == run_path("universality", default, None)
    given = dataclasses.replace(default, task_paths=("mnist=/anywhere",))
    assert with_optional(given).tasks == (*default.tasks, "mnist")
    assert run_path("universality", with_optional(given), None) != run_path(
        "universality", without, None
    )
    prepared = tmp_path / "mnist" / "3.0.1"
    prepared.mkdir(parents=True)
    (prepared / "dataset_info.json").write_text("{}")
    there = with_optional(default)
    assert there.tasks == with_optional(there).tasks == (*default.tasks, "mnist")
    # What is there already is not added.
    for own in (dataclasses.replace(default, dataset="mnist"), there):
        assert with_optional(own).tasks == own.tasks


BAD_PATHS = {
    "mnist": "got 'mnist', expected a name and a folder",
    "=/data": "got '=/data', expected a name and a folder",
    "kmnist=/data": "got a folder of kmnist, expected one of a task",
}


@pytest.mark.parametrize("words", BAD_PATHS)
def test_a_path_of_no_task_is_one_line(words):
    config = dataclasses.replace(universality.PRESETS["default"], task_paths=(words,))
    with pytest.raises(TicketError, match=f"--task-paths: {BAD_PATHS[words]}"):
        universality.check(config)
    twice = dataclasses.replace(config, task_paths=("mnist=/a", "mnist=/b"))
    with pytest.raises(TicketError, match="--task-paths: got a name twice"):
        universality.check(twice)
