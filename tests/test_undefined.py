"""Where a loss is not finite on the way between two networks, it is said where."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import xarray

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
