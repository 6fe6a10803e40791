"""Laws of linear paths and their barriers: closed forms, symmetry, company, and a real case."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxticket import Examples, Model, Plan, Protocol, TicketError, learners, masks, train
from jaxticket.analysis import alphas, barriers, error_barrier, interpolate, linear_path
from jaxticket.learners import TrainState

LEARNER = cases.learner()
EXAMPLES = cases.examples(20)
STATE = TrainState(cases.params(), {}, ())


def networks(*seeds):
    """Networks with weights drawn at random, along axis 0."""
    drawn = jax.device_get(cases.stack([cases.params(seed) for seed in seeds]))
    return TrainState(drawn, {}, ())


def measured(firsts, seconds, plan="map_on_1", **choices):
    plan = plan if isinstance(plan, Plan) else cases.PLANS[plan]()
    return barriers(LEARNER, STATE, firsts, seconds, EXAMPLES, plan, **choices)


# One pair.


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_a_point_between_two_trees_is_their_weighted_mean(alpha):
    first, second = cases.params(0), cases.params(1)
    expected = jax.tree.map(
        lambda a, b: alpha * np.float64(a) + (1 - alpha) * np.float64(b), first, second
    )
    cases.assert_close(interpolate(first, second, alpha), expected, 1e-6)
    ends = {0.0: second, 1.0: first}
    if alpha in ends:
        cases.assert_same_bits(interpolate(first, second, alpha), ends[alpha])


def test_what_two_trees_share_stays_to_the_bit_and_so_do_integers_and_dtypes():
    weights = np.random.default_rng(0).normal(size=1000).astype(np.float32)
    tree = {"w": weights, "half": jnp.bfloat16(0.3), "count": np.int32(7), "seen": np.bool_(True)}
    for alpha in (0.1, 0.3, 0.7):
        cases.assert_same_bits(jax.jit(interpolate)(tree, tree, jnp.float32(alpha)), tree)


def test_the_line_stays_in_the_union_of_two_masks():
    own = [cases.mask(seed) for seed in (0, 1)]
    ends = [masks.apply(cases.params(seed), mask) for seed, mask in enumerate(own)]
    between = interpolate(*ends, 0.4)["output"]["kernel"]
    union = np.logical_or(*(mask["output"]["kernel"] for mask in own))
    np.testing.assert_array_equal(np.asarray(between) != 0, union)
    assert not union.all()


def test_alphas_are_evenly_spaced_and_include_both_ends():
    found = alphas(30)
    assert (found[0], found[-1], len(found), found.dtype) == (0, 1, 30, np.float32)
    np.testing.assert_allclose(np.diff(found), 1 / 29, rtol=1e-5)


def test_the_barrier_is_the_supremum_above_the_mean_of_the_ends():
    errors = np.random.default_rng(0).uniform(size=(3, 4, 7))
    for row, found in zip(errors.reshape(-1, 7), error_barrier(errors).ravel(), strict=True):
        assert found == max(row) - (row[0] + row[-1]) / 2
        assert found >= abs(row[0] - row[-1]) / 2 - 1e-15
    assert (error_barrier(jnp.float32(errors)) >= 0).all()
    assert np.isnan(error_barrier(np.array([0.0, np.nan, 1.0])))
    assert np.isnan(error_barrier(np.array([np.inf, 0.0, np.inf])))
    assert error_barrier(np.array([0.0, np.inf, 1.0])) == np.inf


def test_a_convex_loss_is_highest_at_an_end():
    generator = np.random.default_rng(1)
    inputs, targets = generator.normal(size=(30, 4)), generator.normal(size=30)
    ends = [generator.normal(size=4) for _ in range(2)]
    of_host = lambda w: np.mean((inputs @ w - targets) ** 2)  # noqa: E731
    x, y = jnp.float32(inputs), jnp.float32(targets)
    curve = linear_path(
        lambda params, _: {"loss": jnp.mean((x @ params["w"] - y) ** 2)},
        *(TrainState({"w": jnp.float32(w)}, {}, ()) for w in ends),
    )["loss"]
    expected = [of_host(a * ends[0] + (1 - a) * ends[1]) for a in np.linspace(0, 1, 30)]
    np.testing.assert_allclose(curve, expected, rtol=1e-5)
    height = abs(of_host(ends[0]) - of_host(ends[1])) / 2
    np.testing.assert_allclose(error_barrier(curve), height, rtol=1e-4)
    chord = np.linspace(expected[0], expected[-1], 30)
    assert (np.asarray(curve)[1:-1] < chord[1:-1]).all()


def batch_statistics():
    """Two networks whose params and statistics differ, and an evaluation that shows both."""
    first = TrainState({"w": jnp.float32(0)}, {"mean": jnp.float32(1), "count": jnp.int32(9)}, ())
    second = first._replace(params={"w": jnp.float32(4)}, model_state={**first.model_state})
    second.model_state["mean"] = jnp.float32(5)
    return lambda params, model_state: {"w": params["w"], **model_state}, first, second


def test_batch_statistics_are_interpolated_or_recomputed_as_is_chosen():
    curves = linear_path(*batch_statistics(), 3)
    assert {name: curve.tolist() for name, curve in curves.items()} == {
        "w": [4.0, 2.0, 0.0],
        "mean": [5.0, 3.0, 1.0],
        "count": [9, 9, 9],
    }
    ten_times = lambda params, model_state: {**model_state, "mean": 10 * params["w"]}  # noqa: E731
    curves = linear_path(*batch_statistics(), 3, statistics="recomputed", recompute=ten_times)
    assert curves["mean"].tolist() == [40.0, 20.0, 0.0]
    assert curves["count"].tolist() == [9, 9, 9]


# Many pairs. Two hidden units that have changed places compute |x| at both ends of the line, and
# |2α − 1| |x| on it: the two units cancel each other in the middle.


def absolute() -> Model:
    def apply(params, model_state, x, *, train, key=None):
        output = jax.nn.relu(x.reshape(-1, 1) * params["into"][None]) @ params["out"]
        return jnp.stack([jnp.full_like(output, 0.5), output], axis=1), model_state

    return Model(lambda key: ({"into": jnp.ones(2), "out": jnp.ones(2)}, {}), apply)


def bump(metric, points):
    """Class 1 is |x| > 0.5; the loss is the squared error of the second logit."""
    learner = learners.supervised(
        absolute(),
        optax.sgd(0.1),
        preprocess=lambda pixels: (pixels.astype(jnp.float32) - 100) / 100,
        loss=lambda logits, labels: (logits[:, 1] - 1) ** 2,
    )
    pixels = np.array([0, 20, 70, 130, 180, 200], np.uint8)
    inside = np.abs(pixels.astype(float) - 100) / 100
    examples = Examples(pixels.reshape(-1, 1, 1, 1), (inside > 0.5).astype(np.int32))
    first, second = (
        TrainState({"into": np.float32([signs]), "out": np.ones((1, 2), np.float32)}, {}, ())
        for signs in ([1, -1], [-1, 1])
    )
    found = barriers(
        learner,
        learner.init(jax.random.key(0)),
        first,
        second,
        examples,
        Plan("map"),
        points,
        metric,
    )
    return inside, np.abs(2 * np.linspace(0, 1, points) - 1), found


@pytest.mark.parametrize("points", [3, 30])
def test_the_barrier_of_exchanged_units_is_its_closed_form(points):
    inside, scale, found = bump("accuracy", points)
    right = (scale[:, None] * inside > 0.5) == (inside > 0.5)
    np.testing.assert_allclose(found["curves"], 1 - right.mean(axis=1)[None], atol=1e-6)
    assert found["barriers"] == pytest.approx(4 / 6)
    inside, scale, found = bump("loss", points)
    curve = ((scale[:, None] * inside - 1) ** 2).mean(axis=1)
    np.testing.assert_allclose(found["curves"], curve[None], rtol=1e-5)
    assert found["barriers"] == pytest.approx(max(curve) - curve[0])
    assert found["barriers"][0] > 0.5


@pytest.mark.parametrize("metric", ["accuracy", "loss"])
def test_a_network_has_no_barrier_to_itself(metric):
    found = measured(networks(0, 1), networks(0, 1), metric=metric)
    assert found["barriers"].tolist() == [0, 0]
    assert (found["curves"] == found["curves"][:, :1]).all()
    assert not np.isnan(found["curves"]).any()


def test_the_barrier_is_symmetric():
    there, back = (
        measured(*pair, metric="loss")
        for pair in ((networks(0, 1), networks(2, 3)), (networks(2, 3), networks(0, 1)))
    )
    np.testing.assert_allclose(there["curves"], back["curves"][:, ::-1], rtol=1e-5)
    np.testing.assert_allclose(there["barriers"], back["barriers"], rtol=1e-4)
    assert (there["barriers"] > 0.01).all()


def test_the_ends_are_the_networks_themselves():
    found, evaluate = measured(networks(0), networks(1)), jax.jit(LEARNER.evaluate)
    for place, seed in ((-1, 0), (0, 1)):
        alone = STATE._replace(params=cases.params(seed))
        nothing = jax.tree.map(lambda leaf: None, alone.params)
        accuracy = evaluate(alone, nothing, EXAMPLES)["accuracy"]
        np.testing.assert_allclose(found["curves"][0, place], 1 - accuracy, atol=1e-6)
    assert (found["curves"].dtype, found["barriers"].dtype) == (np.float32, np.float64)


@functools.cache
def three_alone():
    return [measured(networks(i), networks(i + 5), metric="loss") for i in range(3)]


@pytest.mark.parametrize(
    "plan",
    [Plan("map"), Plan("map", chunk=2), Plan("map", devices=2), Plan("vmap", chunk=3)],
    ids=str,
)
def test_a_pair_is_the_same_alone_and_in_company(plan):
    together = measured(networks(0, 1, 2), networks(5, 6, 7), plan, metric="loss")
    assert together["curves"].shape == (3, 30)
    for index, alone in enumerate(three_alone()):
        own = cases.member((together["curves"], together["barriers"]), index)
        expected = alone["curves"][0], alone["barriers"][0]
        compare = cases.assert_same_bits if plan.inside == "map" else cases.assert_close
        compare(own, expected)


@pytest.mark.parametrize("plan", ["map_on_2", "vmap_on_1"])
def test_one_compilation_serves_any_number_of_pairs_and_calls(plan):
    traces = 0

    def counted(*args):
        nonlocal traces
        traces += 1
        return LEARNER.evaluate(*args)

    learner, plan = LEARNER._replace(evaluate=counted), cases.PLANS[plan]()
    counts = []
    for number in (1, 3, 11):
        pairs = networks(*range(number)), networks(*range(1, number + 1))
        found = barriers(learner, STATE, *pairs, EXAMPLES, plan, points=3)
        assert found["barriers"].shape == (number,)
        counts.append(traces)
    assert counts[0] == counts[1] == counts[2] > 0


def test_pairs_take_their_model_states_along():
    def evaluate(state, mask, examples):
        return {"loss": state.model_state["mean"] + 0 * state.params["w"]}

    learner = learners.Learner(init=None, step=None, evaluate=evaluate, restart=None)
    _, first, second = batch_statistics()
    pairs = cases.stack([first]), cases.stack([second])
    of = functools.partial(barriers, learner, first, *pairs, EXAMPLES, Plan("map"), 3, "loss")
    assert of()["curves"].tolist() == [[5.0, 3.0, 1.0]]
    by_weight = lambda params, model_state: {"mean": 10 * params["w"]}  # noqa: E731
    found = of(statistics="recomputed", recompute=by_weight)
    assert found["curves"].tolist() == [[40.0, 20.0, 0.0]]


# A real case.

PROTOCOL = Protocol(steps=400, batch_size=20, evaluate_every=400)
LATE = 300


@functools.cache
def trained():
    """Pairs of trained networks: of two initialisations each, and of one's copies from step 300."""
    model, optimizer = cases.handwritten(), optax.adam(0.03)
    learner = learners.supervised(model, optimizer)
    examples = cases.examples(200)
    teacher = model.apply(cases.params(3), {}, examples.images / np.float32(64) - 2, train=False)[0]
    examples = examples._replace(labels=np.asarray(jnp.argmax(teacher, axis=1), np.int32))
    data = {"train": examples}

    @functools.partial(jax.vmap, in_axes=(0, 0, None, None))
    def run(state, key, start, stop):
        training = train.begin(train.UNWATCHED, PROTOCOL, state, key, data, start)
        nothing = jax.tree.map(lambda leaf: None, state.params)
        choices = learner, train.UNWATCHED, PROTOCOL, training, nothing, key, data
        return train.segment(*choices, start, stop)[0].learner

    run, split = jax.jit(run), lambda seed: jax.random.split(jax.random.key(seed), 4)
    params = networks(0, 1, 2, 4).params
    first = TrainState(params, {}, jax.vmap(optimizer.init)(params))
    late = run(first, split(1), 0, LATE)
    one, other = (jax.device_get(run(late, split(seed), LATE, 400)) for seed in (2, 3))
    state = cases.member(late, 0)
    others = jax.tree.map(lambda leaf: np.roll(leaf, 1, axis=0), one)
    of = functools.partial(barriers, learner, state, one, examples=examples, plan=Plan("map"))
    return of(others), of(other)


def test_independent_networks_have_a_barrier_and_late_copies_of_one_have_none():
    independent, copies = trained()
    assert (independent["barriers"] > 0.02).all()
    assert copies["barriers"].mean() < 0.02
    assert (independent["barriers"] > 2 * copies["barriers"]).all()
    trained_well = 0.25
    assert independent["curves"][:, [0, -1]].max() < trained_well


# What is refused.


@pytest.mark.parametrize("points", [1, 0])
def test_a_path_of_fewer_than_two_points_is_refused(points):
    expected = f"got {points}, expected at least 2, the two ends"
    with pytest.raises(TicketError, match=expected):
        linear_path(*batch_statistics(), points)
    with pytest.raises(TicketError, match=expected):
        measured(networks(0), networks(1), points=points)
    with pytest.raises(TicketError, match=r"got shape \[3, 1\], expected \[..., points\]"):
        error_barrier(np.zeros((3, 1)))


@pytest.mark.usefixtures("unchecked")
def test_unknown_choices_are_refused():
    with pytest.raises(TicketError, match="unknown metric 'acuracy': did you mean 'accuracy'"):
        measured(networks(0), networks(1), metric="acuracy")
    with pytest.raises(TicketError, match="unknown statistics 'recompute': did you mean 'recomp"):
        linear_path(*batch_statistics(), statistics="recompute")
    with pytest.raises(TicketError, match="got 'recomputed' and no function recompute, expected"):
        measured(networks(0), networks(1), statistics="recomputed")
    with pytest.raises(TicketError, match="got 'interpolated' and a function recompute, expected"):
        linear_path(*batch_statistics(), recompute=lambda params, model_state: model_state)


def test_a_metric_that_the_learner_does_not_measure_is_refused():
    only = lambda *args: {"loss": LEARNER.evaluate(*args)["loss"]}  # noqa: E731
    learner, plan = LEARNER._replace(evaluate=only), Plan("map")
    with pytest.raises(TicketError, match=r"unknown metric 'accuracy': .*Valid: loss"):
        barriers(learner, STATE, networks(0), networks(1), EXAMPLES, plan, 2)


def test_trees_without_a_line_between_them_are_refused_with_all_their_leaves():
    first = {"w": jnp.zeros(3), "b": jnp.zeros(1), "n": jnp.int32(1)}
    faults = r"second: got b: float32\[1\] and float32\[2\]; n: int32\[\] and nothing, expected"
    with pytest.raises(TicketError, match=faults):
        interpolate(first, {"w": jnp.zeros(3), "b": jnp.zeros(2)}, 0.5)
    with pytest.raises(TicketError, match=r"n: int32\[\] of other values, expected.*integers"):
        interpolate(first, first | {"n": jnp.int32(2)}, 0.5)
    fault = r"barriers, firsts and seconds: .*float32\[2, 5\] and float32\[1, 5\]"
    with pytest.raises(TicketError, match=fault):
        measured(networks(0, 1), networks(2))
    counted = networks(0)._replace(model_state={"count": np.int32([1])})
    with pytest.raises(TicketError, match=r"count: int32\[1\] of other values"):
        measured(counted, counted._replace(model_state={"count": np.int32([2])}))
