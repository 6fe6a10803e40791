"""A network's result does not depend on how many train beside it, nor on what or how many devices.

Contracts 5 (company), 6 (one compilation) and 9 (sharded equals single).
"""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import (
    Plan,
    Protocol,
    TicketError,
    allocate,
    axes,
    criteria,
    find_tickets,
    masks,
    population,
    train,
)
from jaxticket.trainer import trainer

PROTOCOL = Protocol(steps=9, batch_size=4, evaluate_every=9)
LEARNER = cases.learner()
MAPS = [name for name in cases.PLANS if name.startswith("map")]
VMAPS = [name for name in cases.PLANS if name.startswith("vmap")]
SHARED_BATCHES = [name for name in cases.PLANS if name.startswith("batch")]


@functools.cache
def trained(plan: str):
    """Makes `run(networks)`, nine steps of training of a population."""

    def one(network, data):
        bounds = jnp.int32(0), jnp.int32(9)
        return train.segment(LEARNER, train.UNWATCHED, PROTOCOL, *network, data, *bounds)

    plan = cases.PLANS[plan]()
    data, run = population.share(cases.data(), plan), population.populate(one, plan)
    return lambda networks: population.to_host(run(networks, data))


@functools.cache
def networks():
    """Eight networks with states, masks and keys of their own."""
    keys, data = jax.random.split(jax.random.key(0), 8), cases.data()
    own = [cases.mask(seed) for seed in range(8)]
    ready = []
    for key, mask in zip(keys, own, strict=True):
        state = LEARNER.init(key)
        state = LEARNER.restart(state, state.params, mask, moments=False)
        ready.append(train.begin(train.UNWATCHED, PROTOCOL, state, key, data))
    return population.to_host((cases.stack(ready), cases.stack(own), keys))


@functools.cache
def together(plan: str):
    return trained(plan)(networks())


def some(indices):
    return jax.tree.map(lambda leaf: leaf[np.array(indices)], networks())


def test_networks_differ():
    training, metrics = together("map_on_1")
    assert len(set(metrics["validation_loss"].tolist())) == 8
    assert np.isfinite(metrics["validation_loss"]).all()
    assert len({leaf.tobytes() for leaf in training.learner.params["output"]["kernel"]}) == 8


@pytest.mark.parametrize("index", [0, 5])
def test_mapped_networks_are_the_same_to_the_bit_alone_and_in_company(index):
    alone = trained("map_on_1")(some([index]))
    expected = cases.member(together("map_on_1"), index)
    cases.assert_same_bits(cases.member(alone, 0), expected)


@pytest.mark.parametrize("number", [3, 5])
def test_mapped_networks_are_the_same_to_the_bit_under_any_padding(number):
    padded = trained("map_on_1")(population.pad(some(range(number)), 8))
    for index in range(number):
        expected = cases.member(together("map_on_1"), index)
        cases.assert_same_bits(cases.member(padded, index), expected)


@cases.every([name for name in MAPS if name != "map_on_1"])
def test_mapped_networks_are_the_same_to_the_bit_on_any_number_of_devices(name):
    cases.assert_same_bits(together(name), together("map_on_1"))


@cases.every(VMAPS + SHARED_BATCHES)
def test_batched_networks_are_the_same_to_1e_5(name):
    # Typed keys and the data's order are exact; only sums of products may be reordered.
    cases.assert_close(together(name), together("map_on_1"), 1e-5)


@cases.every(cases.PLANS)
def test_the_order_of_a_population_does_not_matter(name):
    backwards = trained(name)(some(range(7, -1, -1)))
    expected = jax.tree.map(lambda leaf: leaf[::-1], together(name))
    # A batched matrix product may treat its rows differently by place.
    compare = cases.assert_same_bits if name in MAPS else cases.assert_close
    compare(backwards, expected)


@cases.every(cases.PLANS)
def test_a_network_that_diverges_harms_no_other(name):
    training, own, keys = networks()
    spoiled = jax.tree.map(np.copy, training.learner.params)
    spoiled["hidden_0"]["kernel"][3] = np.nan
    spoiled["output"]["bias"][4] = np.inf
    training = training._replace(learner=training.learner._replace(params=spoiled))
    training, metrics = trained(name)((training, own, keys))
    healthy = np.array([0, 1, 2, 5, 6, 7])
    rows = lambda tree: jax.tree.map(lambda leaf: leaf[healthy], tree)  # noqa: E731
    cases.assert_same_bits(rows((training, metrics)), rows(together(name)))
    assert not np.isfinite(metrics["validation_loss"][[3, 4]]).any()
    cases.assert_zero_where_pruned(training.learner.params, own)


# A whole search.


@functools.cache
def search(plan: str, levels: int = 3, arms: tuple[str, ...] = ("ticket", "shuffle", "reinit")):
    """A search of five replicates, and how often its step was traced and XLA called.

    Neither two nor eight devices divide five.
    """
    traces = 0
    learner = cases.learner("handwritten", "momentum")

    def counted(*args):
        nonlocal traces
        traces += 1
        return learner.step(*args)

    before = len(COMPILED)
    result = find_tickets(
        learner._replace(step=counted),
        cases.data(),
        jax.random.key(3),
        Protocol(steps=7, batch_size=4, evaluate_every=3),
        allocate.globally(0.3),
        levels=levels,
        replicates=5,
        # The inverse, so that pruned weights, which are zero, would score highest of all.
        criterion=criteria.by_name("inverse_magnitude"),
        arms=arms,
        rewind_step=2,
        plan=cases.PLANS[plan](),
    )
    return result, traces, COMPILED[before:]


COMPILED: list[str] = []


def _note_compilation(event: str, duration: float, **about) -> None:
    if event.endswith("backend_compile_duration"):
        COMPILED.append(str(about.get("fun_name")))


jax.monitoring.register_event_duration_secs_listener(_note_compilation)


def every_network(result):
    for arm in result.arms:
        for level in range(result.levels):
            for replicate in range(result.replicates):
                yield result.network(arm, level, replicate)


@pytest.mark.parametrize("name", cases.slow_but("vmap_on_1", [*MAPS[1:], "vmap_on_1"]))
def test_a_search_finds_the_same_tickets_on_any_plan(name):
    expected, _, _ = search("map_on_1")
    actual, _, _ = search(name)
    compare = cases.assert_same_bits if name in MAPS else cases.assert_close
    for one, other in zip(every_network(actual), every_network(expected), strict=True):
        cases.assert_same_bits(one.mask, other.mask)
        compare((one.params, one.curves), (other.params, other.curves))


def test_every_level_is_nested_in_the_one_before_and_keeps_its_exact_count():
    result, _, _ = search("map_on_1")
    for replicate in range(result.replicates):
        tickets = [result.network("ticket", level, replicate).mask for level in range(3)]
        kept = [sum(masks.counts(mask).values()) for mask in tickets]
        assert kept == [counts["*"] for counts in result.counts] == [45, 31, 22]
        assert masks.is_subset(tickets[1], tickets[0])
        assert masks.is_subset(tickets[2], tickets[1])


@pytest.fixture(scope="module")
def smallest():
    """A search after which nothing but a search's own functions is left to compile."""
    search("map_on_1")
    return search("map_on_1", levels=2, arms=("ticket", "reinit"))


@pytest.mark.parametrize(
    ("levels", "arms"),
    [(5, ("ticket", "reinit")), (2, ("reshuffle", "oneshot", "signed_constant", "shuffle"))],
    ids=["levels", "arms"],
)
def test_more_levels_and_arms_trace_and_compile_nothing_more(smallest, levels, arms):
    _, traces, compiled = search("map_on_1", levels=levels, arms=arms)
    assert traces == smallest[1]
    assert len(compiled) == len(smallest[2])


def test_every_function_of_a_search_is_compiled_once(smallest):
    _, traces, compiled = smallest
    # Once to train, once for the names of its metrics, once to count its arithmetic.
    assert traces == 3
    # To initialise, begin, train, evaluate, prune, restart, start the controls, and monitor.
    assert len(compiled) == 8


# What populations are made with.


def test_pad_repeats_networks_from_the_first_on():
    assert population.pad(np.arange(3), 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert population.pad(np.arange(3), 3).tolist() == [0, 1, 2]


@cases.every(cases.PLANS)
@pytest.mark.parametrize("number", [1, 8, 11])
def test_over_runs_any_number_of_networks_in_pieces_of_one_size(name, number):
    plan = cases.PLANS[name]()
    square = population.over(squares(name), plan.padded(4))
    keys = jax.random.split(jax.random.key(0), number)
    values, same_keys = square((np.arange(float(number), dtype=np.float32), keys))
    np.testing.assert_array_equal(values, np.arange(number) ** 2)
    cases.assert_same_bits(same_keys, keys)


@functools.cache
def squares(name):
    return population.populate(lambda network: (network[0] ** 2, network[1]), cases.PLANS[name]())


@cases.every(cases.PLANS)
def test_padded_is_the_next_multiple_of_the_devices(name):
    plan = cases.PLANS[name]()
    for size in range(1, 20):
        padded = plan.padded(size)
        assert size <= padded < size + plan.devices
        assert padded % plan.devices == 0


def test_a_population_that_the_devices_do_not_divide_is_refused():
    run = population.populate(lambda x: x, Plan("map", devices=2))
    with pytest.raises(TicketError, match=r"got 3 networks for 2 devices.*pad it to 4"):
        run(jnp.arange(3))


def test_impossible_plans_are_refused():
    with pytest.raises(TicketError, match=r"got 9 devices, expected 1 to 8.*jax_num_cpu_devices"):
        Plan("map", devices=9)
    with pytest.raises(TicketError, match="got 0 devices, expected 1 to 8"):
        Plan("map", devices=0)
    with pytest.raises(TicketError, match=r"got 2 devices with 5 for each batch, expected 1 to 8"):
        Plan("map", devices=2, batch_devices=5)
    with pytest.raises(TicketError, match=r"got 1 devices with 0 for each batch"):
        Plan("map", batch_devices=0)
    with pytest.raises(TicketError, match="got chunk 0"):
        Plan("map", chunk=0)
    with pytest.raises(TicketError, match="unknown plan 'mash': did you mean 'mesh'"):
        Plan.by_name("mash")


def test_plans_by_name_and_the_plan_of_this_platform():
    assert Plan.by_name("auto") == Plan.auto()
    assert (Plan.by_name("mesh").inside, Plan.by_name("mesh").devices) == ("map", 8)
    assert (Plan.by_name("mesh_chunked").batch, Plan.auto(population=1).devices) == (8, 1)
    assert (Plan.auto().inside, Plan.auto().devices) == ("map", 8)
    for name in ("map", "vmap"):
        assert (Plan.by_name(name).inside, Plan.by_name(name).devices) == (name, 1)
    assert (Plan.by_name("mesh_batch").devices, Plan.by_name("mesh_batch").batch_devices) == (1, 8)
    two = Plan("vmap", devices=2, batch_devices=3)
    assert str(two) == "vmap on 2 device(s) x 3 for each batch (given)"
    assert str(Plan("map", devices=2, chunk=4)) == "map on 2 device(s), 4 at a time (given)"


@cases.every(SHARED_BATCHES)
def test_each_device_computes_its_part_of_a_batch_only(name):
    """Else devices that share a batch would do the same work again."""
    plan = cases.PLANS[name]()
    one = lambda x: axes.share_out(jnp.outer(jnp.arange(16.0), x)).sum(axis=0)  # noqa: E731
    run = jax.jit(population.populate(one, plan))
    program = run.lower(jnp.ones((plan.devices, 5))).compile().as_text()
    assert "all-reduce" in program
    assert f"{16 // plan.batch_devices},5]" in program
    assert "16,5]" not in program


@cases.every(SHARED_BATCHES)
def test_batch_statistics_are_of_the_whole_batch(name):
    learner = cases.learner("linen_with_batch_statistics", "momentum")
    keys, bounds = jax.random.split(jax.random.key(0), 2), (jnp.int32(0), jnp.int32(3))
    states = jax.vmap(learner.init)(keys)
    mask = masks.ones(cases.member(states.params, 0))

    def one(network, data):
        state, key = network
        begun = train.begin(train.UNWATCHED, PROTOCOL, state, key, data)
        return train.segment(learner, train.UNWATCHED, PROTOCOL, begun, mask, key, data, *bounds)

    def made(plan):
        data = population.share(cases.data(), plan)
        return population.to_host(population.populate(one, plan)((states, keys), data))

    cases.assert_close(made(cases.PLANS[name]()), made(Plan("map")), 1e-5)


def test_a_batch_that_the_devices_do_not_divide_is_refused():
    plan = Plan("map", batch_devices=3)
    with pytest.raises(TicketError, match="got 4, expected a multiple of the 3 devices that share"):
        trainer(LEARNER, train.UNWATCHED, PROTOCOL, cases.data(), plan)
