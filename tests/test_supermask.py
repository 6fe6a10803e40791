"""Learned masks: their inverted scores, those of spoiled data, and what is claimed of both."""

import dataclasses
import functools
import io
import itertools
import json
import types

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from rich.console import Console

from experiments import supermask
from experiments.common import besides, spoiling
from experiments.common.problem import make_problem
from experiments.supermask import checks, learned, spoiled
from jaxticket import data, masks, runs
from jaxticket.masks.basic import leaves_by_path
from jaxticket.recipes import Step

DIGITS = data.load("digits")
SIZES = {"a": (4, 3), "b": (5,), "c": (2, 2, 2)}


def scores(seed):
    """Scores of both signs, of which some are as large as others."""
    generator = np.random.default_rng(seed)
    draw = lambda shape: generator.integers(-3, 4, shape).astype(np.float32)  # noqa: E731
    return {name: jnp.asarray(draw(shape)) for name, shape in SIZES.items()} | {"bias": None}


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("density", [0.25, 0.5, 0.7, 1.0])
def test_inverted_scores_keep_as_many_of_each_layer_and_what_the_mask_keeps_last(density, traced):
    def both(at, params):
        ticket = learned.mask_at(at, params, {"mask": {"weights": {}}})
        return ticket, checks.inverted_at(at, params)

    for seed in range(5):
        params = scores(seed)
        given = (jnp.float32(density), params) if traced else (density, params)
        ticket, inverted = (jax.jit(both) if traced else both)(*given)
        assert masks.counts(inverted) == masks.counts(ticket)
        for name, kept in leaves_by_path(inverted):
            # Two orders, one the other turned round, have the fewest in common that can be.
            common = int((kept & ticket[name]).sum())
            assert common == max(0, 2 * int(kept.sum()) - kept.size)
            worth = np.abs(np.asarray(params[name]))
            assert worth[kept].max() <= worth[~kept].min(initial=np.inf)
        assert inverted["bias"] is None


def test_the_inverted_mask_is_evaluated_over_the_same_weights():
    problem, variants = tiny(), {"half": learned.make_variant("Kaiming", learned.MIDDLE)}
    learner = problem.family(variants["half"].hyperparameters)
    begun = jax.jit(jax.vmap(learner.init))(jax.random.split(jax.random.key(5), 2))
    record = types.SimpleNamespace(
        params=begun.params,
        model_state=begun.model_state,
        variants=("half", "half"),
        replicates=(0, 1),
    )
    result = types.SimpleNamespace(tickets=lambda level: record, replicates=2)
    accuracy = checks.accuracy(problem, result, variants)
    place = list(checks.CONTROLS).index("inverted")
    for replicate in range(2):
        own = cases.member(jax.device_get(begun), replicate)
        weights, kept = own.model_state["mask"]["weights"], lowest(own.params)
        found = outputs(weights, kept, np.asarray(DIGITS.test.images)).argmax(-1)
        right = np.mean(found == np.asarray(DIGITS.test.labels))
        np.testing.assert_allclose(accuracy[0, place, replicate], right, rtol=1e-6)
    assert not np.array_equal(accuracy[0, place], accuracy[0, 0])


def lowest(params):
    """The lower half of each layer's scores, halves rounded to even, with NumPy alone."""
    kept = {}
    for name, layer in params.items():
        worth = np.abs(np.asarray(layer["kernel"])).ravel()
        order = np.argsort(worth, kind="stable")[: round(worth.size / 2)]
        kept[name] = np.isin(np.arange(worth.size), order).reshape(layer["kernel"].shape)
    return kept


def outputs(weights, kept, images):
    """A perceptron's outputs, with NumPy alone."""
    x = images.reshape(len(images), -1).astype(np.float32) / 255
    for name in sorted(weights):
        x = x @ (weights[name]["kernel"] * kept[name]) + weights[name]["bias"]
        x = x if name == "output" else np.maximum(x, 0)
    return x


def tiny(**changes):
    config = dataclasses.replace(
        supermask.PRESETS["smoke"],
        width=0.05,
        inputs="unit_interval",
        steps=Step.iterations(6),
        evaluate_every=Step.iterations(6),
        **changes,
    )
    return make_problem(config, DIGITS, learned.make_family)


@functools.cache
def found_on(names):
    return spoiled.search(tiny(spoiled=names))


@pytest.mark.slow
def test_a_mask_of_spoiled_data_is_to_the_bit_what_it_is_when_learned_alone():
    names, problem = ("labels", "half"), tiny()
    together, tasks = found_on(names), spoiling.spoiled_tasks(problem, names)
    accuracy = spoiled.accuracy(tiny(spoiled=names))
    for task, name in enumerate(names):
        one = data.unstacked(tasks, task)
        alone = besides.search(problem._replace(dataset=one, variants=of_each_kind()))
        places = itertools.product(enumerate(learned.WEIGHTS), range(problem.config.replicates))
        for (place, kind), replicate in places:
            a = together.network("ticket", 0, replicate, spoiled.named(kind, name))
            b = alone.network("ticket", 0, replicate, kind)
            cases.assert_same_bits(
                (a.params, a.model_state, a.curves), (b.params, b.model_state, b.curves)
            )
            # What is read is accuracy on the true test examples, at the end of training.
            assert accuracy[place, task, replicate] == b.curves["test_accuracy"][-1]


def of_each_kind():
    return {kind: learned.make_variant(kind, learned.MIDDLE) for kind in learned.WEIGHTS}


@pytest.mark.slow
def test_masks_of_spoiled_data_are_learned_over_the_same_weights_from_the_same_scores():
    problem, result = tiny(), found_on(("labels", "half"))
    true = besides.search(problem._replace(variants=of_each_kind()))
    for kind, replicate in itertools.product(learned.WEIGHTS, range(problem.config.replicates)):
        own = true.network("ticket", 0, replicate, kind)
        for name in ("labels", "half"):
            other = result.network("ticket", 0, replicate, spoiled.named(kind, name))
            cases.assert_same_bits(own.model_state, other.model_state)
            assert not np.array_equal(*(n.params["output"]["kernel"] for n in (own, other)))
    begun = [jax.tree.map(lambda leaf: leaf[:2], r.origin.rewound.params) for r in (true, result)]
    cases.assert_same_bits(*begun)


def made(ticket, other, share=0.5):
    """Results in which every mask of spoiled data is as good as any other."""
    kinds, names = list(learned.WEIGHTS), list(spoiling.SPOILED)
    number, controls = len(ticket), list(checks.CONTROLS)
    one = np.broadcast_to(ticket, (len(kinds), 1, number))
    every = np.broadcast_to(other, (len(kinds), len(names), number))
    checked = np.broadcast_to(other, (len(kinds), 1, len(controls), number)).copy()
    checked[:, :, 0] = ticket
    return xarray.Dataset(
        {
            "share_accuracy": (("weights", "share", "replicate"), one),
            "check_accuracy": (("weights", "share", "control", "replicate"), checked),
            "spoiled_accuracy": (("weights", "spoiled", "replicate"), every),
        },
        {"weights": kinds, "spoiled": names, "share": [share], "control": controls},
    )


def verdicts(results, names=tuple(spoiling.SPOILED)):
    every = [*checks.claims("Kaiming", 0.5), *spoiled.claims("Kaiming", 0.5, names)]
    return {claim.id: claim.test(results) for claim in every}


def test_claims_of_checks_compare_replicate_by_replicate():
    better = np.array([0.8, 0.7, 0.6])
    worse = better - np.array([0.0021, 0.002, 0.0019])
    right = verdicts(made(better, worse))
    assert set(right) == {
        *(f"Kaiming-mask-more-than-{control}-50" for control in ("shuffle", "reinit", "inverted")),
        *(f"Kaiming-mask-more-than-{name}-50" for name in ("labels", "pixels")),
        "Kaiming-half-as-good-as-mask-50",
    }
    # What was learned on half of the examples may lose a hundredth.
    assert all(found.holds is True for found in right.values())
    reversed_ = verdicts(made(worse, better))
    held = [name for name, found in reversed_.items() if found.holds]
    assert held == ["Kaiming-half-as-good-as-mask-50"]
    far = verdicts(made(better, better - 0.02))["Kaiming-half-as-good-as-mask-50"]
    assert far.holds is False


def test_what_is_claimed_of_a_share_that_was_not_learned_says_so():
    equal = np.array([0.8, 0.7])
    for found in verdicts(made(equal, equal, share=0.3)).values():
        assert found.holds is None
        assert found.measured == "not computable: needs Kaiming at 50.0%"
    without = made(equal, equal).drop_dims("spoiled").drop_sel(control="inverted")
    lacking = [str(found.measured) for found in verdicts(without).values() if found.holds is None]
    assert lacking == [
        "not computable: needs the control inverted",
        *("not computable: needs masks of spoiled data" for _ in spoiling.SPOILED),
    ]
    assert spoiled.tables(without) == []
    assert list(verdicts(without, names=())) == [
        claim.id for claim in checks.claims("Kaiming", 0.5)
    ]


def test_the_table_has_a_row_for_all_that_masks_were_learned_on():
    results = made(np.array([0.8, 0.7]), np.array([0.5, 0.3]))
    apart = np.arange(6).reshape(2, 3, 1) / 100
    results = results.assign(spoiled_accuracy=results["spoiled_accuracy"] + apart)
    (table,) = spoiled.tables(results)
    rows, *columns = ([str(cell) for cell in column.cells] for column in table.columns)
    assert rows == ["the true examples", *spoiling.WORDS.values()]
    assert [column.header for column in table.columns[1:]] == list(learned.WEIGHTS)
    means = [[float(cell.split("±")[0]) for cell in column] for column in columns]
    assert means == [[75, 40, 41, 42], [75, 43, 44, 45]]


def call(out, *words):
    console = Console(file=io.StringIO(), width=130)
    given = ["--plan", "map", "--preset", "smoke", *map(str, words), "--out", str(out)]
    assert supermask.main(given, console) == 0
    claims = json.loads((out / "summary.json").read_text())["claims"]
    return runs.load(out).results, {claim["id"]: claim for claim in claims}


@pytest.mark.slow
def test_learned_masks_as_they_were_learned_are_as_accurate_as_they_were(tmp_path):
    found, claims = call(tmp_path, "--steps", "60it", "--evaluate-every", "30it")
    checked = found["check_accuracy"]
    np.testing.assert_array_equal(checked.sel(control="ticket"), found["share_accuracy"])
    # Everything is kept wherever it stands, and however it is ordered.
    whole = checked.sel(share=1.0)
    for control in ("shuffle", "inverted"):
        np.testing.assert_array_equal(whole.sel(control=control), whole.sel(control="ticket"))
    half = checked.sel(share=0.5)
    for control in ("shuffle", "reinit", "inverted"):
        assert float(half.sel(control="ticket").mean() - half.sel(control=control).mean()) > 0.1
    assert found["spoiled_accuracy"].dims == ("weights", "spoiled", "replicate")
    assert found["spoiled"].values.tolist() == ["labels", "half"]
    assert np.isfinite(found["spoiled_accuracy"]).all()
    random = found["spoiled_accuracy"].sel(spoiled="labels")
    assert float((half.sel(control="ticket") - random).mean()) > 0.1
    for kind in ("Kaiming", "signed-constant"):
        assert claims[f"{kind}-mask-more-than-inverted-50"]["holds"] is not None
        assert claims[f"{kind}-mask-more-than-labels-50"]["holds"] is not None
        assert claims[f"{kind}-half-as-good-as-mask-50"]["holds"] is not None
        assert f"{kind}-mask-more-than-pixels-50" not in claims


@pytest.mark.slow
def test_a_run_without_the_middle_share_says_what_its_claims_need(tmp_path):
    found, claims = call(tmp_path, "--densities", 0.3, "--steps", "20it")
    assert "spoiled_accuracy" not in found
    for kind in learned.WEIGHTS:
        claim = claims[f"{kind.replace(' ', '-')}-mask-more-than-labels-50"]
        assert claim["measured"] == f"not computable: needs {kind} at 50.0%"


def test_the_network_that_is_asked_for_masks_begins_at_its_initial_weights(monkeypatch):
    class SearchedError(Exception):
        pass

    def search(problem):
        raise SearchedError(problem.config)

    monkeypatch.setattr(besides, "search", search)
    with pytest.raises(SearchedError) as caught:
        learned.untrained(tiny(rewind_step=Step.iterations(3), pruning="at_start"))
    (config,) = caught.value.args
    assert (config.rewind_step, config.pruning) == (Step.iterations(0), "iterative")


def test_nothing_is_learned_on_spoiled_data_without_the_middle_share_or_a_name():
    results = xarray.Dataset()
    for problem in (tiny(spoiled=()), tiny(densities=(0.3, 1.0))):
        assert spoiled.measured(problem, results) is results
    names = [claim.id for claim in supermask.claims(tiny(spoiled=()))]
    assert not [name for name in names for one in spoiling.SPOILED if one in name]
    named = [claim.id for claim in supermask.claims(tiny(spoiled=("pixels",)))]
    assert [name for name in named if name not in names] == [
        "Kaiming-mask-more-than-pixels-50",
        "signed-constant-mask-more-than-pixels-50",
    ]
