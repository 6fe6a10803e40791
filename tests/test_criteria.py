"""Every criterion is its definition, reads only its evidence, and runs anywhere alike."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import Protocol, TicketError, allocate, criteria, masks, train
from jaxticket.criteria import Evidence
from jaxticket.types import Objective

# From the papers' definitions (docs, methods section 5); θ0 is initial, θ is final.
DEFINITIONS = {
    "magnitude": lambda initial, final: np.abs(final),
    "magnitude_at_initialization": lambda initial, final: np.abs(initial),
    "large_initial_large_final": lambda initial, final: np.minimum(np.abs(initial), np.abs(final)),
    "small_initial_small_final": lambda initial, final: -np.maximum(abs(initial), abs(final)),
    "large_final_same_sign": lambda initial, final: np.where(initial < 0, -final, final),
    "large_final_diff_sign": lambda initial, final: np.where(initial < 0, final, -final),
    "magnitude_increase_same_sign": lambda initial, final: (
        np.where(initial < 0, -final, final) - np.abs(initial)
    ),
    "magnitude_increase_diff_sign": lambda initial, final: (
        np.where(initial < 0, final, -final) - np.abs(initial)
    ),
    "magnitude_increase": lambda initial, final: np.abs(final) - np.abs(initial),
    "movement": lambda initial, final: np.abs(final - initial),
}
RANDOM = {"random"}
# tests/test_saliency.py, test_synflow.py, test_curvature.py, test_layer_inputs.py
FROM_THE_LOSS = {
    *("snip", "signed_snip", "taylor", "grasp", "synflow", "fisher_diagonal", "hessian_diagonal"),
    *("gradient_magnitude", "wanda", "optimal_brain_surgeon"),
}
WATCHING = {  # tests/test_watching.py and test_koopman.py
    *("accumulated_movement", "koopman_magnitude", "koopman_gradient")
}
evidence = cases.evidence


def plain(name):
    return name.removeprefix("inverse_")


def test_every_criterion_has_a_definition_here():
    assert DEFINITIONS.keys() | RANDOM | FROM_THE_LOSS | WATCHING == criteria.CRITERIA.keys()


@cases.every(DEFINITIONS)
def test_scores_are_the_definition_and_the_inverse_is_their_negative(name):
    given = evidence()
    expected = jax.tree.map(DEFINITIONS[name], *jax.tree.map(np.asarray, given[:2]))
    cases.assert_same_bits(cases.CRITERIA[name].score((), given), expected)
    negative = jax.tree.map(np.negative, expected)
    cases.assert_same_bits(cases.CRITERIA[f"inverse_{name}"].score((), given), negative)


@cases.every(cases.CRITERIA)
def test_scores_have_the_params_structure_and_are_finite(name):
    scores = cases.score(cases.CRITERIA[name], evidence())
    assert jax.tree.map(jnp.shape, scores) == jax.tree.map(jnp.shape, cases.params())
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(scores))


@cases.every(cases.CRITERIA)
def test_scores_are_the_same_eager_compiled_and_in_a_population(name):
    score = lambda given: cases.score(cases.CRITERIA[name], given)  # noqa: E731
    population = [evidence(seed) for seed in range(2)]
    together = jax.jit(jax.vmap(score))(cases.stack(population))
    for index, given in enumerate(population):
        exact = plain(name) not in FROM_THE_LOSS | WATCHING
        compare = cases.assert_same_bits if exact else cases.assert_close
        compare(cases.member(together, index), score(given))


@cases.every(cases.CRITERIA)
def test_only_the_criteria_that_draw_read_the_key(name):
    given = evidence()
    score = lambda key: cases.score(cases.CRITERIA[name], given._replace(key=key))  # noqa: E731
    first, again, other = (score(jax.random.key(seed)) for seed in (1, 1, 2))
    cases.assert_same_bits(first, again)
    same = [
        bool((a == b).all()) for a, b in zip(*map(jax.tree.leaves, (first, other)), strict=True)
    ]
    assert not any(same) if plain(name) in RANDOM else all(same)


def test_random_scores_are_uniform_and_independent_between_leaves():
    leaves = {"a": jnp.zeros(1000), "b": jnp.zeros(1000)}
    drawn = criteria.random().score((), Evidence(leaves, leaves, jax.random.key(0)))
    for leaf in drawn.values():
        assert 0 <= leaf.min() <= leaf.max() < 1
        # Kolmogorov's distance of 1000 uniform draws exceeds 0.062 once in a thousand.
        assert np.abs(np.sort(leaf) - (np.arange(1000) + 0.5) / 1000).max() < 0.062
    assert abs(np.corrcoef(drawn["a"], drawn["b"])[0, 1]) < 0.15


def kept(criterion, initial, final, keep):
    initial, final = ({"w": jnp.array(values)} for values in (initial, final))
    scores = criterion.score((), Evidence(initial, final, jax.random.key(0)))
    mask = masks.ones(initial, masks.matching("w"))
    return np.flatnonzero(allocate.globally(0.5).select(scores, mask, {"*": keep})["w"]).tolist()


def test_large_final_same_sign_ranks_weights_that_kept_their_sign_first_then_small_ones():
    initial, final = [-1.0, 1.0, 1.0, -1.0, 1.0], [-3.0, 2.0, -0.5, 4.0, 0.1]
    ranking = [0, 1, 4, 2, 3]
    for keep in range(1, 6):
        chosen = kept(criteria.large_final_same_sign(), initial, final, keep)
        assert chosen == sorted(ranking[:keep])


def test_growth_by_sign_ranks_what_grew_as_the_paper_does_and_all_else_behind():
    """Its max(0, |θ_T| − |θ_0|) over weights of the one kind; of the other kind and zero last."""
    initial, final = np.random.default_rng(1).normal(size=(2, 60)).astype(np.float32)
    same = np.sign(initial) == np.sign(final)
    for name, kind in (("same", same), ("diff", ~same)):
        criterion = criteria.by_name(f"magnitude_increase_{name}_sign")
        papers = np.where(kind, np.maximum(np.abs(final) - np.abs(initial), 0), 0)
        number = int((papers > 0).sum())
        assert 5 < number < 30
        for keep in (1, number // 2, number):
            chosen = kept(criterion, initial, final, keep)
            assert chosen == sorted(np.argsort(-papers, kind="stable")[:keep].tolist())


def test_large_initial_large_final_keeps_a_quadrant_of_one_threshold():
    initial, final = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32)
    chosen = kept(criteria.large_initial_large_final(), initial, final, 12)
    threshold = min(min(abs(initial[i]), abs(final[i])) for i in chosen)
    quadrant = (np.abs(initial) >= threshold) & (np.abs(final) >= threshold)
    assert chosen == np.flatnonzero(quadrant).tolist()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("name", ["wanda", "optimal_brain_surgeon"])
def test_layer_inputs_of_half_precision_are_scored_in_float32_and_rounded_once(name, dtype):
    linear = Objective(lambda x: x, lambda p, s, x, **_: (x @ p["w"], s), lambda y, x: y)
    draw = np.random.default_rng(0).normal
    # Squares of such inputs are beyond the range of float16.
    w, x = jnp.asarray(draw(size=(4, 3)) / 300, dtype), jnp.asarray(draw(size=(9, 4)) * 300, dtype)

    def scored(w, x):
        given = Evidence({"w": w}, {"w": w}, jax.random.key(0), None, {}, x, linear)
        return criteria.CRITERIA[name]().score((), given)["w"]

    expected = scored(w.astype(jnp.float32), x.astype(jnp.float32))
    assert np.isfinite(expected).all()
    cases.assert_same_bits(scored(w, x), expected.astype(dtype))


def test_unknown_criteria_are_refused_with_the_nearest_names():
    with pytest.raises(TicketError, match="unknown criterion 'magnitud': did you mean 'magnitude'"):
        criteria.by_name("magnitud")
    with pytest.raises(TicketError, match="unknown criterion 'inverse_nothing'"):
        criteria.by_name("inverse_nothing")


def test_a_watching_criterion_sees_the_state_after_every_step():
    watching = criteria.Criterion(
        init=lambda params: (jnp.int32(0), jax.tree.map(jnp.zeros_like, params)),
        observe=lambda state, learner_state: (state[0] + 1, learner_state.params),
        score=lambda state, evidence: state[1],
    )
    learner, data = cases.learner(optimizer="sgd"), cases.data()
    protocol = Protocol(steps=9, batch_size=4, evaluate_every=4)
    state, mask, key = learner.init(jax.random.key(0)), cases.mask(), jax.random.key(1)
    for criterion, sign in ((watching, 1), (criteria.inverse(watching), -1)):
        run = jax.jit(
            functools.partial(
                train.train, learner, data, protocol=protocol, start=2, criterion=criterion
            )
        )
        trained, _ = run(state=state, mask=mask, key=key)
        count, last = trained.observed
        assert int(count) == 9 - 2
        cases.assert_same_bits(last, trained.learner.params)
        scores = criterion.score(trained.observed, evidence())
        for score, leaf in zip(jax.tree.leaves(scores), jax.tree.leaves(last), strict=True):
            np.testing.assert_array_equal(score, sign * leaf)
