"""Where a loss is not finite on the way between two networks, it is said where."""

import itertools
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import xarray

from experiments import rewinding
from experiments.common.instability import barriers_between
from experiments.common.undefined import describe_undefined, undefined_pairs, undefined_tables
from jaxticket import Plan
from jaxticket.learners import Learner, TrainState


def evaluate(state, mask, examples):
    """NaN where a weight is nearer to 0 than a half."""
    loss = jnp.sqrt(state.params["w"] ** 2 - 0.25) + 0 * examples.sum()
    return {"loss": loss, "accuracy": jnp.float32(1.0)}


def test_one_replicate_of_two_that_has_no_barrier_is_found_at_its_alpha():
    learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
    network = lambda w: SimpleNamespace(params={"w": np.float32(w)}, model_state={})  # noqa: E731
    state = TrainState({"w": np.float32(0)}, {}, ())
    dataset = SimpleNamespace(test=np.ones(3, np.float32))
    problem = SimpleNamespace(dataset=dataset, plan=Plan("map"))
    pairs = [(network(1), network(2)), (network(1), network(-1))]
    found = barriers_between(learner, state, pairs, problem, points=5)
    np.testing.assert_array_equal(found.heights, [0, np.nan])
    np.testing.assert_array_equal(found.undefined_at, [np.nan, 0.5])


def test_every_pair_is_listed_and_a_table_has_no_more_rows_than_it_may():
    alphas = np.where(np.arange(6).reshape(2, 3) % 2, 0.25, np.nan)
    results = xarray.Dataset(
        {"barrier_undefined_at": (("level", "end"), alphas)}, {"level": [3, 4]}
    )
    pairs = undefined_pairs(results)
    named = ["level 3, end 1", "level 4, end 0", "level 4, end 2"]
    assert [pair["between"] for pair in pairs] == named
    (table,) = undefined_tables(results, shown=2)
    assert table.row_count == 2
    assert table.caption == "and 1 more"
    assert describe_undefined(pairs, shown=1).endswith("level 3, end 1 from α = 0.25 on and 2 more")
    assert undefined_tables(results * np.nan) == []


def test_rewinding_says_which_copies_have_no_barrier_and_measures_the_others():
    def network(arm, level, replicate, variant):
        """Dense networks are compared level against level, tickets with their copies."""
        place = 4 * (variant == "k = 5") + 2 * (arm in ("ticket", "copy")) + replicate
        ends = {5: (1.0, -1.0)}.get(place, (1.0, 2.0 + place))
        weight = ends[level == 2 if arm == "dense" else arm == "copy"]
        return SimpleNamespace(params={"w": np.float32(weight)}, model_state={})

    def measured(state, mask, examples):
        weight = state.params["w"] + 0 * examples.sum()
        return {"loss": jnp.sqrt(weight**2 - 0.25), "accuracy": weight**2 / 100}

    state = TrainState({"w": np.float32(0)}, {}, ())
    learner = Learner(init=lambda key: state, step=None, evaluate=measured, restart=None)
    problem = SimpleNamespace(
        config=SimpleNamespace(seed=0, points=3),
        dataset=SimpleNamespace(test=np.ones(3, np.float32)),
        family=lambda given: learner,
        plan=Plan("map"),
    )
    names = ("k = 0", "k = 5")
    result = SimpleNamespace(variants=names, levels=2, replicates=2, network=network)
    coords = {"variant": list(names), "level": [0, 1], "replicate": [0, 1]}
    found = rewinding.measure(problem, result, xarray.Dataset(coords=coords))
    for place, at in enumerate(itertools.product(range(2), repeat=3)):
        errors = 1 - np.array([1.0, (3.0 + place) / 2, 2.0 + place]) ** 2 / 100
        expected = np.nan if place == 5 else errors.max() - errors[[0, 2]].mean()
        np.testing.assert_allclose(found["instability"].values[at], expected, rtol=1e-5)
    (pair,) = undefined_pairs(found)
    assert pair["between"] == "variant k = 5, level 0, replicate 1"
    assert (pair["measure"], pair["alpha"]) == ("instability", 0.5)
