"""Laws of sweeps: one population gives what single searches give, to the bit."""

import dataclasses
import functools
import itertools

import cases
import jax
import numpy as np
import optax
import pytest
import searches

from jaxticket import (
    Plan,
    Protocol,
    TicketError,
    allocate,
    criteria,
    isometry,
    learners,
    rewind,
    runs,
)
from jaxticket.imp import Scoring, Variant, tickets
from jaxticket.trainer import run as training

RATES = {"slow": 0.01, "fast": 0.1}
MOVEMENT = criteria.movement()
SNIP = criteria.snip()
SCORING = Scoring(6)


def family(hyperparameters):
    """Learners that differ in their learning rate, which a schedule lowers at step 4."""
    rate = hyperparameters["learning_rate"]
    schedule = optax.piecewise_constant_schedule(rate, {4: 0.1})
    return learners.supervised(cases.handwritten(), optax.sgd(schedule, momentum=0.9))


def variant(rate, **choices):
    return Variant({"learning_rate": RATES[rate]}, **choices)


VARIANTS = {
    "slow": variant("slow"),
    "fast": variant("fast"),
    "global": variant("fast", allocation=cases.ALLOCATIONS["globally"]),
    "movement": variant("fast", criterion=MOVEMENT),
    "late": variant("slow", rewind_step=3),
    "between": variant("slow", rewind_step=2),
    "moments": variant("slow", rewind_step=2, rewind_moments=True),
    "learning_rate": variant("fast", rewind_step=2, retraining="learning_rate"),
    "fine_tuning": variant("fast", rewind_step=2, retraining="fine_tuning"),
    "oneshot": variant("fast", pruning="oneshot"),
    "snip": variant("fast", criterion=SNIP, pruning="at_start", scoring=SCORING),
    "orthogonalized": variant(
        "fast", rewind_step=2, retraining="fine_tuning", action=isometry.orthogonalized
    ),
    "redrawn": variant("slow", action=rewind.reinit),
    "snip_late": variant("slow", criterion=SNIP, rewind_step=3, scoring=SCORING),
}
ARMS = ("ticket", "reinit", "oneshot", "frozen", "frozen_unless_shrunk")


def search(**choices):
    return searches.search(**({"learner": family, "arms": ARMS} | choices))


@functools.cache
def swept():
    return search(variants=VARIANTS)


@pytest.mark.parametrize("name", cases.slow_but("fast", VARIANTS))
def test_a_variant_is_the_single_search_to_the_bit(name):
    chosen = {field: value for field, value in vars(VARIANTS[name]).items() if value is not None}
    given = chosen.pop("hyperparameters")
    alone, together = search(learner=family(given), **chosen), swept()
    only = together.only(name)
    assert only.variants == ("",)
    cases.assert_same_bits(only.origin.initial, alone.origin.initial)
    for arm in ARMS:
        for level in range(searches.LEVELS):
            for replicate in range(searches.REPLICATES):
                one = alone.network(arm, level, replicate)
                other = together.network(arm, level, replicate, name)
                cases.assert_same_bits(
                    (one.mask, one.params, one.model_state),
                    (other.mask, other.params, other.model_state),
                )
                cases.assert_same_bits(only.network(arm, level, replicate), other)
                for curve, values in one.curves.items():
                    columns = np.searchsorted(other.steps, one.steps)
                    np.testing.assert_array_equal(other.curves[curve][columns], values, curve)
    assert alone.counts == together.schedules[name]


def test_networks_that_begin_later_have_no_curve_before():
    network = swept().network("reinit", 1, 0, "late")
    assert network.steps.tolist() == [0, 2, 3, 6]
    assert np.isnan(network.curves["validation_loss"]).tolist() == [True, True, False, False]
    dataset = runs.to_dataset(swept())
    assert (dataset["diverged_step"] == -1).all()
    assert dataset["valid"].all()


@pytest.mark.slow
def test_a_sweep_compiles_its_training_no_more_often_than_a_single_search(monkeypatch):
    traces = []
    original = learners.supervised

    def counted(*args, **options):
        learner = original(*args, **options)

        def step(*of_step):
            traces.append(1)
            return learner.step(*of_step)

        return learner._replace(step=step)

    monkeypatch.setattr(learners, "supervised", counted)
    single = dict.fromkeys(["only"], VARIANTS["fast"])
    numbers = []
    for variants in (single, {"a": VARIANTS["fast"], "b": VARIANTS["slow"]}):
        traces.clear()
        search(variants=variants, arms=("ticket", "reinit"))
        numbers.append(len(traces))
    assert numbers[0] == numbers[1]


def test_variants_with_the_same_hyperparameters_train_their_dense_networks_once(monkeypatch):
    sizes = []
    original = training._count_flops

    def spy(ledger, family, protocol, data, networks):
        sizes.append(len(networks.keys))
        original(ledger, family, protocol, data, networks)

    monkeypatch.setattr(training, "_count_flops", spy)
    told = []
    result = search(variants=VARIANTS, arms=("ticket",), on_progress=told.append)
    lineages = len(VARIANTS) * searches.REPLICATES
    assert sizes == [len(RATES) * searches.REPLICATES, lineages, lineages]
    dense = [result.network("ticket", 0, 1, name).params for name in ("fast", "movement")]
    cases.assert_same_bits(*dense)
    assert told[-1].done == told[-1].total
    # Two rates of two replicates, then two levels of steps from each variant's own on.
    once = sum(6 - (one.rewind_step or 0) for one in VARIANTS.values())
    assert told[-1].total == 4 * 6 + 2 * 2 * once


@pytest.mark.slow
def test_under_a_constant_rate_all_three_ways_of_retraining_are_what_they_must_be():
    """Sections 1 and 4 of the definitions: an exact identity, whatever the numbers."""
    learner = cases.learner(optimizer="momentum_constant")
    ways = ("weights", "learning_rate", "fine_tuning")
    result = search(
        learner=learner,
        arms=("ticket", "rewound"),
        variants={w: Variant(retraining=w) for w in ways},
    )
    plain = search(learner=learner, arms=("ticket",))
    for level in range(searches.LEVELS):
        of = {way: result.network("ticket", level, 0, way) for way in ways}
        cases.assert_same_bits(of["weights"].params, plain.network("ticket", level, 0).params)
        cases.assert_same_bits(of["learning_rate"].params, of["fine_tuning"].params)
    kept = result.network("ticket", 2, 0, "learning_rate")
    reset = result.network("rewound", 2, 0, "learning_rate")
    cases.assert_same_bits(kept.mask, reset.mask)
    assert not np.array_equal(kept.params["output"]["kernel"], reset.params["output"]["kernel"])


def test_networks_are_trained_again_with_the_hyperparameters_of_retraining():
    slow, fast = {"learning_rate": 0.01}, {"learning_rate": 0.1}
    # Masks that are made before training are the same whatever the dense network is trained with.
    chosen = {"pruning": "at_start", "criterion": SNIP, "scoring": SCORING}
    result = search(
        variants={
            "slow": Variant(slow, **chosen),
            "fast": Variant(fast, **chosen),
            "faster": Variant(slow, retraining_hyperparameters=fast, **chosen),
        }
    )
    for arm, level in itertools.product(ARMS, range(searches.LEVELS)):
        # One-shot masks are made of the dense network.
        like = "slow" if level == 0 or arm == "oneshot" else "fast"
        one, other = (result.network(arm, level, 0, name) for name in ("faster", like))
        cases.assert_same_bits(one.mask, other.mask)
        if arm != "oneshot":
            cases.assert_same_bits(one.params, other.params)
    oneshot = [result.network("oneshot", 1, 0, name).params for name in ("faster", "slow")]
    assert any(map(np.any, jax.tree.leaves(jax.tree.map(np.subtract, *oneshot))))


def test_fine_tuning_keeps_the_last_rate_and_rate_rewinding_does_not():
    fine, rewound = (
        swept().network("ticket", 1, 0, way).params for way in ("fine_tuning", "learning_rate")
    )
    dense = swept().network("ticket", 0, 0, "fast").params
    moved = [
        np.abs(params["output"]["bias"] - dense["output"]["bias"]).sum()
        for params in (fine, rewound)
    ]
    # Two of the four repeated steps are taken at ten times the last rate.
    assert moved[1] > 2 * moved[0]


def test_a_frozen_network_computes_with_its_initial_weights():
    """At its first evaluation nothing is pruned from a frozen network at step 0: it is dense."""
    result = swept()
    for level in (1, 2):
        for name in ("slow", "global"):
            frozen, dense = (
                result.network(arm, n, 1, name) for arm, n in (("frozen", level), ("ticket", 0))
            )
            for metric in ("validation_loss", "validation_accuracy"):
                assert frozen.curves[metric][0] == dense.curves[metric][0]
            ticket = result.network("ticket", level, 1, name)
            assert frozen.curves["validation_loss"][0] != ticket.curves["validation_loss"][0]


def test_a_network_is_frozen_whatever_other_arms_there_are():
    result = searches.search(arms=("ticket", "frozen"), levels=2, replicates=1)
    frozen, dense = result.network("frozen", 1, 0), result.network("ticket", 0, 0)
    assert frozen.curves["validation_loss"][0] == dense.curves["validation_loss"][0]


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["vmap_on_1", "vmap_on_2", "map_on_2"])
def test_other_plans_give_the_same_sweep(plan):
    few = {name: VARIANTS[name] for name in ("slow", "late", "fine_tuning")}
    result = search(variants=few, plan=cases.PLANS[plan](), arms=("ticket", "frozen"))
    for name in few:
        for arm in ("ticket", "frozen"):
            one, other = (r.network(arm, 2, 1, name) for r in (result, swept()))
            cases.assert_same_bits(one.mask, other.mask)
            cases.assert_close(one.params, other.params)


@pytest.mark.slow
def test_a_sweep_resumes_to_the_bit(tmp_path):
    def search_with(store, **choices):
        return search(variants=VARIANTS, store=store, **choices)

    def stop(progress):
        if progress.arm == "reinit":
            raise KeyboardInterrupt

    with runs.CheckpointStore(tmp_path) as store, pytest.raises(KeyboardInterrupt):
        search_with(store, on_progress=stop)
    told = []
    with runs.CheckpointStore(tmp_path) as store:
        resumed = search_with(store, on_progress=told.append)
    cases.assert_same_bits(resumed.origin, jax.device_get(swept().origin))
    assert runs.to_dataset(resumed).identical(runs.to_dataset(swept()))
    assert told[-1].done == told[-1].total


def test_results_of_a_sweep_have_the_variant_as_their_first_dimension():
    dataset = runs.to_dataset(swept())
    assert dataset["test_loss" if "test_loss" in dataset else "validation_loss"].dims == (
        "variant",
        "arm",
        "level",
        "replicate",
        "step",
    )
    assert dataset["variant"].values.tolist() == list(VARIANTS)
    assert (dataset["nonzero_pruned"] == 0).all()
    assert (dataset["regrown"] == 0).all()
    one = dataset.sel(variant="global")
    np.testing.assert_allclose(one["density"], swept().densities("global"))
    assert one["kept"].sum("layer").sel(arm="ticket", replicate=0).values.tolist() == [45, 34, 26]


@pytest.mark.parametrize(
    ("variants", "message"),
    [
        ({}, r"variants: got none"),
        (
            {"a": variant("slow", rewind_step=9)},
            r"variant 'a': rewind step: got 9, expected 0 to 5",
        ),
        (
            {"a": variant("slow", retraining="fine_tuning", rewind_moments=True)},
            r"variant 'a': got rewind_moments with retraining 'fine_tuning'",
        ),
        (
            {"a": variant("slow", action=rewind.reinit, rewind_moments=True)},
            r"variant 'a': got rewind_moments with an action that changes the weights",
        ),
        (
            {"a": variant("slow"), "b": Variant({"rate": 0.1})},
            r"variants: got hyperparameters of 2 structures",
        ),
        (
            {"a": variant("slow"), "b": variant("slow", allocation=allocate.globally(0.99))},
            r"variant 'b': the schedule empties",
        ),
    ],
)
def test_variants_that_cannot_run_are_refused_in_one_line(variants, message):
    with pytest.raises(TicketError, match=message) as caught:
        search(variants=variants)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("choice", [Variant(), SCORING, Plan("map"), Protocol(4, 2, 2)])
def test_what_was_chosen_cannot_be_changed(choice):
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(choice, dataclasses.fields(choice)[0].name, None)


def test_an_unknown_variant_of_a_result_is_refused():
    with pytest.raises(TicketError, match="unknown variant 'fastt': did you mean 'fast'"):
        swept().only("fastt")


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_retraining_is_refused():
    with pytest.raises(TicketError, match="unknown retraining of variant 'a' 'rate'"):
        search(variants={"a": variant("slow", retraining="rate")})


def test_a_learner_that_cannot_hold_refuses_frozen_arms():
    with pytest.raises(TicketError, match="arms: got frozen, expected arms that prune to zero"):
        search(learner=cases.learner()._replace(hold=None), arms=("ticket", "frozen"))


@pytest.mark.slow
def test_a_chunked_plan_gives_the_same_sweep():
    result = search(variants=VARIANTS, plan=Plan("map", chunk=5), arms=("ticket", "oneshot"))
    for name in VARIANTS:
        one, other = (r.network("oneshot", 2, 1, name) for r in (result, swept()))
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))


def test_the_protocol_of_a_sweep_may_be_longer_than_an_interval():
    protocol = Protocol(steps=7, batch_size=4, evaluate_every=5)
    few = {name: VARIANTS[name] for name in ("slow", "between")}
    result = search(variants=few, protocol=protocol, arms=("ticket",))
    between = result.network("ticket", 1, 0, "between")
    assert between.steps.tolist() == [0, 2, 5, 7]
    assert np.isnan(between.curves["train_loss"]).tolist() == [True, True, False, False]
    slow = result.network("ticket", 1, 0, "slow").curves["validation_loss"]
    assert np.isnan(slow).tolist() == [False, True, False, False]
    assert runs.to_dataset(result)["valid"].all()


def test_every_variants_own_numbers_are_given_to_the_family_before_anything_runs():
    def refusing(hyperparameters):
        rate = hyperparameters["learning_rate"]
        if isinstance(rate, float) and rate > 0.05:
            raise TicketError(f"learning rate: got {rate}")
        return family(hyperparameters)

    with pytest.raises(TicketError, match=r"learning rate: got 0\.1"):
        search(learner=refusing, variants={name: VARIANTS[name] for name in ("slow", "fast")})


@pytest.mark.slow
def test_one_diverged_variant_leaves_the_others_as_they_are():
    """NaN has no order, so global pruning would empty whole layers of the network that diverged."""
    chosen = {"allocation": cases.ALLOCATIONS["globally"], "arms": ("ticket", "reinit")}
    variants = {"fast": VARIANTS["fast"], "wild": Variant({"learning_rate": float("inf")})}
    together = search(variants=variants, **chosen)
    alone = search(variants={"fast": VARIANTS["fast"]}, **chosen)
    for level in range(searches.LEVELS):
        one, other = (r.network("ticket", level, 1, "fast") for r in (together, alone))
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))
    dataset = runs.to_dataset(together)
    assert not dataset["valid"].sel(variant="wild").isel(level=slice(1, None)).any()
    assert dataset["valid"].sel(variant="fast").all()


@pytest.mark.slow
@pytest.mark.parametrize("names", [("fast", "slow"), ("slow",), ("slow", "other")])
def test_the_store_of_another_sweep_is_refused(names, tmp_path):
    few = {name: VARIANTS[name] for name in ("slow", "fast")}
    with runs.CheckpointStore(tmp_path) as store:
        search(variants=few, arms=("ticket",), store=store)
    other = {name: VARIANTS.get(name, VARIANTS["fast"]) for name in names}
    with (
        runs.CheckpointStore(tmp_path) as store,
        pytest.raises(TicketError, match=r"store: holds 4 networks of the variants"),
    ):
        search(variants=other, arms=("ticket",), store=store)


@pytest.mark.slow
def test_a_sweep_over_steps_compiles_its_training_once_too():
    counts = []
    for names in (("slow",), ("slow", "late")):
        traces = 0

        def counted(hyperparameters):
            learner = family(hyperparameters)

            def step(*of_step):
                nonlocal traces
                traces += 1
                return learner.step(*of_step)

            return learner._replace(step=step)

        search(learner=counted, variants={name: VARIANTS[name] for name in names}, arms=("ticket",))
        counts.append(traces)
    assert counts[0] == counts[1]


def test_states_of_several_steps_are_gathered_each_at_its_own():
    snapshots = {step: {"w": 10.0 * step + np.arange(3.0)} for step in (0, 2)}
    found = tickets._each_at(snapshots, np.array([0, 2, 2]), np.array([2, 0, 1]))
    np.testing.assert_array_equal(found["w"], [2.0, 20.0, 21.0])
