"""Laws of the stages of geometry: they are the networks that the search began and pruned."""

from types import SimpleNamespace

import cases
import jax
import numpy as np
import optax
import pytest
import searches

from experiments.geometry.stages import STAGES, masked, point, points_of, stages_of
from jaxticket import learners
from jaxticket.analysis import l2_distance

PLACES = [(level, replicate) for level in (1, 2) for replicate in range(searches.REPLICATES)]


def problem(learner):
    config = SimpleNamespace(seed=0)
    return SimpleNamespace(config=config, family=lambda _: learner, plan=searches.PLAN)


def kept_where(params, mask):
    return jax.tree.map(lambda p, m: p if m is None else np.where(m, p, 0), params, mask)


def test_a_run_has_the_starts_of_the_controls_that_it_has():
    found = searches.finished()
    assert stages_of(found, 0) == ("init", "ticket")
    assert stages_of(found, 1) == STAGES
    few = found._replace(arms=("ticket", "shuffle"))
    assert stages_of(few, 2) == ("init", "pruned", "ticket", "shuffle_init", "shuffle")


def test_reinitialised_networks_end_nearest_to_their_own_starts():
    result, learner = searches.finished(), cases.learner(optimizer="adam_scheduled")
    starts = points_of(problem(learner), result, [("reinit_init", *place) for place in PLACES])
    for row, place in enumerate(PLACES):
        network = result.network("reinit", *place)
        cases.assert_same_bits(starts[row].mask, network.mask)
        apart = [
            float(l2_distance(network.params, jax.tree.map(np.asarray, one.params), network.mask))
            for one in starts
        ]
        assert int(np.argmin(apart)) == row, apart
    assert len({float(one.params["output"]["kernel"].sum()) for one in starts}) == len(PLACES)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["handwritten", "linen_with_batch_statistics"])
def test_controls_start_where_the_search_trained_them_from(model):
    """At a rate of zero what is trained is what training began with."""
    learner = learners.supervised(cases.MODELS[model](), optax.sgd(0.0))
    result = searches.search(learner=learner)
    for stage in ("reinit_init", "shuffle_init"):
        arm = stage.removesuffix("_init")
        found = points_of(problem(learner), result, [(stage, *place) for place in PLACES])
        for place, start in zip(PLACES, found, strict=True):
            trained = result.network(arm, *place)
            cases.assert_close(start.params, jax.device_get(trained.params), 1e-7)
            cases.assert_same_bits(start.mask, trained.mask)
            assert start.replicate == place[1]
    starts = points_of(problem(learner), result, [("reinit_init", *PLACES[0])])
    fresh = jax.device_get(learner.init(jax.random.key(5)).model_state)
    cases.assert_same_bits(jax.device_get(starts[0].model_state), fresh)


def test_oneshot_is_pruned_from_the_trained_dense_network():
    result = searches.finished()
    for place in PLACES:
        found, dense = (
            point(result, *where) for where in (("oneshot_pruned", *place), ("ticket", 0, place[1]))
        )
        mask = result.network("oneshot", *place).mask
        cases.assert_same_bits(found.mask, mask)
        cases.assert_close(found.params, kept_where(dense.params, mask), 0)
        cases.assert_zero_where_pruned(found.params, mask)
    diverged = {"w": np.float32([np.nan, -1, 2])}
    cases.assert_same_bits(
        masked(diverged, {"w": np.array([False, False, True])}), {"w": np.float32([0, 0, 2])}
    )
    # At the second level the ticket's network before is another one.
    iterative, once = (point(result, stage, 2, 0) for stage in ("pruned", "oneshot_pruned"))
    assert not np.array_equal(iterative.params["output"]["bias"], once.params["output"]["bias"])
