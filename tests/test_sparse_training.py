"""Laws of masks that change during training, and their oracles in NumPy."""

import functools
import itertools
from fractions import Fraction

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray

from experiments.dynamic import changing
from jaxticket import (
    MaskError,
    Protocol,
    TicketError,
    allocate,
    criteria,
    learners,
    masks,
    topology,
)
from jaxticket.criteria import Evidence
from jaxticket.learners.seldom import seldom
from jaxticket.train import train

TIMES = {"every": 2, "stop": 9, "fraction": 0.8}
RULES = {
    "static": topology.static(),
    "set": topology.set_(**TIMES),
    "rigl": topology.rigl(**TIMES),
}
START = topology.at_random(allocate.uniform(0.6))
STEPS, BATCH = 12, 4
CHANGES = (2, 4, 6)


def base(optimizer="adam"):
    return learners.supervised(cases.handwritten(), cases.optimizer(optimizer))


def dense():
    return masks.ones(cases.params())


@functools.cache
def trajectory(rule, optimizer="adam", start=START):
    """All states of one training, and the batch and key of every step."""
    rule = RULES.get(rule, rule)
    learner = learners.sparse(base(optimizer), rule, start=start)
    drawn = [cases.examples(BATCH, seed) for seed in range(STEPS)]
    batches = cases.stack([jax.tree.map(jnp.asarray, batch) for batch in drawn])
    keys = jax.random.split(jax.random.key(5), STEPS)

    @jax.jit
    def run(key):
        def one(state, given):
            state, metrics = learner.step(state, dense(), *given)
            return state, (state, metrics)

        first = learner.init(key)
        return first, jax.lax.scan(one, first, (batches, keys))[1]

    first, (states, _) = run(jax.random.key(3))
    return [first, *(cases.member(states, n) for n in range(STEPS))], batches, keys


def masks_of(rule, **choices):
    return [state.model_state.mask for state in trajectory(rule, **choices)[0]]


def flat(mask):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(mask)])


# Counts, zeros and moments.


@cases.every(RULES)
def test_every_layer_keeps_its_count_through_all_of_training(name):
    wanted = allocate.uniform(0.6).schedule(dense(), 2)[1]
    assert [masks.counts(mask) for mask in masks_of(name)] == [wanted] * (STEPS + 1)


@cases.every(RULES)
def test_masks_change_where_they_are_due_and_nowhere_else(name):
    changed = [bool((flat(a) != flat(b)).any()) for a, b in _pairs(masks_of(name))]
    # At step 8 the share has fallen below one weight of any layer; from step 9 on masks stay.
    expected = [] if name == "static" else [2, 4, 6]
    assert [step for step, moved in enumerate(changed, start=1) if moved] == expected


def _pairs(things):
    return itertools.pairwise(things)


@pytest.mark.parametrize(
    ("rule", "optimizer"), [("set", "adam"), ("rigl", "adam"), ("rigl", "momentum")]
)
def test_what_is_dropped_or_grown_is_zero_with_zero_moments_and_nothing_else_changes(
    rule, optimizer
):
    states, batches, keys = trajectory(rule, optimizer)
    plain = jax.jit(base(optimizer).step)
    for step in CHANGES:
        before, after = states[step - 1], states[step]
        old, new = before.model_state.mask, after.model_state.mask
        inner = before._replace(model_state=before.model_state.network)
        batch = cases.member(batches, step - 1)
        ordinary, _ = plain(inner, old, batch, keys[step - 1])
        stays = masks.intersect(old, new)
        assert 0 < flat(stays).sum() < flat(new).sum()
        for tree, other in zip(
            _shaped_like_params(after), _shaped_like_params(ordinary), strict=True
        ):
            cases.assert_zero_where_pruned(tree, stays)
            cases.assert_same_bits(tree, masks.apply(other, stays))


def _shaped_like_params(state):
    """The params, and every moment of them."""
    like = jax.tree.structure(state.params)
    is_like = lambda node: jax.tree.structure(node) == like  # noqa: E731
    parts = (state.params, state.opt_state)
    found = [node for node in jax.tree.leaves(parts, is_leaf=is_like) if is_like(node)]
    assert len(found) >= 2
    return found


def test_static_is_training_under_its_mask_to_the_bit():
    learner, mask = base(), masks_of("static")[0]
    data, protocol = cases.data(), Protocol(steps=STEPS, batch_size=BATCH, evaluate_every=6)
    sparse = learners.sparse(learner, topology.static(), start=START)
    first = jax.jit(sparse.init)(jax.random.key(3))
    inner = first._replace(model_state=first.model_state.network)
    key = jax.random.key(9)
    one, curves = jax.jit(lambda s: train(sparse, data, s, dense(), key, protocol))(first)
    other, same = jax.jit(lambda s: train(learner, data, s, mask, key, protocol))(inner)
    cases.assert_same_bits(one.learner.params, other.learner.params)
    cases.assert_same_bits(one.learner.opt_state, other.learner.opt_state)
    cases.assert_same_bits({name: curves[name] for name in same}, same)
    assert (np.asarray(curves["validation_kept"]) == flat(mask).sum()).all()


# Rewiring against NumPy.


def numpy_rewired(share, mask, weights, gains):
    """The definition, with stable sorts: drop the smallest, then grow the best free places."""
    mask, number = mask.ravel().copy(), int(mask.sum())
    moved = int(np.floor(np.float32(share) * np.float32(number)))
    kept = [place for place in range(mask.size) if mask[place]]
    # Of equal magnitudes the higher index goes first.
    for place in sorted(kept, key=lambda p: (abs(weights.ravel()[p]), -p))[:moved]:
        mask[place] = False
    free = [place for place in range(mask.size) if not mask[place]]
    for place in sorted(free, key=lambda p: (-gains.ravel()[p], p))[:moved]:
        mask[place] = True
    return mask.reshape(weights.shape)


def dense_gradients(params, batch):
    """Of the mean cross-entropy, by hand, with the pruned weights of `params` at zero."""
    x = np.asarray(batch.images, np.float64).reshape(BATCH, -1) / 255
    hidden, output = (jax.tree.map(np.float64, params[name]) for name in ("hidden_0", "output"))
    h = np.tanh(x @ hidden["kernel"] + hidden["bias"])
    logits = h @ output["kernel"] + output["bias"]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (p - np.eye(3)[np.asarray(batch.labels)]) / BATCH
    back = (error @ output["kernel"].T) * (1 - h**2)
    return {"hidden_0": x.T @ back, "output": h.T @ error}


def test_rigl_is_its_definition_on_the_batch_of_the_step():
    states, batches, keys = trajectory("rigl")
    plain = jax.jit(base().step)
    for step in CHANGES:
        before = states[step - 1]
        inner = before._replace(model_state=before.model_state.network)
        batch = cases.member(batches, step - 1)
        old = before.model_state.mask
        params = jax.device_get(plain(inner, old, batch, keys[step - 1])[0].params)
        share = 0.8 / 2 * (1 + np.cos(np.pi * step / 9))
        gradients, others = dense_gradients(params, batch), cases.member(batches, step)
        for layer in ("hidden_0", "output"):
            given = share, np.asarray(old[layer]["kernel"]), params[layer]["kernel"]
            expected = numpy_rewired(*given, np.abs(gradients[layer]))
            actual = np.asarray(states[step].model_state.mask[layer]["kernel"])
            np.testing.assert_array_equal(actual, expected)
        # Another batch would have grown other weights, so the test can tell.
        wrong = numpy_rewired(*given, np.abs(dense_gradients(params, others)["output"]))
        hidden = share, np.asarray(old["hidden_0"]["kernel"]), params["hidden_0"]["kernel"]
        wrong_hidden = numpy_rewired(*hidden, np.abs(dense_gradients(params, others)["hidden_0"]))
        now = states[step].model_state.mask
        assert (wrong != np.asarray(now["output"]["kernel"])).any() or (
            wrong_hidden != np.asarray(now["hidden_0"]["kernel"])
        ).any()


def gain(scores):
    return criteria.stateless(lambda evidence: {"w": jnp.asarray(scores, jnp.float32)})


def test_ties_go_to_the_lower_index_and_what_is_dropped_may_be_grown_at_once():
    weights = np.array([2, 1, 1, 1, 0, 0, 0, 0], np.float32)
    mask = np.array([True] * 4 + [False] * 4)
    for scores in (np.zeros(8), [0, 0, 0, 7, 5, 5, 5, 9]):
        rule = topology.rewired(gain(scores), every=1, stop=1_000, fraction=0.5)
        params = {"w": jnp.asarray(weights)}
        evidence = Evidence(params, params, jax.random.key(0), {"w": jnp.asarray(mask)})
        after = rule.change(jnp.int32(1), evidence, {"w": jnp.ones(8, bool)})["w"]
        share = 0.25 * (1 + np.cos(np.pi / 1_000))
        expected = numpy_rewired(share, mask, weights, np.asarray(scores, np.float64))
        np.testing.assert_array_equal(np.asarray(after), expected)
    # Floor: just under two of four weights move, which is one; it is the last of the equal ones.
    assert expected.tolist() == [True, True, True, False] + [False] * 3 + [True]


def test_nothing_is_grown_beyond_the_limit():
    weights = {"w": jnp.array([2.0, 1.0, 0.0, 0.0, 0.0])}
    mask = {"w": jnp.array([True, True, False, False, False])}
    limit = {"w": jnp.array([True, True, False, True, True])}
    rule = topology.rewired(gain([0, 0, 9, 1, 2]), every=1, stop=1_000, fraction=0.8)
    evidence = Evidence(weights, weights, jax.random.key(0), mask)
    after = rule.change(jnp.int32(1), evidence, limit)["w"]
    assert after.tolist() == [True, False, False, False, True]


def test_set_grows_uniformly_over_free_places():
    """3,000 changes; χ² over 9 free places is above 35 with a probability below 3e-5 (8 d.o.f.)."""
    size, number = 12, 3_000
    weights = jnp.zeros(size).at[:4].set(jnp.array([4.0, 3.0, 2.0, 1.0]))
    mask = {"w": jnp.arange(size) < 4}
    rule = topology.set_(every=1, stop=1_000, fraction=0.3)

    def change(key):
        evidence = Evidence({"w": weights}, {"w": weights}, key, mask)
        return rule.change(jnp.int32(1), evidence, {"w": jnp.ones(size, bool)})["w"]

    rule_moves_one = jax.jit(jax.vmap(change))(jax.random.split(jax.random.key(0), number))
    times = np.asarray(rule_moves_one).sum(axis=0)
    assert times[:3].tolist() == [number] * 3
    expected = number / 9
    assert ((times[3:] - expected) ** 2 / expected).sum() < 35


# Gradual and cyclic.


def test_gradual_keeps_the_cubic_at_every_change_and_is_nested():
    rule = topology.gradual(allocate.globally, 0.2, begin=2, end=10, every=2)
    found = [flat(mask) for mask in masks_of(rule, start=topology.everything)]
    wanted = [45, 45]
    for step in range(2, STEPS + 1):
        i = min(step - 2, 8) // 2
        density = Fraction(1, 5) + Fraction(4, 5) * Fraction(4 - i, 4) ** 3
        wanted.append(round(density * 45))
    assert [int(mask.sum()) for mask in found] == wanted
    assert wanted[-1] == 9
    assert len(set(wanted)) == 5
    assert all(not (b & ~a).any() for a, b in _pairs(found))


SCOPES = {
    "globally": allocate.globally,
    "uniform": allocate.uniform,
    "per_output": allocate.per_output,
    "by_cost": lambda rate: allocate.by_cost(rate, {"hidden_0/*": 2, "output/*": 3}),
    "units": lambda rate: allocate.units(rate, scope="global", dense=()),
}


def changed(rule, number):
    """All masks of so many changes at once, one a step, of params that stay as they are."""
    given = Evidence(cases.params(), cases.params(), jax.random.key(0))

    def one(mask, step):
        after = rule.change(step, given._replace(mask=mask), dense())
        return after, after

    _, after = jax.jit(lambda: jax.lax.scan(one, dense(), 1 + jnp.arange(number)))()
    return [cases.member(after, place) for place in range(number)]


@cases.every(SCOPES)
def test_a_hundred_changes_fall_to_the_final_density_though_many_prune_nothing(name):
    rule = topology.gradual(SCOPES[name], 0.4, begin=1, end=101, every=1)
    found = changed(rule, 101)
    allocation, last = SCOPES[name]((0.4,)), found[-1]
    kept = [int(flat(mask).sum()) for mask in found]
    assert kept == sorted(kept, reverse=True)
    assert all(not (flat(b) & ~flat(a)).any() for a, b in _pairs(found))
    wanted = allocation.schedule(dense(), 2)[1]
    left = {term: int(allocation.kept(last)[term]) for term in wanted}
    assert left == wanted or (not allocation.exact and all(left[t] <= wanted[t] for t in wanted))
    # No more changes than weights can move anything.
    assert sum(a > b for a, b in _pairs(kept)) <= kept[0] - kept[-1] < 100


def test_cycles_of_many_changes_end_at_their_density_too():
    rule = topology.cyclic(allocate.globally, 0.4, begin=1, end=100, every=1, cycles=2)
    kept = [int(flat(mask).sum()) for mask in changed(rule, 100)]
    assert kept[:50] == kept[50:] == sorted(kept[:50], reverse=True)
    assert (kept[0], kept[49]) == (45, 18)


def test_a_network_that_would_lose_a_layer_is_still_refused():
    rule = topology.gradual(allocate.uniform, 0.02, begin=1, end=101, every=1)
    with pytest.raises(MaskError, match="the schedule empties output/kernel at level"):
        changed(rule, 101)


def test_gradual_prunes_the_smallest_weights_of_the_moment():
    rule = topology.gradual(allocate.globally, 0.5, begin=3, end=6, every=3, initial=0.8)
    states = trajectory(rule, start=topology.everything)[0]
    for step, kept in ((3, 36), (6, 22)):
        mask = states[step].model_state.mask
        assert flat(mask).sum() == kept
        zero = flat(jax.tree.map(lambda p, m: None if m is None else p, states[step].params, mask))
        assert np.count_nonzero(zero) == kept
    assert masks.is_subset(states[6].model_state.mask, states[3].model_state.mask)


def test_a_cycle_begins_dense_and_ends_at_its_density():
    rule = topology.cyclic(allocate.globally, 0.2, begin=1, end=11, every=2, cycles=2)
    states = trajectory(rule, start=topology.everything)[0]
    numbers = [int(flat(state.model_state.mask).sum()) for state in states]
    middle = round((Fraction(1, 5) + Fraction(4, 5) / 8) * 45)
    one = [45, 45, middle, middle, 9, 9]
    assert numbers == [45, *one, *one]
    # What comes back is zero at first, and trains from there.
    back = flat(states[7].model_state.mask) & ~flat(states[6].model_state.mask)
    of = lambda state: flat(  # noqa: E731
        jax.tree.map(lambda p, m: None if m is None else p, state.params, dense())
    )
    assert back.sum() == 36
    assert not of(states[7])[back].any()
    assert of(states[8])[back].any()


@pytest.mark.usefixtures("unchecked")
def test_numbers_of_numpy_are_the_numbers_that_were_written():
    few = topology.polynomial(np.float32(0.1), np.int64(2), initial=np.float32(0.7))
    assert few == topology.polynomial(0.1, 2, initial=0.7)
    # int64 has no room for the third power of 20 times the denominator of this density.
    density = 0.12345678901234567
    assert topology.polynomial(density, np.int64(20)) == topology.polynomial(density, 20)
    shares = [
        topology.rewired(gain(np.arange(8)), every=1, stop=1_000, fraction=fraction)
        for fraction in (0.5, np.float32(0.5))
    ]
    params, mask = {"w": jnp.arange(8.0)}, {"w": jnp.arange(8) < 4}
    evidence = Evidence(params, params, jax.random.key(0), mask)
    one, other = (rule.change(jnp.int32(1), evidence, {"w": ~mask["w"]}) for rule in shares)
    cases.assert_same_bits(one, other)


# Populations.


@pytest.mark.parametrize("alike", [jax.vmap, lambda one: functools.partial(jax.lax.map, one)])
def test_a_population_of_rules_is_its_members(alike):
    _, batches, keys = trajectory("static")

    def one(place):
        rule = topology.one_of(list(RULES.values()), place)
        learner = learners.sparse(base(), rule, start=START)

        def step(state, given):
            return learner.step(state, dense(), *given)[0], ()

        return jax.lax.scan(step, learner.init(jax.random.key(3)), (batches, keys))[0]

    together = jax.jit(alike(one))(jnp.arange(3))
    for place, name in enumerate(RULES):
        mine, alone = cases.member(together, place), trajectory(name)[0][-1]
        cases.assert_same_bits(mine.model_state, alone.model_state)
        cases.assert_close(mine.params, alone.params)


def test_a_population_of_densities_is_its_members():
    starts = [topology.at_random(allocate.uniform(rate)) for rate in (0.6, 0.8)]
    start = lambda place: topology.one_of(starts, place)(  # noqa: E731
        jax.random.key(1), cases.params(), dense()
    )
    together = jax.jit(jax.vmap(start))(jnp.arange(2))
    for place in range(2):
        cases.assert_same_bits(cases.member(together, place), start(place))
    assert flat(cases.member(together, 0)).sum() == 18
    assert flat(cases.member(together, 1)).sum() == 9


def test_a_seldom_branch_stays_one_in_a_population():
    """Counted by the program: under vmap the function is inside a conditional, not before it."""

    def one(due, x, closed_over):
        return seldom(due, lambda y: jnp.sort(y) * closed_over, x, x)

    x = jnp.arange(6.0)[::-1].reshape(2, 3)
    given = jnp.array([True, False]), x, jnp.array([2.0, 3.0])
    assert jax.vmap(one)(*given).tolist() == [[6.0, 8.0, 10.0], [2.0, 1.0, 0.0]]
    none = jnp.array([False, False]), *given[1:]
    np.testing.assert_array_equal(jax.vmap(one)(*none), x)
    outside = [equation.primitive.name for equation in jax.make_jaxpr(jax.vmap(one))(*given).eqns]
    assert "sort" not in outside
    assert "cond" in outside


# Restarts and what is refused.


def test_a_restart_keeps_to_both_masks_and_to_the_step():
    learner, state = learners.sparse(base(), RULES["rigl"], start=START), trajectory("rigl")[0][5]
    limit = cases.mask()
    again = learner.restart(state, cases.params(), limit, moments=False)
    cases.assert_same_bits(again.model_state.mask, masks.intersect(state.model_state.mask, limit))
    assert int(again.model_state.step) == 5
    cases.assert_zero_where_pruned(again.params, again.model_state.mask)


def test_the_objective_of_a_sparse_learner_is_the_networks():
    learner, state = (
        learners.sparse(base(), RULES["static"], start=START),
        trajectory("static")[0][2],
    )
    batch, objective = jax.tree.map(jnp.asarray, cases.examples(5)), learner.objective
    outputs, model_state = objective.apply(
        state.params, state.model_state, objective.prepare(batch), train=False
    )
    value = jnp.mean(objective.loss(outputs, batch))
    assert float(value) == pytest.approx(
        float(learner.evaluate(state, dense(), batch)["loss"]), rel=1e-6
    )
    assert int(model_state.step) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: topology.rigl(every=0, stop=9, fraction=0.3), "every: got 0"),
        (lambda: topology.set_(every=5, stop=5, fraction=0.3), "stop: got 5, .*static"),
        (lambda: topology.rigl(every=5, stop=9, fraction=0.0), "fraction: got 0.0"),
        (lambda: topology.polynomial(0.5, 3, initial=0.5), "densities: got 0.5 to 0.5"),
        (lambda: topology.polynomial(0.5, 0), "updates: got 0"),
        (
            lambda: topology.gradual(allocate.globally, 0.1, begin=1, end=8, every=2),
            "changes: got steps 1 to 8, 2 apart",
        ),
        (
            lambda: topology.cyclic(allocate.globally, 0.1, begin=1, end=9, every=2, cycles=2),
            "cycles: got 2 for 5 changes",
        ),
        (lambda: topology.one_of([topology.static()], 1), "choice 1 of 1"),
        (lambda: topology.one_of([topology.static()], np.int64(1)), "choice 1 of 1"),
    ],
)
def test_what_cannot_be_is_one_line(make, message):
    with pytest.raises(TicketError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_rigl_names_what_a_learner_lacks():
    bare = base()._replace(objective=None)
    learner = learners.sparse(bare, RULES["rigl"], start=START)
    batch = jax.tree.map(jnp.asarray, cases.examples(BATCH))
    state = jax.eval_shape(learner.init, jax.random.key(0))
    with pytest.raises(TicketError, match="gradient_magnitude: the evidence lacks objective"):
        jax.eval_shape(learner.step, state, dense(), batch, jax.random.key(1))


@pytest.mark.parametrize("off", [0, 2])
def test_kept_weights_are_counted_at_every_evaluation(off):
    # The test set is not measured at all of them.
    scheduled = xarray.DataArray([[9, 9]], dims=("variant", "replicate"))
    kept = np.full((1, 2, 4), 9.0)
    kept[0, 1, 1 : 1 + off] = 8.0
    dims = ("variant", "replicate", "step")
    seldom = np.where(np.arange(4) % 3 == 0, 9.0, np.nan) * np.ones((1, 2, 1))
    results = xarray.Dataset(
        {"scheduled": scheduled, "validation_kept": (dims, kept), "test_kept": (dims, seldom)}
    )
    found = changing.counts_stay().test(results)
    assert (found.measured, found.holds) == (off, off == 0)
