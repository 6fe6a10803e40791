"""Laws of repelling networks from earlier solutions: the term alone, and searches that have it."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import Protocol, TicketError, learners, masks, rewind, runs, topology
from jaxticket.imp import Variant
from jaxticket.keys import derive
from jaxticket.learners import make_repulsion, repellent_loss
from jaxticket.masks.basic import leaves_by_path
from jaxticket.train import train

MASK = cases.mask()
OPTIMA = cases.stack([cases.params(seed) for seed in (1, 2, 3)])
PARAMS = masks.apply(cases.params(), MASK)

term = jax.jit(make_repulsion)
loss = jax.jit(repellent_loss)
gradient = jax.jit(jax.grad(repellent_loss, argnums=1))


def vector(tree, mask=MASK):
    """What the term sees of a network: its kept prunable weights, in float64."""

    def kept(leaf, own):
        return None if own is None else np.float64(leaf) * np.asarray(own)

    leaves = jax.tree.leaves(jax.tree.map(kept, tree, mask))
    return np.concatenate([leaf.ravel() for leaf in leaves])


def by_definition(params, optima, strength, mask=MASK):
    """J_r and its gradient, from section 3 of the definitions by the quotient rule."""
    own = vector(params, mask)
    value, slope = 0.0, np.zeros_like(own)
    for optimum in optima:
        other = vector(optimum, mask)
        own_length, other_length = np.linalg.norm(own), np.linalg.norm(other)
        cosine = own @ other / (own_length * other_length)
        value += cosine**2
        slope += 2 * cosine * (other / (own_length * other_length) - cosine * own / own_length**2)
    return strength / len(optima) * value, strength / len(optima) * slope


# The term alone.


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("strength", [2.0, -1.0])
def test_value_and_gradient_are_those_of_the_definition(number, strength):
    made = term(OPTIMA, MASK, number, strength)
    used = [cases.member(OPTIMA, index) for index in range(number)]
    value, slope = by_definition(PARAMS, used, strength)
    assert loss(made, PARAMS) == pytest.approx(value, rel=1e-5)
    found = gradient(made, PARAMS)
    np.testing.assert_allclose(vector(found), slope, rtol=1e-4, atol=1e-6)
    for path, leaf in leaves_by_path(found):
        assert np.any(leaf) == path.endswith("kernel"), path


def test_the_definition_of_the_gradient_is_that_of_its_value():
    """Finite differences in float64, so that the oracle above is one."""
    value, slope = by_definition(PARAMS, [cases.params(1), cases.params(2)], 2.0)
    kernel, step = PARAMS["output"]["kernel"], 1e-6
    places = [place for place in np.ndindex(*kernel.shape) if MASK["output"]["kernel"][place]]
    offset = MASK["hidden_0"]["kernel"].size
    for place in places:
        moved = {"hidden_0": PARAMS["hidden_0"], "output": dict(PARAMS["output"])}
        moved["output"]["kernel"] = np.float64(kernel)
        moved["output"]["kernel"][place] += step
        changed, _ = by_definition(moved, [cases.params(1), cases.params(2)], 2.0)
        flat = offset + np.ravel_multi_index(place, kernel.shape)
        assert (changed - value) / step == pytest.approx(slope[flat], abs=1e-5)


@pytest.mark.parametrize("scale", [1e-3, 1e3, -1.0])
def test_the_length_and_the_sign_of_a_network_do_not_matter(scale):
    scaled = jax.tree.map(lambda leaf: scale * leaf, PARAMS)
    made = term(OPTIMA, MASK, 3, 2.0)
    assert loss(made, scaled) == pytest.approx(float(loss(made, PARAMS)), rel=1e-5)
    # Nor does the gradient change the length: it is orthogonal to the network.
    found, own = vector(gradient(made, PARAMS)), vector(PARAMS)
    assert abs(found @ own) < 1e-5 * np.linalg.norm(found) * np.linalg.norm(own)


@pytest.mark.parametrize("scale", [1e-25, 1e25, -1.0])
def test_the_length_and_the_sign_of_a_solution_do_not_matter(scale):
    scaled = jax.tree.map(lambda leaf: scale * leaf, OPTIMA)
    plain, other = (term(each, MASK, 3, 2.0) for each in (OPTIMA, scaled))
    cases.assert_close(loss(other, PARAMS), loss(plain, PARAMS), 1e-6)


def test_rows_without_a_solution_are_not_read():
    garbage = jax.tree.map(lambda leaf: leaf.at[2].set(jnp.nan), OPTIMA)
    cases.assert_same_bits(term(garbage, MASK, 2, 2.0), term(OPTIMA, MASK, 2, 2.0))
    none = term(jax.tree.map(lambda leaf: leaf * jnp.nan, OPTIMA), MASK, 0, 2.0)
    assert loss(none, PARAMS) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient(none, PARAMS)))


def test_strength_zero_has_no_gradient_whatever_the_solutions_are_and_others_show_them():
    broken = jax.tree.map(lambda leaf: leaf.at[0].set(jnp.nan), OPTIMA)
    still = gradient(term(broken, MASK, 3, 0.0), PARAMS)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(still))
    assert np.isnan(loss(term(broken, MASK, 3, 2.0), PARAMS))


def test_zero_networks_and_zero_solutions_have_no_direction():
    nothing = jax.tree.map(jnp.zeros_like, PARAMS)
    made = term(OPTIMA, MASK, 3, 2.0)
    assert loss(made, nothing) == 0
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient(made, nothing)))
    half = jax.tree.map(lambda leaf: leaf.at[0].set(0), OPTIMA)
    value, _ = by_definition(PARAMS, [cases.params(2), cases.params(3)], 2.0)
    assert loss(term(half, MASK, 3, 2.0), PARAMS) == pytest.approx(value * 2 / 3, rel=1e-5)


@pytest.mark.parametrize(("strength", "sign"), [(2.0, -1), (-1.0, 1)])
def test_descent_turns_networks_away_or_towards(strength, sign):
    made = term(OPTIMA, MASK, 1, strength)
    squares = []

    @jax.jit
    def descend(params):
        return jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient(made, params))

    # Somewhere between: at both ends there is nothing to descend.
    params = jax.tree.map(lambda own, rows: own + 0.5 * rows[0], PARAMS, OPTIMA)
    params = masks.apply(params, MASK)
    for _ in range(30):
        squares.append(float(loss(made, params)) / strength)
        params = descend(params)
    assert (sign * np.diff(squares) > -1e-7).all()
    assert sign * (squares[-1] - squares[0]) > 0.01


@pytest.mark.slow
def test_a_population_of_strengths_is_each_alone():
    strengths, numbers = jnp.float32([0.0, 2.0, -1.0]), jnp.int32([1, 2, 3])
    networks = cases.stack([masks.apply(cases.params(seed), MASK) for seed in (4, 5, 6)])
    made = jax.vmap(make_repulsion, in_axes=(None, None, 0, 0))(OPTIMA, MASK, numbers, strengths)
    values = jax.vmap(repellent_loss)(made, networks)
    for place, (number, strength) in enumerate(zip(numbers, strengths, strict=True)):
        alone = loss(term(OPTIMA, MASK, number, strength), cases.member(networks, place))
        np.testing.assert_allclose(values[place], alone, rtol=1e-6)
    assert values[0] == 0
    assert values[1] > 0 > values[2]


# The term in a learner.

LEARNER = learners.supervised(cases.handwritten(), optax.sgd(0.1))
BATCH = jax.tree.map(jnp.asarray, cases.examples(4))


def penalised(learner, penalty):
    assert learner.with_penalty is not None
    return learner.with_penalty(penalty)


def prepared(learner=LEARNER):
    state = learner.init(jax.random.key(0))
    return learner.restart(state, state.params, MASK, moments=False)


def stepped(learner, state, batch=BATCH):
    return learner.step(state, MASK, batch, jax.random.key(1))


@jax.jit
def plain(state):
    return stepped(LEARNER, state)


@jax.jit
def repelled(made, state):
    return stepped(penalised(LEARNER, functools.partial(repellent_loss, made)), state)


def test_a_network_that_is_orthogonal_to_the_only_solution_is_left_alone():
    """It lives on the weights where the network is zero."""
    state = prepared()
    state = state._replace(params=masks.apply(state.params, cases.mask(density=0.25)))
    elsewhere = jax.tree.map(lambda leaf: (leaf == 0).astype(leaf.dtype)[None], state.params)
    elsewhere = jax.tree.map(lambda rows: jnp.concatenate([rows] * 3), elsewhere)
    cases.assert_close(repelled(term(elsewhere, MASK, 1, 2.0), state), plain(state), 1e-6)
    moved, _ = repelled(term(OPTIMA, MASK, 1, 2.0), state)
    assert np.abs(vector(moved.params) - vector(plain(state)[0].params)).max() > 1e-4


def test_strength_zero_is_a_step_without_the_term_to_the_bit():
    state = prepared()
    cases.assert_same_bits(repelled(term(OPTIMA, MASK, 3, 0.0), state), plain(state))


def test_the_term_adds_its_gradient_and_no_metric_shows_it():
    state = prepared()
    (still, metrics), (pushed, shown) = plain(state), repelled(term(OPTIMA, MASK, 3, 2.0), state)
    cases.assert_close(shown, metrics)
    _, slope = by_definition(state.params, [cases.member(OPTIMA, n) for n in range(3)], 2.0)
    moved = vector(pushed.params) - vector(still.params)
    np.testing.assert_allclose(moved, -0.1 * slope, atol=1e-6)
    assert np.abs(moved).max() > 1e-3
    cases.assert_zero_where_pruned(pushed.params, MASK)


@pytest.mark.slow
def test_penalties_add_up_and_reach_the_learner_inside_another():
    first = lambda params: jnp.sum(params["output"]["kernel"] ** 2)  # noqa: E731
    second = lambda params: 3 * first(params)  # noqa: E731
    built = learners.supervised(
        cases.handwritten(), optax.sgd(0.1), penalty=lambda params, state: first(params)
    )
    other = jax.tree.map(jnp.asarray, cases.examples(4, seed=1))
    both = jax.tree.map(lambda *tasks: jnp.stack(tasks, axis=1), other, BATCH)
    static = lambda learner: learners.sparse(learner, topology.static())  # noqa: E731
    task = lambda learner: learners.on_task(learner, 1)  # noqa: E731
    for wrap, batch in ((lambda learner: learner, BATCH), (static, BATCH), (task, both)):
        each = (
            wrap(LEARNER),
            penalised(wrap(built), second),
            penalised(penalised(wrap(LEARNER), first), second),
        )
        start = prepared(each[0])
        moved = [stepped(learner, start, batch)[0].params["output"]["kernel"] for learner in each]
        np.testing.assert_allclose(moved[1], moved[2], rtol=1e-5)
        expected = moved[0] - 0.8 * start.params["output"]["kernel"]
        np.testing.assert_allclose(moved[1], expected, rtol=1e-4, atol=1e-6)


def test_a_learner_that_cannot_be_penalised_stays_so_inside_another():
    learner = cases.learner()._replace(with_penalty=None)
    assert learners.sparse(learner, topology.static()).with_penalty is None
    assert learners.on_task(learner, 0).with_penalty is None


# Searches.

STRENGTHS = {"none": 0.0, "repelled": 2.0, "attracted": -1.0}
VARIANTS = {
    **{name: Variant(repulsion=value) for name, value in STRENGTHS.items()},
    "redrawn": Variant(repulsion=2.0, action=rewind.reinit),
}
LEVELS = 3
SEARCHED = cases.learner(optimizer="adam")


def search(**choices):
    given = {"learner": SEARCHED, "levels": LEVELS, "arms": ("ticket",)}
    return searches.search(**(given | choices))


@functools.cache
def swept():
    """All variants, and how often a learner with the term was made until the end of each level."""
    made, seen = [], {}

    def counted(penalty):
        made.append(1)
        return penalised(SEARCHED, penalty)

    def tell(progress):
        seen[progress.arm, progress.level] = len(made)

    result = search(
        learner=SEARCHED._replace(with_penalty=counted),
        variants=VARIANTS,
        arms=("ticket", "reinit"),
        on_progress=tell,
    )
    return result, seen


def found(level, name, replicate=1, arm="ticket"):
    return swept()[0].network(arm, level, replicate, name)


@pytest.mark.slow
def test_strength_zero_in_a_sweep_is_a_search_without_any_term_to_the_bit():
    alone = search()
    for level in range(LEVELS):
        one, other = alone.network("ticket", level, 1), found(level, "none")
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))


def kernels(tree):
    return jnp.concatenate([jnp.ravel(tree[name]["kernel"]) for name in ("hidden_0", "output")])


@functools.cache
def trained_by_definition():
    """Trains one network with the term written from its definition; all numbers are traced."""
    learner = SEARCHED

    def again(params, mask, earlier, weights, strength, key):
        kept = kernels(mask).astype(jnp.float32)

        def penalty(params):
            own = kernels(params)
            cosines = [own @ (o * kept) / jnp.linalg.norm(o * kept) for o in map(kernels, earlier)]
            squares = jnp.stack(cosines) ** 2 / jnp.sum(own**2)
            return strength * jnp.sum(weights * squares) / jnp.sum(weights)

        state = learner.restart(learner.init(key), params, mask, moments=False)
        data = jax.tree.map(jnp.asarray, cases.data())
        protocol = Protocol(6, 4, 3)
        trained, _ = train(penalised(learner, penalty), data, state, mask, key, protocol)
        return trained.learner.params

    return jax.jit(again)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["repelled", "attracted", "redrawn"])
def test_a_level_is_trained_against_all_earlier_solutions_of_its_lineage(name):
    """Every level again, from what the search says it found before."""
    key = derive(jax.random.key(0), "replicate", 1)
    for level in range(1, LEVELS):
        network = found(level, name)
        earlier = [found(min(n, level - 1), name).params for n in range(LEVELS - 1)]
        weights = jnp.float32([n < level for n in range(LEVELS - 1)])
        start = derive(key, "reinit", level) if name == "redrawn" else key
        again = trained_by_definition()(
            SEARCHED.init(start).params,
            network.mask,
            earlier,
            weights,
            jnp.float32(VARIANTS[name].repulsion),
            derive(key, "train", level),
        )
        cases.assert_close(again, network.params, 1e-4)


def test_repelled_solutions_are_further_apart_and_attracted_ones_closer():
    def squares(name):
        levels = [(level, r) for level in range(1, LEVELS) for r in range(2)]
        pairs = [(found(n - 1, name, r), found(n, name, r)) for n, r in levels]
        vectors = [[vector(one.params, after.mask) for one in (_, after)] for _, after in pairs]
        cosines = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in vectors]
        return float(np.mean(np.square(cosines)))

    assert squares("repelled") < squares("none") - 0.01
    assert squares("attracted") > squares("none") + 0.01


def test_the_dense_network_and_the_controls_have_no_term():
    one, other = (found(1, name, arm="reinit") for name in ("none", "repelled"))
    cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))
    tickets = [found(1, name).params["output"]["kernel"] for name in ("none", "repelled")]
    assert not np.array_equal(*tickets)
    _, seen = swept()
    assert seen["ticket", 0] == 0
    assert seen["reinit", 1] == seen["ticket", LEVELS - 1]


def test_one_compilation_serves_all_levels():
    _, seen = swept()
    assert seen["ticket", 1] == seen["ticket", LEVELS - 1] > 0


@pytest.mark.slow
def test_a_search_resumes_to_the_bit_and_keeps_no_solution_twice(tmp_path):
    def stop(progress):
        if progress.level == 2:
            raise KeyboardInterrupt

    with runs.CheckpointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        search(variants=VARIANTS, store=store, on_progress=stop)
    with runs.CheckpointStore(tmp_path) as store:
        resumed = search(variants=VARIANTS, store=store)
    cases.assert_same_bits(resumed.origin, jax.device_get(swept()[0].origin))
    for name in VARIANTS:
        one, other = resumed.network("ticket", 2, 1, name), found(2, name)
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))
    assert jax.tree.structure(resumed.origin.rewound) == jax.tree.structure(
        SEARCHED.init(jax.random.key(0))
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"repulsion": float("nan")}, r"repulsion: got nan, expected a finite number"),
        (
            {"variants": {"a": Variant(repulsion=float("inf"))}},
            r"repulsion of variant 'a': got inf",
        ),
        (
            {"learner": cases.learner()._replace(with_penalty=None), "repulsion": -1.0},
            r"repulsion: got -1, expected 0: this learner has no function with_penalty",
        ),
    ],
)
def test_what_cannot_be_repelled_is_refused_in_one_line(changes, message):
    with pytest.raises(TicketError, match=message) as caught:
        search(**changes)
    assert "\n" not in str(caught.value)
