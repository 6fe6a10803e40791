"""Units of the traced network as an allocation: whole, exact, nested, and removed in the end."""

import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches
from test_compaction import NETWORKS, evaluated, made

from jaxticket import MaskError, TicketError, learners, masks, runs, topology
from jaxticket.allocate import removable_units
from jaxticket.structure import compact, kept_of, trace, units_kept
from jaxticket.types import Model

QUICK = ("handwritten", "passed", "residual")


def pruned(name, allocation, levels=2):
    """The masks of some levels by magnitude, and what the last was to keep."""
    _, params, _, _, graph = made(name)
    mask = masks.ones(params)
    schedule = allocation.schedule(jax.tree.map(np.asarray, mask), levels)
    scores = jax.tree.map(jnp.abs, params)
    found = [mask]
    for counts in schedule[1:]:
        found.append(jax.jit(allocation.select)(scores, found[-1], counts))
    return found, schedule, graph


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("name", QUICK)
def test_whole_units_go_as_many_as_were_asked_for_and_stay_gone(name, scope):
    allocation = removable_units(made(name)[-1], 0.3, scope=scope)
    found, schedule, graph = pruned(name, allocation, 3)
    for mask, counts in zip(found, schedule, strict=True):
        kept = allocation.kept(mask)
        assert {term: int(kept[term]) for term in counts} == counts
        # What is left of a unit is all that it shares with units that stay.
        alive = {name: np.asarray(on) for name, on in units_kept(graph, mask).items()}
        cases.assert_same_bits(alive, kept_of(graph, jax.device_get(mask)))
        assert all(on.any() for on in alive.values())
    assert all(masks.is_subset(new, old) for old, new in itertools.pairwise(found))


def test_the_worst_units_go_by_the_mean_of_their_weights():
    def apply(params, state, x, *, train, key=None):
        return x @ params["a"] @ params["b"], state

    params = {"a": np.array([[3.0, 1.0, 2.0]]), "b": np.array([[0.0], [9.0], [0.0]])}
    graph = trace(Model(lambda key: (params, {}), apply), params, {}, (1,))
    dense = masks.ones(params, masks.matching("*"))
    means = removable_units(graph, 0.4)
    mask = means.select(params, dense, means.schedule(dense, 2)[1])
    # 3 + 0, 1 + 9 and 2 + 0, two weights each.
    assert mask["a"].tolist() == [[True, True, False]]
    assert mask["b"].ravel().tolist() == [True, True, False]


def test_units_of_different_sizes_compete_by_the_mean_of_what_is_left_of_them():
    def apply(params, state, x, *, train, key=None):
        return x @ params["a"] @ params["b"] @ params["c"], state

    params = {"a": np.ones((1, 3)), "b": np.ones((3, 3)), "c": np.ones((3, 1))}
    graph = trace(Model(lambda key: (params, {}), apply), params, {}, (1,))
    dense = masks.ones(params, masks.matching("*"))

    def units(a, c, mask, number, reduction="mean"):
        """Which units stay, of those that a makes and of those that c reads."""
        allocation = removable_units(graph, 0.5, scope="global", reduction=reduction)
        scores = {"a": np.array([a]), "b": np.zeros((3, 3)), "c": np.array([c]).T}
        kept = allocation.select(scores, mask, {"units": number})
        return kept, kept["a"].any(axis=0).tolist(), kept["c"].any(axis=1).tolist()

    # Each group keeps its best, whatever the others are worth.
    firsts = [True, False, False]
    assert units([12.0, 12.0, 12.0], [0.3, 0.2, 0.1], dense, 2)[1:] == (firsts, firsts)
    # Means of four weights each, 3 and 1.5 and 0.25; 2 and 1.25 and 1.
    kept, *alive = units([12.0, 6.0, 1.0], [8.0, 5.0, 4.0], dense, 5)
    assert alive == [[True, True, False], [True, True, True]]
    # Of those that c reads three weights are left, means 3 and 1.4 and 0.1: 6 / 4 is more.
    assert units([12.0, 6.0, 99.0], [9.0, 4.2, 0.3], kept, 3)[1:] == (
        [True, True, False],
        [True, False, False],
    )
    # 4 / 4 is less than 4.5 / 3, though 4 x 4 would be more than 4.5 x 3.
    assert units([12.0, 4.0, 99.0], [9.0, 4.5, 3.9], kept, 3)[1:] == (
        [True, False, False],
        [True, True, False],
    )
    # 5 / 4 is less than 4.5 / 3, and 5 is more than 4.5.
    ends = {"mean": ([True, False, False], [True, True, False])}
    ends["sum"] = ([True, True, False], [True, False, False])
    for reduction, (first, last) in ends.items():
        given = [12.0, 5.0, 99.0], [9.0, 4.5, 3.9], kept, 3, reduction
        assert units(*given)[1:] == (first, last)


def test_a_unit_of_one_prunable_weight_is_worth_it():
    def apply(params, state, x, *, train, key=None):
        return x @ params["a"] @ params["b"] @ params["c"], state

    params = {"a": np.ones((2, 2)), "b": np.ones((2, 2)), "c": np.ones((2, 1))}
    graph = trace(Model(lambda key: (params, {}), apply), params, {}, (2,))
    scores = params | {"a": np.array([[8.0, 3.0], [8.0, 1.0]]), "c": np.array([[9.0], [3.0]])}
    mask = masks.ones(params, masks.matching("a", "c"))
    kept = removable_units(graph, 0.5, scope="global").select(scores, mask, {"units": 3})
    # Means of 8 and 2, and 9 and 3.
    assert kept["a"].any(axis=0).tolist() == [True, False]
    assert kept["c"].any(axis=1).tolist() == [True, True]


@pytest.mark.parametrize(("scope", "least"), [("layerwise", 1), ("global", 2)])
def test_a_group_may_lose_all_units_but_one(scope, least):
    graph = made("residual")[-1]
    sizes = [group.size for group in graph.groups]
    dense = masks.ones(made("residual")[1])
    whole = sum(sizes) if scope == "global" else min(sizes)
    allocation = removable_units(graph, (0.9, (least + 0.4) / whole), scope=scope)
    assert min(allocation.schedule(dense, 3)[2].values()) == least
    fewer = removable_units(graph, (0.9, (least - 0.6) / whole), scope=scope)
    with pytest.raises(MaskError, match=f"keeps {least - 1} units.* at level 2, .*least {least};"):
        fewer.schedule(dense, 3)


@pytest.mark.slow
@pytest.mark.parametrize("scope", ["layerwise", "global"])
@cases.every(NETWORKS)
def test_a_ticket_of_units_is_the_smaller_network(name, scope):
    model, params, model_state, x, graph = made(name)
    mask = jax.device_get(pruned(name, removable_units(graph, 0.4, scope=scope))[0][-1])
    kept = kept_of(graph, mask)
    small = compact(graph, model, params, model_state, kept)
    assert sum(on.size - on.sum() for on in kept.values()) > 0
    masked = jax.tree.map(
        lambda p, m: p if m is None else p * m, params, mask, is_leaf=lambda leaf: leaf is None
    )
    found = evaluated(small.model, small.params, small.model_state, x)
    expected = evaluated(model, masked, model_state, x)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_search_prunes_units_level_by_level():
    model = cases.MODELS["handwritten"]()
    params, model_state = model.init(jax.random.key(0))
    graph = trace(model, params, model_state, cases.SHAPE)
    result = searches.search(
        allocation=removable_units(graph, 0.4), arms=("ticket", "reinit", "oneshot")
    )
    units = graph.groups[0].size
    for level in range(1, result.levels):
        expected = result.counts[level][f"units of {graph.groups[0].name}"]
        for arm in ("ticket", "reinit", "oneshot"):
            mask = result.network(arm, level, 0).mask
            assert sum(on.sum() for on in kept_of(graph, mask).values()) == expected < units
    results = runs.to_dataset(result)
    # A schedule of units is none of weights; what was kept is counted all the same.
    assert (results["scheduled"] == -1).all()
    assert (results["kept"].sum("layer").sel(arm="ticket").diff("level") < 0).all()


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_units_go_while_the_network_trains(scope):
    model = cases.MODELS["handwritten"]()
    graph = trace(model, *model.init(jax.random.key(0)), cases.SHAPE)
    making = lambda densities: removable_units(graph, densities, scope=scope)  # noqa: E731
    changing = topology.gradual(making, 0.4, begin=2, end=6, every=2)
    learner = learners.sparse(learners.supervised(model, optax.sgd(0.1)), changing)
    step = jax.jit(learner.step)
    state = learner.init(jax.random.key(0))
    dense, batch = masks.ones(state.params), jax.tree.map(jnp.asarray, cases.examples(4))
    for index in range(7):
        state, _ = step(state, dense, batch, jax.random.key(index))
    (alive,) = units_kept(graph, state.model_state.mask).values()
    assert int(alive.sum()) == 2


def test_bad_input_says_what_and_how():
    graph = made("handwritten")[-1]
    dense = masks.ones(made("handwritten")[1])
    with pytest.raises(TicketError, match="unknown scope 'globl': did you mean 'global'"):
        removable_units(graph, 0.5, scope="globl")
    with pytest.raises(TicketError, match="unknown reduction 'max'"):
        removable_units(graph, 0.5, reduction="max")
    with pytest.raises(MaskError, match=r"keeps 0 units of .* at level 9, expected at least 1"):
        removable_units(graph, 0.7).schedule(dense, 10)
    linear = {"w": np.ones((2, 3))}
    none = trace(
        Model(lambda key: (linear, {}), lambda p, s, x, *, train, key=None: (x @ p["w"], s)),
        linear,
        {},
        (2,),
    )
    with pytest.raises(TicketError, match=r"no unit that can go: .*output"):
        removable_units(none, 0.5)
    nothing = jax.tree.map(lambda leaf: None, dense, is_leaf=lambda leaf: leaf is None)
    with pytest.raises(TicketError, match=r"no weight of .* is prunable"):
        removable_units(graph, 0.5).schedule(nothing, 2)
