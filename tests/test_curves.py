"""Laws of matrices, curves, statistics and predictions: closed forms, symmetry, company."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxticket import Plan, TicketError, learners
from jaxticket.analysis import (
    Fitting,
    barrier_matrix,
    barriers,
    bezier,
    curve_barriers,
    disagreement,
    ensemble_gain,
    interpolate,
    linear_path,
    loss_distance,
    network_outputs,
    recomputing,
    together,
    train_middle,
)
from jaxticket.learners import Learner, TrainState

LEARNER = cases.learner()
EXAMPLES = cases.examples(20)
STATE = TrainState(cases.params(), {}, ())


def networks(*seeds):
    return TrainState(jax.device_get(cases.stack([cases.params(seed) for seed in seeds])), {}, ())


# Matrices.


@pytest.mark.parametrize("plan", ["map_on_1", "map_on_2"])
def test_a_matrix_holds_the_barriers_of_all_pairs_to_the_bit(plan):
    four = networks(0, 1, 2, 3)
    of = {"plan": cases.PLANS[plan](), "points": 7, "metric": "loss"}
    found = barrier_matrix(LEARNER, STATE, four, EXAMPLES, **of)
    for i, j in ((0, 1), (1, 3), (3, 2)):
        own = barriers(LEARNER, STATE, networks(i), networks(j), EXAMPLES, **of)
        if i < j:
            assert found["barriers"][i, j] == own["barriers"][0]
            place = found["pairs"].tolist().index([i, j])
            cases.assert_same_bits(found["curves"][place], own["curves"][0])
        else:
            np.testing.assert_allclose(found["barriers"][i, j], own["barriers"][0], rtol=1e-4)
        assert (found["errors"][i], found["errors"][j]) == (
            own["curves"][0, -1],
            own["curves"][0, 0],
        )
    np.testing.assert_array_equal(found["barriers"], found["barriers"].T)
    assert np.diag(found["barriers"]).tolist() == [0] * 4
    assert (found["barriers"][~np.eye(4, dtype=bool)] > 0).all()
    assert found["pairs"].tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def regression(weights, **metrics):
    """A learner of linear regression, convex in its weights."""
    inputs = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    solution = np.float32([1, -2, 0.5, 0])

    def evaluate(state, mask, examples):
        wrong = examples @ (state.params["w"] - solution)
        return {"loss": jnp.mean(wrong**2)}

    learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
    state = TrainState({"w": np.zeros(4, np.float32)}, {}, ())
    return learner, state, TrainState({"w": np.float32(weights)}, {}, ()), inputs


def test_between_optima_of_a_linear_model_there_is_no_barrier():
    best = [1, -2, 0.5, 0]
    found = barrier_matrix(*regression([best] * 3), Plan("map"), metric="loss")
    assert found["barriers"].tolist() == [[0.0] * 3] * 3
    # Inputs of which one is never there: two optima that differ along it.
    learner, state, ends, inputs = regression([best, [1, -2, 0.5, 9]])
    found = barrier_matrix(
        learner, state, ends, inputs * np.float32([1, 1, 1, 0]), Plan("map"), metric="loss"
    )
    assert found["barriers"].tolist() == [[0.0] * 2] * 2
    # And a convex loss is never above the higher of its ends.
    found = barrier_matrix(*regression([best, [2, -1, 0, 1]]), Plan("map"), metric="loss")
    assert found["barriers"][0, 1] == pytest.approx(float(np.abs(np.diff(found["errors"]))[0]) / 2)


def test_a_loss_that_is_not_finite_is_shown_where_it_is():
    def evaluate(state, mask, examples):
        w = state.params["w"]
        loss = jnp.where(jnp.abs(w) < 0.1, jnp.nan, jnp.where(w > 2, jnp.inf, w * w))
        return {"loss": loss, "accuracy": jnp.float32(0.75)}

    learner = Learner(init=None, step=None, evaluate=evaluate, restart=None)
    state = TrainState({"w": np.float32(0)}, {}, ())
    given = TrainState({"w": np.float32([-1, 1, 3])}, {}, ())
    of = functools.partial(barrier_matrix, learner, state, given, EXAMPLES, Plan("map"), 5)
    loss, accuracy = of("loss"), of()
    # Of −1 and 1: at α = 1/2 the weight is 0, and nowhere else.
    for found in (loss, accuracy):
        assert np.isnan(found["curves"][0]).tolist() == [False, False, True, False, False]
        assert np.isnan(found["barriers"][0, 1])
        assert np.isnan(found["barriers"][1, 0])
    assert np.isinf(loss["curves"][2]).tolist() == [True, True, False, False, False]
    assert np.isnan(loss["barriers"][2, 2])
    assert loss["barriers"][0, 0] == 0
    # Of 1 and 3: infinite at an end, so that there is no mean of the ends.
    assert np.isnan(loss["barriers"][1, 2])


def test_networks_side_by_side_must_be_alike():
    one = STATE._replace(params=cases.params(1))
    both = together({"runs/a ticket": STATE, "runs/b ticket": one})
    cases.assert_same_bits(cases.member(both.params, 1), one.params)
    with pytest.raises(TicketError, match="networks: got none"):
        together({})
    with pytest.raises(TicketError, match="networks: got 1, expected at least two"):
        barrier_matrix(LEARNER, STATE, networks(0), EXAMPLES, Plan("map"))
    narrow = STATE._replace(params={"hidden_0": STATE.params["hidden_0"]})
    with pytest.raises(
        TicketError, match=r"^runs/a and runs/b: got params/output/bias: float32\[3\] and nothing"
    ):
        together({"runs/a": STATE, "runs/b": narrow})

    def masked(mask):
        return type("Network", (), {"params": STATE.params, "model_state": {}, "mask": mask})

    some = cases.mask()
    fewer = {**some, "output": {"kernel": None, "bias": None}}
    with pytest.raises(
        TicketError, match="one and other: got output/kernel prunable in one of them"
    ):
        together({"one": masked(some), "other": masked(fewer)})


# Batch statistics.


def test_statistics_that_are_kept_are_those_of_the_nearer_end():
    first, second = (
        TrainState({"w": jnp.float32(w)}, {"mean": jnp.float32(w), "n": jnp.int32(3)}, ())
        for w in (1, 5)
    )
    evaluate = lambda params, model_state: {"w": params["w"], **model_state}  # noqa: E731
    curves = linear_path(evaluate, first, second, 4, statistics="kept")
    assert curves["mean"].tolist() == [5, 5, 1, 1]
    assert curves["n"].tolist() == [3] * 4
    assert linear_path(evaluate, first, second, 3, statistics="kept")["mean"].tolist() == [5, 1, 1]


def test_recomputed_statistics_are_those_of_training_with_weights_that_stay():
    model = cases.MODELS["linen_with_batch_statistics"]()
    learner = learners.supervised(model, optax.sgd(0.1))
    params, model_state = model.init(jax.random.key(0))
    examples, key = cases.examples(11), jax.random.key(1)
    recompute = jax.jit(recomputing(learner, examples, 5, 40, key))
    found = recompute(params, model_state)
    # 80 steps leave 0.9^80 of what was there: the mean of both batches, but for their order.
    hidden = params["hidden_0"]
    x = (examples.images[:10].reshape(10, -1) / np.float64(255)) @ np.float64(hidden["kernel"])
    batches = x.reshape(2, 5, 5)
    share = np.array([0.9, 1.0]) * 0.1 / (1 - 0.9**2)
    mean = (share[:, None] * batches.mean(axis=1)).sum(axis=0)
    var = (share[:, None] * batches.var(axis=1)).sum(axis=0)
    statistics = found["batch_stats"]["norm"]
    np.testing.assert_allclose(statistics["mean"], mean + hidden["bias"], atol=1e-3)
    np.testing.assert_allclose(statistics["var"], var, atol=1e-3)
    assert recomputing(learner, examples, 5, 1, key)(params, {}) == {}
    with pytest.raises(TicketError, match="got 1 passes of 0 batches of 12, expected"):
        recomputing(learner, examples, 12, 1, key)


# Curves.


def test_a_curve_through_the_middle_is_the_line_and_meets_its_ends():
    first, second, away = (cases.params(seed) for seed in (0, 1, 2))
    half = interpolate(first, second, 0.5)
    for alpha in (0.0, 0.3, 1.0):
        cases.assert_close(
            bezier(first, half, second, alpha), interpolate(first, second, alpha), 1e-6
        )
    cases.assert_same_bits(bezier(first, away, second, jnp.float32(1)), first)
    cases.assert_same_bits(bezier(first, away, second, jnp.float32(0)), second)
    expected = jax.tree.map(lambda a, m, b: 0.09 * a + 0.42 * m + 0.49 * b, first, away, second)
    cases.assert_close(bezier(first, away, second, 0.3), expected, 1e-6)
    with pytest.raises(TicketError, match="curve, first and middle: got"):
        bezier(first, {}, second, 0.5)


FITTING = Fitting(optax.adam(0.03), 60, 10)


def fitted(firsts, seconds, masks, keys):
    """Two devices, so that one program takes two pairs, or one that is padded."""
    splits, plan = (EXAMPLES, EXAMPLES), Plan("map", devices=2)
    return curve_barriers(
        LEARNER, STATE, firsts, seconds, masks, *splits, keys, plan, FITTING, 7, "loss"
    )


def masked_pairs(density):
    own = cases.stack([cases.mask(seed, density) for seed in range(3)])
    prune = lambda p, m: p if m is None else p * np.asarray(m)  # noqa: E731
    pairs = networks(0, 1, 2), networks(5, 6, 7)
    firsts, seconds = (one._replace(params=jax.tree.map(prune, one.params, own)) for one in pairs)
    return firsts, seconds, jax.device_get(own), jax.random.split(jax.random.key(0), 3)


def test_training_the_middle_lowers_the_loss_on_the_way():
    firsts, seconds, everything, keys = masked_pairs(1.0)
    line = barriers(LEARNER, STATE, firsts, seconds, EXAMPLES, Plan("map"), 7, "loss")
    found = fitted(firsts, seconds, everything, keys)
    assert (found["curves"].mean(axis=1) < line["curves"].mean(axis=1) - 0.02).all()
    np.testing.assert_allclose(found["curves"][:, [0, -1]], line["curves"][:, [0, -1]], rtol=1e-5)
    assert found["losses"].shape == (3, 60)
    assert found["losses"][:, -20:].mean() < found["losses"][:, :20].mean()


def test_what_is_not_trained_is_half_way():
    one, other = (STATE._replace(params=cases.params(seed)) for seed in (0, 1))
    nothing, key = jax.tree.map(lambda leaf: None, one.params), jax.random.key(0)
    untrained = FITTING._replace(steps=0)
    middle, losses = train_middle(LEARNER.objective, one, other, nothing, EXAMPLES, key, untrained)
    assert losses.shape == (0,)
    cases.assert_same_bits(middle, interpolate(one.params, other.params, 0.5))


def test_a_masked_curve_stays_in_its_mask_alone_and_in_company():
    firsts, seconds, masks, keys = masked_pairs(0.5)
    together = fitted(firsts, seconds, masks, keys)
    cases.assert_zero_where_pruned(together["middles"], masks)
    index = 1
    own = cases.member((firsts.params, seconds.params, masks, keys), np.array([index]))
    alone = fitted(STATE._replace(params=own[0]), STATE._replace(params=own[1]), *own[2:])
    for name in ("curves", "barriers", "middles", "losses"):
        one = cases.member(together[name], index)
        cases.assert_same_bits(one, cases.member(alone[name], 0))


@pytest.mark.usefixtures("unchecked")
def test_a_curve_needs_an_objective():
    learner = LEARNER._replace(objective=None)
    with pytest.raises(TicketError, match="without an objective"):
        curve_barriers(
            learner,
            STATE,
            networks(0),
            networks(1),
            {},
            EXAMPLES,
            EXAMPLES,
            None,
            Plan("map"),
            None,
        )
    with pytest.raises(TicketError, match="without an objective"):
        network_outputs(learner, networks(0), EXAMPLES, Plan("map"))


# Predictions.


def test_outputs_are_those_of_the_model_in_any_batches_and_any_company():
    three = networks(0, 1, 2)
    found = network_outputs(LEARNER, three, EXAMPLES, Plan("map"))
    pieces = network_outputs(LEARNER, three, EXAMPLES, Plan("map"), batch_size=16)
    cases.assert_close(pieces, found, 1e-5)
    logits = cases.handwritten().apply(
        cases.params(1), {}, EXAMPLES.images / np.float32(255), train=False
    )[0]
    expected = np.asarray(jax.nn.log_softmax(logits))
    np.testing.assert_allclose(found.log_probabilities[1], expected, atol=1e-5)
    own = -expected[np.arange(20), EXAMPLES.labels]
    np.testing.assert_allclose(found.losses[1], own, atol=1e-5)
    nothing = jax.tree.map(lambda leaf: None, STATE.params)
    measured = LEARNER.evaluate(STATE._replace(params=cases.params(1)), nothing, EXAMPLES)
    np.testing.assert_allclose(found.losses[1].mean(), measured["loss"], rtol=1e-5)


def test_comparisons_are_their_definitions():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(2, 3, 50, 4))
    first, second = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    labels = generator.integers(0, 4, 50)
    for pair in range(3):
        p, q = np.exp(first[pair]), np.exp(second[pair])
        right = [
            np.mean([row.argmax() == y for row, y in zip(t, labels, strict=True)])
            for t in (p, q, p + q)
        ]
        apart = np.mean([a.argmax() != b.argmax() for a, b in zip(p, q, strict=True)])
        assert disagreement(first, second)[pair] == apart > 0
        gain = right[2] - (right[0] + right[1]) / 2
        assert ensemble_gain(first, second, labels)[pair] == pytest.approx(gain)
    losses = generator.normal(size=(2, 3, 50))
    expected = np.sqrt(((losses[0] - losses[1]) ** 2).sum(axis=1))
    np.testing.assert_allclose(loss_distance(*losses), expected)
    for found in (disagreement, functools.partial(ensemble_gain, labels=labels)):
        assert found(first, first).tolist() == [0, 0, 0]
        np.testing.assert_allclose(found(first, second), found(second, first))


def test_comparisons_with_what_is_no_number_are_none():
    fine = np.log(np.full((2, 3, 4), 0.25))
    broken = fine.copy()
    broken[1, 2, 0] = np.nan
    for found in (disagreement(fine, broken), ensemble_gain(broken, fine, np.zeros(3, int))):
        assert np.isnan(found).tolist() == [False, True]
    assert np.isnan(loss_distance(np.zeros(2), np.array([0, np.nan])))
