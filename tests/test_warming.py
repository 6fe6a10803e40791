"""Laws of training again without warm-up."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import deep, retraining, rewinding
from experiments.common.problem import make_problem
from jaxticket import TicketError, data, recipes
from jaxticket.recipes import Step


def problem_of(experiment, **choices):
    config = dataclasses.replace(experiment.PRESETS["smoke"], skip_warmup=True, **choices)
    return make_problem(config, data.load("digits"))


@pytest.mark.parametrize(("begin", "warmup"), [(0, 20), (10, 10), (10, 5)])
def test_only_the_dense_networks_are_warmed_up(begin, warmup):
    times = {"warmup": Step.iterations(warmup), "rewind_step": Step.iterations(begin)}
    for variant in retraining.variants(problem_of(retraining, **times)).values():
        assert variant.hyperparameters == {"warmup": warmup}
        assert variant.retraining_hyperparameters == {"warmup": 0}


def test_a_sweep_over_warmups_keeps_its_other_hyperparameters():
    chosen = deep.variants(problem_of(deep))
    assert {variant.hyperparameters["warmup"] for variant in chosen.values()} == {0, 5}
    for variant in chosen.values():
        assert variant.retraining_hyperparameters == {**variant.hyperparameters, "warmup": 0}


def test_every_rewind_step_of_a_sweep_is_checked():
    with pytest.raises(TicketError, match="rewind step 10 inside the warm-up, which takes 15"):
        rewinding.variants(problem_of(rewinding, warmup=Step.iterations(15)))


def test_a_warmup_of_no_steps_trains_as_none_does():
    digits = data.load("digits")
    warm = recipes.Recipe(width=0.1, warmup=Step.iterations(4))
    learners = (
        recipes.make_learner(warm, digits, {"warmup": jnp.int32(0)}),
        recipes.make_learner(warm, digits, {"warmup": np.int32(0)}),
        recipes.make_learner(dataclasses.replace(warm, warmup=Step.iterations(0)), digits),
    )
    begun = [learner.init(jax.random.key(0)) for learner in learners]
    mask = jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), begun[0].params)
    batch = jax.tree.map(lambda leaf: jnp.asarray(leaf[:8]), digits.train)
    stepped = [
        learner.step(state, mask, batch, jax.random.key(1))[0].params
        for learner, state in zip(learners, begun, strict=True)
    ]
    cases.assert_same_bits(stepped[0], stepped[2])
    cases.assert_same_bits(stepped[1], stepped[2])
