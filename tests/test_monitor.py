"""Laws of the monitor: it counts what NumPy counts, and ends a search that is wrong.

That it ends no search that is right is tested by every other search in these tests.
"""

import importlib
import re

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from experiments.common.command_line import FAILED, run_main
from jaxticket import Protocol, criteria, rewind
from jaxticket.imp import ContractError, Variant, control_starts
from jaxticket.imp.invariants import Broken, Checked, Source, count_broken
from jaxticket.imp.monitor import Expected, _faults
from jaxticket.records import Memory

supervised_module = importlib.import_module("jaxticket.learners.supervised")


def flat(tree):
    return {
        "hidden_0/kernel": tree["hidden_0"]["kernel"],
        "output/kernel": tree["output"]["kernel"],
    }


def masked(params, mask):
    return jax.tree.map(lambda p, m: p if m is None else jnp.where(m, p, 0.0), params, mask)


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_definition(seed):
    """Every number is set wrong at random places of its own, and counted in NumPy."""
    generator = np.random.default_rng(seed)

    def spoiled(tree):
        def some(leaf):
            places = generator.random(leaf.shape) < 0.3
            return jnp.where(places, leaf + 1, leaf)

        return jax.tree.map(some, tree)

    mask, reference = cases.mask(seed), cases.mask(seed + 9, density=0.7)
    source = cases.params(seed)
    start, trained = spoiled(masked(source, mask)), spoiled(masked(cases.params(seed + 1), mask))
    optimizer = optax.adam(0.1)
    zeros = optimizer.init(source)
    moments = zeros[0]._replace(mu=spoiled(zeros[0].mu), nu=spoiled(zeros[0].nu)), zeros[1]
    found = jax.jit(count_broken)(
        Checked(mask, reference, Source(start, {}, moments), Source(source, {}, zeros), trained)
    )
    kept, before = flat(mask), flat(reference)
    for path, leaf in kept.items():
        pruned = ~np.asarray(leaf)
        at = lambda tree, path=path: np.asarray(flat(tree)[path])  # noqa: E731
        spoils = at(moments[0].mu), at(moments[0].nu)
        assert found.started[path] == np.count_nonzero(at(start)[pruned])
        assert found.trained[path] == np.count_nonzero(at(trained)[pruned])
        assert found.moments[path] == sum(np.count_nonzero(m[pruned]) for m in spoils)
        assert found.kept[0][path] == (~pruned).sum()
        assert found.wanted[path] == np.asarray(before[path]).sum()
        assert found.regrown[path] == (np.asarray(leaf) & ~np.asarray(before[path])).sum()
        wanted = np.where(pruned, 0, at(source))
        assert found.apart[path] == (at(start) != wanted).sum()
        assert found.moments_apart[path] == sum(np.count_nonzero(m) for m in spoils)
    bias = start["output"]["bias"] != source["output"]["bias"]
    assert found.apart["output/bias"] == bias.sum()
    assert found.kept[0]["*"] == sum(int(np.asarray(leaf).sum()) for leaf in kept.values())


def broken(mask, start, source, trained=None, **states):
    """Counts for a network of one leaf."""
    before, after = states.get("before", {}), states.get("after", {})
    one = lambda values: {"w": jnp.array(values)}  # noqa: E731
    return count_broken(
        Checked(
            one(mask),
            one(mask),
            Source(one(start), after, states.get("moments", ())),
            Source(one(source), before, states.get("rewound", ())),
            one(start if trained is None else trained),
        )
    )


def test_bits_are_compared():
    nan = float("nan")
    found = broken([True, False], [nan, 0.0], [nan, 1.0])
    assert (found.apart["w"], found.trained["w"]) == (0, 0)
    found = broken([True, False], [-0.0, -0.0], [0.0, 1.0], trained=[1.0, nan])
    assert (found.apart["w"], found.started["w"], found.trained["w"]) == (2, 1, 1)


def test_a_learners_own_mask_may_be_narrowed_and_nothing_else_may_change():
    before = {"mean": jnp.array([1.0, 2.0]), "own": jnp.array([True, True, False])}
    narrowed = {"mean": before["mean"], "own": jnp.array([True, False, False])}
    assert not any(broken([True], [1.0], [1.0], before=before, after=narrowed).state_apart.values())
    changed = {"mean": jnp.array([0.5, 2.5]), "own": jnp.array([True, False, True])}
    found = broken([True], [1.0], [1.0], before=before, after=changed).state_apart
    assert {path: int(number) for path, number in found.items()} == {"mean": 2, "own": 1}


def test_what_only_the_optimizer_knows_may_be_masked_and_nothing_else():
    """Moments of a part of the params, and counts, have not the structure of the params."""
    rewound = {"part": {"x": jnp.array([3.0, 4.0])}, "count": jnp.int32(7)}
    masked_there = {"part": {"x": jnp.array([3.0, 0.0])}, "count": jnp.int32(7)}
    restarted = {"part": {"x": jnp.array([3.0, 9.0])}, "count": jnp.int32(1)}
    for moments, counts in ((masked_there, [0, 0]), (restarted, [1, 1])):
        found = broken([True], [1.0], [1.0], moments=moments, rewound=rewound)
        assert sorted(map(int, found.moments_apart.values())) == counts
        assert not found.moments


@pytest.mark.parametrize("shape", [(1,), (3,), (2, 1)])
def test_moments_of_other_shapes_than_their_weights_have_no_place_of_a_pruned_one(shape):
    """Factored moments have a number a row, say."""
    moments, changed = {"w": jnp.ones(shape)}, {"w": jnp.full(shape, 2.0)}
    for held, apart in ((moments, 0), (changed, np.prod(shape))):
        found = broken([True, False], [1.0, 0.0], [1.0, 5.0], moments=held, rewound=moments)
        assert not found.moments
        assert int(found.moments_apart["w"]) == apart


@pytest.mark.parametrize(
    ("exact", "kept", "said"),
    [
        (True, 4, []),
        (True, 5, ["w: 5 are kept, expected 4", "all leaves: 5 are kept, expected 4"]),
        (True, 3, ["w: 3 are kept, expected 4", "all leaves: 3 are kept, expected 4"]),
        (False, 4, []),
        (False, 3, []),
        (
            False,
            5,
            ["w: 5 are kept, expected at most 4", "all leaves: 5 are kept, expected at most 4"],
        ),
    ],
)
def test_what_is_kept_is_held_to_a_number_or_to_the_most_there_may_be(exact, kept, said):
    counts = {"w": 4, "*": 4}
    expected = Expected(False, counts, 1, exact, False, False)
    nothing = Broken(*[{}] * len(Broken._fields))
    found = nothing._replace(kept=({}, dict.fromkeys(counts, kept)))
    assert [fault for _, fault in _faults(expected, found)] == said


@pytest.fixture(autouse=True)
def _the_sessions_learner_is_whole():
    """It is made once, and so never while something is broken."""
    searches._learner()


def search(**choices):
    """Searches with one replicate of the ticket alone, as few programs as there can be."""
    small = {"arms": ("ticket",), "replicates": 1, "protocol": Protocol(3, 4, 3)}
    return searches.search(**(small | choices))


def leaky(optimizer):
    """An optimizer that is told of the mask and forgets it."""
    inner = optax.with_extra_args_support(optimizer)

    def update(updates, state, params=None, *, mask, **extra):
        with jax.numpy_dtype_promotion("standard"):
            return inner.update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(optimizer.init, update)


def one_more(scores, mask, counts):
    select = cases.ALLOCATIONS["uniform"].select
    return select(scores, mask, {path: number + 1 for path, number in counts.items()})


def regrowing(scores, mask, counts):
    """Keeps the worst of all weights, pruned ones among them."""
    select = cases.ALLOCATIONS["uniform"].select
    full = jax.tree.map(jnp.ones_like, mask)
    return select(jax.tree.map(jnp.negative, scores), full, counts)


def select_by(select):
    return {"allocation": cases.ALLOCATIONS["uniform"]._replace(select=select)}


def restarting(change):
    """A learner whose restarts change what they were told to go back to."""
    learner = cases.learner("handwritten", "adam_scheduled")

    def restart(state, params, mask, *, moments):
        return change(learner.restart(state, params, mask, moments=moments))

    return {"learner": learner._replace(restart=restart)}


def nudged(state):
    kernel = state.params["output"]["kernel"]
    output = state.params["output"] | {"kernel": kernel * jnp.float32(1 + 2**-23)}
    return state._replace(params=state.params | {"output": output})


def forgotten(state):
    return state._replace(opt_state=jax.tree.map(jnp.zeros_like, state.opt_state))


def test_a_mask_that_the_optimizer_forgets_ends_the_search(monkeypatch):
    monkeypatch.setattr(supervised_module, "masked", leaky)
    with pytest.raises(ContractError, match=r"not 0.0 after training, expected 0") as caught:
        search(learner=cases.learner("handwritten", "momentum"))
    start = "contract 1 (exactly zero) is broken by ticket level 1 replicate 0: hidden_0/kernel: "
    assert str(caught.value).startswith(start)
    assert re.search(r", and \d+ more such faults in this network; ", str(caught.value))
    assert "\n" not in str(caught.value)


def test_moments_that_are_not_masked_end_the_search(monkeypatch):
    monkeypatch.setattr(supervised_module, "mask_moments", lambda optimizer, state, mask: state)
    learner = cases.learner("handwritten", "momentum")
    with pytest.raises(ContractError, match=r"^contract 1 .* moments of pruned weights are not"):
        search(learner=learner, rewind_step=2, rewind_moments=True)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        (select_by(one_more), r"contract 2 \(exact counts\).*hidden_0/kernel: 22 are kept, expec"),
        (select_by(regrowing), r"contract 3 \(nested\).*ticket level 2.*were pruned before"),
        (restarting(nudged), r"contract 4 \(bit-exact rewinding\).*level 1.*output/kernel: \d+ we"),
        (
            {"variants": {"a": Variant(), "b": Variant(rewind_step=2, rewind_moments=True)}}
            | restarting(forgotten),
            r"contract 4 .*replicate 0 of variant b: \S+/\S+: \d+ moments are not those of the",
        ),
    ],
)
def test_a_broken_contract_is_named_with_the_network_and_the_leaf(choices, message):
    with pytest.raises(ContractError, match=message):
        search(**choices)


def fewer(start):
    """Makes a mask that keeps nothing."""
    return jax.tree.map(jnp.zeros_like, start.mask)


@pytest.mark.parametrize(
    ("place", "name", "broken_one", "message"),
    [
        ("ACTIONS", "rewind", rewind.reinit, "contract 4 .* by shuffle level 1 .* weights are not"),
        (
            "MASK_RULES",
            "shuffle",
            "dense",
            "contract 2 .* by shuffle level 1 .* are kept, expected",
        ),
        ("MASK_RULES", "dense", "ticket", "contract 2 .* by dense level 1 .* are kept, expected"),
        ("MASK_RULES", "shuffle", fewer, "contract 2 .* by shuffle level 1 .*: 0 are kept, expect"),
    ],
)
def test_controls_are_held_to_the_contracts_of_their_arms(
    monkeypatch, place, name, broken_one, message
):
    changed = control_starts.MASK_RULES[broken_one] if isinstance(broken_one, str) else broken_one
    monkeypatch.setitem(getattr(control_starts, place), name, changed)
    with pytest.raises(ContractError, match=message):
        search(levels=2, arms=("ticket", "reinit", "shuffle", "dense"))


@pytest.mark.parametrize(
    ("arm", "name", "broken_one"),
    [
        ("frozen_unless_shrunk_all", "zero_where_shrunk", lambda params, *others: params),
        ("frozen_unless_shrunk", "FROM_ZERO", frozenset({"initial_unless_shrunk"})),
    ],
)
def test_weights_are_held_to_begin_at_zero_where_their_arm_says_so(
    monkeypatch, arm, name, broken_one
):
    monkeypatch.setattr(control_starts, name, broken_one)
    with pytest.raises(ContractError, match=f"contract 4 .* by {arm} level 1 .* weights are not"):
        search(levels=2, arms=("ticket", arm))


def test_masks_that_are_made_anew_at_every_level_need_not_be_nested():
    made = {when: Variant(pruning=when) for when in ("oneshot", "at_start")}
    result = search(criterion=criteria.random(), variants=made, arms=("ticket",))
    for when in made:
        first, second = (flat(result.network("ticket", n, 0, when).mask) for n in (1, 2))
        assert any((second[path] & ~first[path]).any() for path in first)


def test_one_shot_pruning_alone_begins_with_the_dense_mask_at_every_level():
    result = search(criterion=criteria.random(), pruning="oneshot", arms=("ticket",))
    first, second = (flat(result.network("ticket", n, 0).mask) for n in (1, 2))
    assert any((second[path] & ~first[path]).any() for path in first)


class Kept(Memory):
    """A store that says what it was given."""

    def __init__(self):
        self.levels = []

    def save(self, record):
        self.levels.append(record.levels[0])
        return record


def test_the_level_that_breaks_a_contract_is_not_kept():
    at = cases.ALLOCATIONS["uniform"].schedule(cases.mask(density=1.0), 3)[2]["output/kernel"]

    def wrong_at_two(scores, mask, counts):
        more = counts["output/kernel"] == at
        wrong = counts | {"output/kernel": counts["output/kernel"] - more.astype(jnp.int32)}
        return cases.ALLOCATIONS["uniform"].select(scores, mask, wrong)

    store = Kept()
    with pytest.raises(ContractError, match=r"ticket level 2 .*output/kernel: 7 are kept, expec"):
        search(store=store, **select_by(wrong_at_two))
    assert store.levels == [0, 1]


def test_a_broken_contract_is_a_failed_run_and_no_misuse(capsys):
    def main():
        raise ContractError("contract 1 is broken")

    with pytest.raises(SystemExit) as caught:
        run_main(main)
    assert caught.value.code == FAILED
    assert capsys.readouterr().err == "error: contract 1 is broken\n"


@pytest.mark.slow
def test_budgets_are_held_to_what_they_allow():
    variants = {name: Variant(allocation=cases.ALLOCATIONS[name]) for name in cases.UNUSED}
    result = search(variants=variants, arms=("ticket", "oneshot", "dense"), levels=2)
    assert sum(len(record.arms) for record in result.records) == len(variants) * (1 + 3)
    generous = cases.ALLOCATIONS["by_cost"]
    wrong = generous._replace(kept=lambda mask: {"cost": generous.kept(mask)["cost"] + 100})
    with pytest.raises(ContractError, match=r"contract 2 .* cost: \d+ are kept, expected at most"):
        search(allocation=wrong, levels=2)
