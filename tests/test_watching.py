"""Criteria that watch training see it, and criteria of every kind prune in searches."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import Plan, Protocol, TicketError, criteria, imp, learners, masks, prune, train
from jaxticket.criteria import Evidence
from jaxticket.imp import Scoring
from jaxticket.keys import replicate_keys

PROTOCOL = Protocol(steps=5, batch_size=4, evaluate_every=5)
RATE = 0.1


def trained(criterion, optimizer):
    """Trains the handwritten network, and gives the params that it went through beside."""
    learner = learners.supervised(cases.handwritten(), optimizer)
    path = criteria.Criterion(
        init=lambda params: (jnp.int32(0), jax.tree.map(lambda p: jnp.stack([p] * 6), params)),
        observe=lambda state, after: (
            state[0] + 1,
            jax.tree.map(lambda row, p: row.at[state[0] + 1].set(p), state[1], after.params),
        ),
        score=lambda state, evidence: evidence.final,
    )
    state = learner.init(jax.random.key(0))
    mask, key = masks.ones(state.params), jax.random.key(1)

    @jax.jit
    def run(state):
        return [
            train.train(learner, cases.data(), state, mask, key, PROTOCOL, criterion=one)[0]
            for one in (criterion, path)
        ]

    watched, followed = run(state)
    cases.assert_same_bits(watched.learner, followed.learner)
    return watched.observed, followed.observed[1]


def test_accumulated_movement_is_movement_prunings_sum_under_gradient_descent():
    """On the loss ½ Σ c (θ − 1)², whose gradients are c (θ − 1)."""
    curvature, weights, total = np.array([0.5, 1.0, 3.0, 9.0]), np.array([2.0, -1, 0.5, 0.1]), 0.0
    path = [weights]
    for _ in range(7):
        gradient = curvature * (path[-1] - 1)
        total = total - path[-1] * gradient
        path.append(path[-1] - RATE * gradient)
    criterion = criteria.accumulated_movement()
    observed = cases.observe(criterion, [{"w": jnp.asarray(w, jnp.float32)} for w in path])
    scores = criterion.score(observed, cases.evidence())["w"]
    np.testing.assert_allclose(scores, RATE * total, rtol=1e-5)


def test_accumulated_movement_is_what_the_ends_say_but_for_the_roughness_of_the_path():
    criterion = criteria.accumulated_movement()
    observed, path = trained(criterion, optax.adam(RATE))
    weights = jax.tree.map(lambda p: np.asarray(p, np.float64), path)
    expected = jax.tree.map(
        lambda p: (p[-1] ** 2 - p[0] ** 2 - np.sum(np.diff(p, axis=0) ** 2, axis=0)) / 2, weights
    )
    scores = criterion.score(observed, cases.evidence())
    cases.assert_close(scores, expected, 1e-6)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(scores)) > 1e-2


def test_accumulated_movement_says_that_it_saw_no_training():
    with pytest.raises(TicketError, match="accumulated_movement: got no observed training; train"):
        criteria.accumulated_movement().score((), Evidence({}, {}, jax.random.key(0)))


def test_the_ring_is_filled_inside_of_training():
    criterion = criteria.koopman_magnitude(snapshots=3, every=2)
    observed, path = trained(criterion, optax.adam(RATE))
    taken, number = criteria.koopman.in_order(observed, 2)
    assert int(number) == 3
    cases.assert_same_bits(taken, jax.tree.map(lambda leaf: leaf[0:5:2], path))


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({}, "criterion: koopman_magnitude must have watched 7 steps .* a training has 6; train"),
        # What is pruned at level 2 was watched from the rewind step on only.
        ({"every": 5, "rewind_step": 2}, "must have watched 5 steps .* a training has 4"),
        ({"inverse": True}, "criterion: inverse_koopman_magnitude must have watched 7 steps"),
    ],
)
def test_a_training_that_is_too_short_to_watch_is_refused_before_it_begins(choices, message):
    criterion = criteria.koopman_magnitude(every=choices.pop("every", 7))
    if choices.pop("inverse", False):
        criterion = criteria.inverse(criterion)
    with pytest.raises(TicketError, match=message):
        searches.search(criterion=criterion, arms=("ticket",), on_progress=_never, **choices)


def _never(progress):
    raise AssertionError("trained")


def spoiled(bad):
    """The magnitude, but NaN for one weight where params say so."""

    def score(evidence):
        scores = jax.tree.map(jnp.abs, evidence.final)
        kernel = scores["output"]["kernel"]
        wrong = jnp.where(bad(evidence.final), jnp.nan, kernel[0, 0])
        scores["output"]["kernel"] = kernel.at[0, 0].set(wrong)
        return scores

    return criteria.stateless(score, name="spoiled")


def test_scores_that_are_no_numbers_end_a_search_by_name():
    message = (
        "criterion spoiled: 1 scores of output/kernel of replicate 0 are not finite at level 1"
    )
    with pytest.raises(TicketError, match=message) as caught:
        searches.search(criterion=spoiled(lambda params: True), arms=("ticket",))
    assert "\n" not in str(caught.value)


def test_scores_of_networks_that_are_no_numbers_end_nobodys_search():
    """A replicate whose weights become NaN; the criterion says so of every NaN that it is given."""
    model = cases.handwritten()

    def init(key):
        params, state = model.init(key)
        first = jnp.all(jax.random.key_data(key) == jax.random.key_data(keys[0]))
        kernel = params["output"]["kernel"]
        params["output"]["kernel"] = jnp.where(first, jnp.nan, kernel)
        return params, state

    keys = replicate_keys(jax.random.key(0), 2)
    learner = learners.supervised(model._replace(init=init), cases.optimizer("sgd"))
    isnan = lambda params: jnp.isnan(params["output"]["kernel"]).any()  # noqa: E731
    result = searches.search(learner=learner, criterion=spoiled(isnan), arms=("ticket",))
    assert (result.records[-1].diverged_steps() < 0).tolist() == [False, True]


def test_a_weight_that_is_no_number_needs_no_score_even_where_the_loss_is_one():
    """A bias of -inf before a tanh: the loss stays finite, so the network has not diverged."""
    model = cases.handwritten()

    def init(key):
        params, state = model.init(key)
        params["hidden_0"]["bias"] = params["hidden_0"]["bias"].at[0].set(-jnp.inf)
        return params, state

    learner = learners.supervised(model._replace(init=init), cases.optimizer("sgd"))
    unsound = lambda params: ~jnp.isfinite(params["hidden_0"]["bias"]).all()  # noqa: E731
    choices = {"levels": 2, "replicates": 1, "arms": ("ticket",)}
    result = searches.search(learner=learner, criterion=spoiled(unsound), **choices)
    assert [record.diverged_steps().tolist() for record in result.records] == [[-1], [-1]]


@pytest.mark.slow
def test_criteria_that_read_data_or_training_prune_in_one_sweep_under_every_plan():
    early = {
        name: imp.Variant(criterion=criteria.by_name(name), pruning="at_start", scoring=Scoring(6))
        for name in ("snip", "grasp", "synflow")
    }
    late = imp.Variant(criterion=criteria.koopman_magnitude(snapshots=4), pruning="iterative")
    variants = early | {"koopman": late}
    choices = {"arms": ("ticket",), "variants": variants, "levels": 2}
    mapped, together = (searches.search(**choices, plan=Plan(s)) for s in ("map", "vmap"))
    for replicate in range(searches.REPLICATES):
        kept = {v: mapped.network("ticket", 1, replicate, v).mask for v in variants}
        for name, mask in kept.items():
            cases.assert_same_bits(together.network("ticket", 1, replicate, name).mask, mask)
            assert masks.counts(mask) == mapped.counts[1]
        assert len({cases.bits(m["hidden_0"]["kernel"]).tobytes() for m in kept.values()}) == 4
        # Synaptic flow reads no data, so any will do here.
        initial = cases.member(mapped.origin.initial, replicate)
        evidence = cases.evidence()._replace(final=initial, objective=cases.OBJECTIVE)
        dense = masks.ones(initial)
        allocation = cases.ALLOCATIONS["uniform"]
        expected = prune.prune(criteria.synflow(), allocation, evidence, dense, mapped.counts[1])
        cases.assert_same_bits(kept["synflow"], expected)


@functools.cache
def of_every_criterion(plan):
    """A search of all criteria that a name makes, each in a variant of its own."""
    made = {name: criteria.by_name(name) for name in criteria.CRITERIA}
    short = {
        "koopman_magnitude": criteria.koopman_magnitude(snapshots=4),
        "koopman_gradient": criteria.koopman_gradient(snapshots=4),
    }
    variants = {
        name: imp.Variant(criterion=criterion, scoring=Scoring(6))
        for name, criterion in (made | short).items()
    }
    return searches.search(arms=("ticket",), variants=variants, levels=2, plan=cases.PLANS[plan]())


@pytest.mark.slow
@pytest.mark.parametrize("plan", [plan for plan in cases.PLANS if plan != "map_on_1"])
def test_every_criterion_finds_the_same_masks_under_every_plan(plan):
    alone, here = of_every_criterion("map_on_1"), of_every_criterion(plan)
    assert set(alone.variants) == set(criteria.CRITERIA)
    for name in alone.variants:
        for replicate in range(searches.REPLICATES):
            expected, found = (r.network("ticket", 1, replicate, name).mask for r in (alone, here))
            assert masks.counts(found) == alone.counts[1], name
            # Where products are added up in another order, a rank or two may change.
            least = 1.0 if plan.startswith("map") else 0.9
            assert masks.overlap(expected, found) >= least, name
