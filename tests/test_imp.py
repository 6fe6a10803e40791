"""Laws of the search: who is paired with whom, what diverges, what is refused."""

import dataclasses
import functools
import inspect

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import (
    MaskError,
    Plan,
    Protocol,
    TicketError,
    allocate,
    criteria,
    find_tickets,
    learned_masks,
    learners,
    masks,
    topology,
)
from jaxticket.arms import ARMS
from jaxticket.imp import DEFAULT, Scoring, Variant
from jaxticket.keys import derive
from jaxticket.records import Dropped, Memory
from jaxticket.trainer import trainer


def equal(first, second):
    return all(jax.tree.leaves(jax.tree.map(np.array_equal, first, second)))


@functools.cache
def alone():
    """The ticket of the first replicate, searched for by itself."""
    return searches.search(replicates=1, arms=("ticket",))


def test_every_arm_level_and_replicate_is_there_once():
    result = searches.finished()
    found = [c for record in result.records for c in record.coordinates]
    wanted = {
        ("ticket", n, r, "") for n in range(searches.LEVELS) for r in range(searches.REPLICATES)
    }
    for arm in searches.ARMS[1:]:
        wanted |= {(arm, n, r, "") for n in range(1, searches.LEVELS) for r in range(2)}
    assert sorted(found) == sorted(wanted)


def test_tickets_are_nested_and_exact_and_zero_where_pruned():
    result = searches.finished()
    for level in range(1, result.levels):
        for replicate in range(result.replicates):
            before = result.network("ticket", level - 1, replicate).mask
            now = result.network("ticket", level, replicate)
            assert masks.is_subset(now.mask, before)
            assert masks.counts(now.mask) == result.counts[level]
            assert equal(masks.apply(now.params, now.mask), now.params)


@pytest.mark.parametrize("replicate", range(2))
def test_controls_differ_from_the_ticket_in_what_their_name_says(replicate):
    result = searches.finished()
    ticket, reinit, shuffle, oneshot = (result.network(a, 2, replicate) for a in searches.ARMS)
    assert equal(reinit.mask, ticket.mask)
    assert masks.counts(shuffle.mask) == masks.counts(oneshot.mask) == masks.counts(ticket.mask)
    assert not equal(shuffle.mask, ticket.mask)
    assert not equal(reinit.params, ticket.params)
    # A first pruning of the trained dense network is the same once or in levels.
    first = result.network("oneshot", 1, replicate)
    assert equal(first.mask, result.network("ticket", 1, replicate).mask)
    assert equal(first.params, result.network("ticket", 1, replicate).params)


def test_a_copy_differs_from_its_arm_in_the_order_of_its_data_alone():
    result = searches.search(replicates=1, levels=2, arms=("ticket", "copy"))
    ticket, copy = (result.network(arm, 1, 0) for arm in ("ticket", "copy"))
    assert equal(ticket.mask, copy.mask)
    first = (network.curves["validation_loss"][0] for network in (ticket, copy))
    assert len(set(first)) == 1
    assert not equal(ticket.params, copy.params)


def test_a_first_pruning_is_the_same_once_or_in_levels_where_batch_statistics_matter():
    learner = cases.learner("linen_with_batch_statistics", "momentum")
    choices = {"learner": learner, "criterion": criteria.fisher_diagonal(), "scoring": Scoring(6)}
    result = searches.search(**choices, replicates=1, arms=("ticket", "oneshot"))
    first, second = (result.network("oneshot", level, 0) for level in (1, 2))
    assert equal(first.mask, result.network("ticket", 1, 0).mask)
    # The dense network's statistics score at every level, not those of the level before.
    dense, one = (result.network("ticket", level, 0).model_state for level in (0, 1))
    assert not equal(dense, one)
    assert masks.is_subset(second.mask, first.mask)


def test_oneshot_pruning_gives_the_ticket_the_masks_of_the_oneshot_arm():
    arms = ("ticket", "oneshot")
    once = searches.search(replicates=1, arms=arms, pruning="oneshot")
    for level in (1, 2):
        ticket, control = (once.network(arm, level, 0).mask for arm in arms)
        assert equal(ticket, control)
    assert not equal(once.network("ticket", 2, 0).mask, alone().network("ticket", 2, 0).mask)


class Stopped(Memory):
    """Gives back the levels that it was given."""

    def __init__(self, records):
        self.origins, self.records = [], records

    def load(self, template):
        return self.origins, list(self.records)


def test_a_search_of_one_replicate_goes_on_where_it_stopped():
    whole = alone()
    store = Stopped(whole.records[:2])
    store.origins, told = whole.origins, []
    rest = searches.search(replicates=1, arms=("ticket",), store=store, on_progress=told.append)
    assert {progress.level for progress in told} == {2}
    assert equal(rest.network("ticket", 2, 0).params, whole.network("ticket", 2, 0).params)


@pytest.mark.parametrize("number", [0, 1])
def test_a_search_that_stopped_between_its_first_files_trains_what_is_missing(number):
    whole = alone()
    store = Stopped(whole.records[:number])
    store.origins, told = whole.origins, []
    rest = searches.search(replicates=1, arms=("ticket",), store=store, on_progress=told.append)
    assert {progress.level for progress in told} == set(range(number, searches.LEVELS))
    assert told[-1].done == told[-1].total
    assert equal(rest.network("ticket", 2, 0).params, whole.network("ticket", 2, 0).params)


def test_steps_that_are_made_again_for_dropped_params_count_once():
    whole = alone()
    store = Stopped([whole.records[0], whole.records[1]._replace(params=Dropped("here"))])
    store.origins, told = whole.origins, []
    rest = searches.search(replicates=1, arms=("ticket",), store=store, on_progress=told.append)
    assert {progress.level for progress in told} == {1, 2}
    assert {progress.done for progress in told if progress.level == 1} == {2 * 6}
    assert told[-1].done == told[-1].total == 3 * 6
    assert equal(rest.network("ticket", 2, 0).params, whole.network("ticket", 2, 0).params)


@pytest.mark.parametrize(
    ("tickets", "arms", "made"),
    [
        (2, ("shuffle", "oneshot"), {("ticket", 2), ("reinit", 1), ("reinit", 2)}),
        (3, ("shuffle",), {(arm, level) for arm in ("reinit", "oneshot") for level in (1, 2)}),
    ],
)
def test_what_a_store_lacks_is_made_again_and_no_control_is_taken_for_a_ticket(tickets, arms, made):
    whole = searches.finished()
    store = Stopped([*whole.records[:tickets], *(r for r in whole.records if r.arms[0] in arms)])
    store.origins, told = whole.origins, []
    rest = searches.search(store=store, on_progress=told.append)
    assert {(progress.arm, progress.level) for progress in told} == made
    for place in ((arm, level, 1) for arm in searches.ARMS for level in (1, 2)):
        again, first = (result.network(*place) for result in (rest, whole))
        assert equal((again.mask, again.params), (first.mask, first.params))


def test_networks_that_begin_as_no_numbers_are_known_again():
    model = cases.handwritten()

    def init(key):
        params, state = model.init(key)
        return jax.tree.map(lambda leaf: leaf * jnp.nan, params), state

    learner = learners.supervised(model._replace(init=init), cases.optimizer("sgd"))
    choices = {"learner": learner, "levels": 1, "replicates": 1, "arms": ("ticket",)}
    whole = searches.search(**choices)
    store = Stopped(list(whole.records))
    store.origins, told = whole.origins, []
    assert len(searches.search(**choices, store=store, on_progress=told.append).records) == 1
    assert not told


def test_a_store_of_which_one_level_is_another_searchs_is_refused():
    one, two = alone(), searches.finished()
    store = Stopped([one.records[0], two.records[1]])
    store.origins = one.origins
    with pytest.raises(TicketError, match=r"store: holds 2 networks .* at level 1, expected 1 of"):
        searches.search(replicates=1, arms=("ticket",), store=store)


def test_replicates_start_apart_and_are_independent_of_their_number():
    few, many = alone(), searches.finished()
    first, second = (many.network("ticket", 0, replicate).params for replicate in (0, 1))
    assert not equal(first, second)
    for level in range(searches.LEVELS):
        one = few.network("ticket", level, 0)
        assert equal(one.params, many.network("ticket", level, 0).params)


def test_arms_do_not_change_each_other():
    alone = searches.search(arms=("shuffle",))
    together = searches.finished()
    for level in (1, 2):
        for replicate in (0, 1):
            one = alone.network("shuffle", level, replicate)
            assert equal(one.params, together.network("shuffle", level, replicate).params)


# Arms that cross two actions are in test_deconstructing.py too.
@pytest.mark.parametrize(
    "arm", [pytest.param(arm, marks=[pytest.mark.slow] * ("_frozen" in arm)) for arm in ARMS]
)
def test_every_arm_trains_and_keeps_its_mask(arm):
    result = searches.search(arms=(arm,), levels=2, replicates=1)
    network = result.network(arm, 1, 0)
    level = 0 if ARMS[arm].mask == "dense" else 1
    assert masks.counts(network.mask) == result.counts[level]
    assert equal(masks.apply(network.params, network.mask), network.params)
    assert np.isfinite(network.curves["validation_loss"]).all()


def test_a_rewound_ticket_trains_from_the_rewind_step_to_the_end():
    result = searches.search(rewind_step=2, rewind_moments=True, levels=2)
    for arm in searches.ARMS:
        assert result.network(arm, 1, 0).steps.tolist() == [2, 3, 6]
    assert result.network("ticket", 0, 0).steps.tolist() == [0, 3, 6]


def test_the_rewound_state_is_the_one_that_dense_training_passed_through():
    early = searches.search(protocol=Protocol(2, 4, 2), levels=1)
    rewound = searches.search(rewind_step=2, levels=2).origin.rewound
    assert equal(rewound.params, early.records[0].params)


def test_global_allocation_that_empties_a_layer_is_refused_with_its_name():
    model = cases.handwritten()

    def tiny_output(key):
        params, state = model.init(key)
        params["output"]["kernel"] = params["output"]["kernel"] * 1e-6
        return params, state

    learner = learners.supervised(model._replace(init=tiny_output), optax.sgd(1e-9))
    with pytest.raises(MaskError, match=r"level 1 empties output/kernel of replicate 0.*layerwise"):
        searches.search(learner=learner, allocation=allocate.globally(0.5), arms=("ticket",))


def poisoned():
    """Makes a learner whose replicate 1 has a layer of NaN from the beginning."""
    model = cases.handwritten()
    key_of_it = derive(derive(jax.random.key(0), "replicate", 1), "nothing")

    def init(key):
        params, state = model.init(key)
        data = jax.random.key_data(derive(key, "nothing"))
        bad = jnp.all(data == jax.random.key_data(key_of_it))
        kernel = params["output"]["kernel"]
        params["output"]["kernel"] = jnp.where(bad, jnp.full_like(kernel, jnp.nan), kernel)
        return params, state

    return learners.supervised(model._replace(init=init), cases.optimizer("adam_scheduled"))


def test_a_layer_that_a_diverged_network_loses_stops_nobody():
    result = searches.search(
        learner=poisoned(), arms=("ticket",), allocation=allocate.globally(0.5), replicates=2
    )
    kept = [result.network("ticket", 2, r).mask["output"]["kernel"].any() for r in (0, 1)]
    assert kept == [True, False]


def test_a_replicate_that_diverges_is_marked_and_leaves_the_others_alone():
    learner = poisoned()
    result = searches.search(learner=learner, arms=("ticket",))
    assert [record.diverged_steps().tolist() for record in result.records] == [[-1, 0]] * 3
    for level in range(3):
        healthy = searches.finished().network("ticket", level, 0)
        assert equal(result.network("ticket", level, 0).params, healthy.params)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"replicates": 0}, "replicates: got 0, expected at least 1"),
        ({"levels": 0}, "levels: got 0"),
        ({"arms": ("tiket",)}, "unknown arm 'tiket': did you mean 'ticket'"),
        ({"arms": ()}, "arms: got none"),
        ({"rewind_step": 6}, "rewind step: got 6, expected 0 to 5"),
        ({"rewind_step": -1}, "rewind step: got -1"),
        (
            {"levels": 40, "allocation": allocate.uniform(0.6)},
            r"the schedule empties .*output/kernel.* at level \d+ of 39",
        ),
        ({"levels": 40}, r"the schedule prunes nothing at level \d+ of 39, where \d+ weights"),
        ({"protocol": Protocol(6, 400, 3)}, "batch size: got 400, expected at most the 26"),
        ({"prunable": masks.matching("nothing")}, "no leaf of .* is prunable"),
    ],
)
def test_bad_choices_are_refused_in_one_line(changes, message):
    with pytest.raises(TicketError, match=message) as caught:
        searches.search(**changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("learner", "name"),
    [
        (
            lambda: learners.sparse(cases.learner(), topology.static()),
            "learners.sparse",
        ),
        (
            lambda: learners.supervised(
                learned_masks.reparametrise(cases.handwritten(), learned_masks.edge_popup(0.5)),
                optax.sgd(0.1),
            ),
            "learned_masks.reparametrise",
        ),
    ],
)
def test_levels_of_a_learner_whose_own_mask_changes_are_refused(learner, name):
    message = f"levels: got 2, expected 1: the learner of {name} has a mask of its own"
    with pytest.raises(TicketError, match=message) as caught:
        searches.search(learner=learner(), levels=2)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", [("tickt", 1, 0), ("ticket", 9, 0), ("ticket", 1, 9)])
def test_an_unknown_network_is_named(place):
    with pytest.raises(TicketError, match=f"network: got .{place[0]!r}, {place[1]}, {place[2]}"):
        searches.finished().network(*place)


def test_progress_counts_every_network_step_once():
    seen = []
    searches.search(arms=("ticket", "reinit"), rewind_step=2, on_progress=seen.append)
    done = [progress.done for progress in seen]
    assert done == sorted(done)
    assert seen[-1].done == seen[-1].total == 2 * (6 + 2 * 4 + 2 * 4)


def test_progress_names_the_first_network_in_training():
    seen = []
    choices = {"replicates": 3, "arms": ("ticket", "reinit"), "plan": Plan("map", chunk=2)}
    searches.search(**choices, on_progress=seen.append)
    for arm, level, done, *_ in seen:
        # Of three networks a level, of six steps each; then of controls, two at a time.
        if arm == "ticket" and done % 18:
            assert level == done // 18
        elif arm == "reinit" and done % 12 == 0:
            assert level == (1, 1, 2)[(done - 54) // 12]
    levels = {"ticket": (0, 1, 2), "reinit": (1, 2)}
    wanted = {(arm, level) for arm, each in levels.items() for level in each}
    assert {(progress.arm, progress.level) for progress in seen} == wanted


def test_other_weights_begin_without_the_statistics_and_moments_of_the_rewind_step(monkeypatch):
    learner = cases.learner("linen_with_batch_statistics", "momentum")
    starts = {}

    def watching(setup):
        def look(coordinates, checked, size):
            for place, name in enumerate(coordinates):
                starts[name.arm] = jax.tree.map(lambda leaf, at=place: leaf[at], checked.start)

        return look

    monkeypatch.setattr("jaxticket.imp.search.monitor", watching)
    arms = ("ticket", "reinit", "shuffle", "signed_reinit")
    choices = {"replicates": 1, "levels": 2, "rewind_step": 2, "rewind_moments": True}
    searches.search(learner=learner, arms=arms, **choices)
    fresh = jax.device_get(learner.init(jax.random.key(0)).model_state)
    for arm in arms:
        own = arm in ("ticket", "shuffle")
        statistics = jax.device_get(starts[arm].model_state)
        assert equal(statistics, jax.device_get(starts["ticket"].model_state)) == own
        assert equal(statistics, fresh) != own
        moments = [leaf for leaf in jax.tree.leaves(starts[arm].moments) if leaf.ndim > 1]
        assert any(np.any(leaf) for leaf in moments) == own


def test_what_a_search_does_if_told_nothing_is_the_same_everywhere():
    told = inspect.signature(find_tickets).parameters
    for field in dataclasses.fields(DEFAULT):
        default = getattr(DEFAULT, field.name)
        if default is not None:
            assert told[field.name].default == default, field.name
    # A kill costs a minute at most.
    kept = [inspect.signature(made).parameters["keep_every"] for made in (find_tickets, trainer)]
    assert [parameter.default for parameter in kept] == [60.0, 60.0]
    assert Scoring() == Scoring(number=100, balanced=True, share=1.0, corruption="none")


def test_a_plan_is_chosen_for_all_networks_of_all_arms(monkeypatch):
    class ChosenError(Exception):
        pass

    def auto(population):
        raise ChosenError(population)

    monkeypatch.setattr(Plan, "auto", auto)
    variants = {name: Variant() for name in ("a", "b", "c")}
    with pytest.raises(ChosenError, match=r"^24$"):
        searches.search(plan=None, variants=variants)


def test_chunks_do_not_change_results():
    result = searches.search(plan=Plan("map", chunk=1))
    for arm in searches.ARMS:
        one = result.network(arm, 2, 1)
        assert equal(one.params, searches.finished().network(arm, 2, 1).params)
