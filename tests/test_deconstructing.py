"""Laws of crossed actions: what every arm starts from, against NumPy, and how it is shown."""

import functools
import itertools
from types import SimpleNamespace

import cases
import jax
import numpy as np
import optax
import pytest
import searches
import xarray

from experiments import deconstructing
from experiments.deconstructing import actions
from jaxticket import TicketError, criteria, learners, plots
from jaxticket.arms import CROSSED
from jaxticket.imp import Variant, control_starts
from jaxticket.keys import derive

CRITERIA = {"large_final": criteria.magnitude(), "movement": criteria.movement()}
FROM_ZERO = tuple(
    arm for (_, pruned), arm in CROSSED.items() if pruned == "initial_unless_shrunk_all"
)
LAYERS = ("hidden_0", "output")
KEYS = jax.random.key(0)


def family(hyperparameters):
    """Controls that are given no learning rate stay where they start."""
    return learners.supervised(cases.handwritten(), optax.sgd(hyperparameters["learning_rate"]))


def search(arms, of=tuple(CRITERIA), rate=0.0, **choices):
    rates = {"hyperparameters": {"learning_rate": 1.0}}
    rates["retraining_hyperparameters"] = {"learning_rate": rate}
    variants = {name: Variant(criterion=CRITERIA[name], **rates) for name in of}
    return searches.search(learner=family, variants=variants, arms=arms, levels=2, **choices)


@functools.cache
def found():
    return search(tuple(CROSSED.values()))


def network(arm, replicate, criterion, level=1):
    return found().network(arm, level, replicate, criterion)


@functools.cache
def origin(replicate, criterion):
    """θ_0, θ_T and θ'_0 of a lineage, by layer, as NumPy arrays."""
    key = derive(KEYS, "replicate", replicate)
    first, fresh = (cases.handwritten().init(one)[0] for one in (key, derive(key, "reinit", 1)))
    return jax.device_get((first, network("ticket", replicate, criterion, 0).params, fresh))


# The oracle: NumPy alone, written from the definitions.


def mask_of(replicate, criterion, counts):
    """The largest scores of each layer; ties go to the first."""
    first, last, _ = origin(replicate, criterion)
    kept = {}
    for name in LAYERS:
        end, begin = last[name]["kernel"], first[name]["kernel"]
        scores = abs(end - begin) if criterion == "movement" else abs(end)
        order = np.argsort(-scores.ravel(), kind="stable")[: counts[f"{name}/kernel"]]
        kept[name] = np.isin(np.arange(scores.size), order).reshape(scores.shape)
    return kept


def begins_at_zero(pruned, begin, end):
    """Which weights of a layer begin at zero, kept or not."""
    return (pruned == "initial_unless_shrunk_all") & (abs(end) < abs(begin))


def check_kept(action, ours, begin, fresh, kept, zeroed):
    """Kept weights of a layer are those of an action, as far as no chance is in them."""
    assert not cases.bits(ours[zeroed]).any()
    all_kept, kept = begin[kept], kept & ~zeroed
    values, initial = ours[kept], begin[kept]
    constant = np.std(begin, dtype=np.float64)
    exact = {"rewind": initial, "reinit": fresh[kept]}
    exact["signed_reinit"] = abs(fresh[kept]) * np.sign(initial)
    if action in exact:
        np.testing.assert_array_equal(values, exact[action])
    elif "constant" in action:
        np.testing.assert_allclose(abs(values), constant, rtol=1e-5)
    elif zeroed.any():  # of a permutation, some are gone
        assert set(abs(values)) <= set(abs(all_kept))
    else:
        np.testing.assert_array_equal(np.sort(abs(values)), np.sort(abs(initial)))
    if action == "reshuffle" and not zeroed.any():
        np.testing.assert_array_equal(np.sort(values), np.sort(initial))
    if action.startswith("signed"):
        np.testing.assert_array_equal(np.sign(values), np.sign(initial))


def held_at(action, begin, end, kept):
    """What pruned weights of a layer stay at."""
    grew = abs(end) >= abs(begin)
    stays = {"zero": False, "initial": True}
    stays |= {"initial_unless_shrunk": grew, "initial_unless_shrunk_all": grew}
    return np.where(~kept & stays[action], begin, 0.0)


def loss_of(params, held):
    """Mean cross-entropy on the validation split of the perceptron with weights θ + held."""
    examples = searches.cases.data()["validation"]
    x = examples.images.reshape(len(examples.labels), -1) / 255.0
    for name in LAYERS:
        x = x @ (params[name]["kernel"] + held[name]) + params[name]["bias"]
        x = np.tanh(x) if name == "hidden_0" else x
    logs = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(x)), examples.labels].mean()


@pytest.mark.parametrize("criterion", CRITERIA)
@cases.every(range(searches.REPLICATES), "replicate")
@pytest.mark.parametrize("pair", CROSSED, ids="-".join)
def test_a_crossed_network_starts_from_its_definition(pair, replicate, criterion):
    action, pruned = pair
    first, last, fresh = origin(replicate, criterion)
    one = network(CROSSED[pair], replicate, criterion)
    mask = mask_of(replicate, criterion, found().schedules[criterion][1])
    held = {}
    for name in LAYERS:
        begin, end, new = (tree[name]["kernel"] for tree in (first, last, fresh))
        np.testing.assert_array_equal(one.mask[name]["kernel"], mask[name])
        ours = one.params[name]["kernel"]
        assert not cases.bits(ours[~mask[name]]).any()
        check_kept(action, ours, begin, new, mask[name], begins_at_zero(pruned, begin, end))
        biases = fresh if action in ("reinit", "signed_reinit") else first
        np.testing.assert_array_equal(one.params[name]["bias"], biases[name]["bias"])
        held[name] = held_at(pruned, begin, end, mask[name])
    expected = loss_of(one.params, held)
    np.testing.assert_allclose(one.curves["validation_loss"], expected, rtol=1e-5)


def test_what_kept_weights_become_does_not_depend_on_what_pruned_ones_do():
    """But for what shrank of it, where that begins at zero: at least one, and not all."""
    first, last, _ = origin(1, "movement")
    for (action, pruned), arm in CROSSED.items():
        ours, plain = (
            network(name, 1, "movement").params for name in (arm, CROSSED[action, "zero"])
        )
        for name in LAYERS:
            zeroed = begins_at_zero(pruned, first[name]["kernel"], last[name]["kernel"])
            if pruned == "initial_unless_shrunk_all":
                assert (plain[name]["kernel"] * zeroed).any()
                assert (plain[name]["kernel"] * ~zeroed).any()
            plain[name]["kernel"] = np.where(zeroed, np.float32(0), plain[name]["kernel"])
        cases.assert_same_bits(ours, plain)


def test_arms_are_the_same_to_the_bit_beside_those_that_begin_at_zero():
    arms = ("ticket", "signed_reinit", "reshuffle_frozen_unless_shrunk")
    without, beside = (
        search(each, of=("movement",), rate=0.1, replicates=1)
        for each in (arms, (*arms, *FROM_ZERO[:2]))
    )
    for arm in arms:
        one, other = (result.network(arm, 1, 0, "movement") for result in (without, beside))
        cases.assert_same_bits((one.mask, one.params), (other.mask, other.params))


def test_a_run_without_arms_that_begin_at_zero_does_not_compile_them(monkeypatch):
    def never(*given):
        raise AssertionError("compiled")

    monkeypatch.setattr(control_starts, "zero_where_shrunk", never)
    small = {"of": ("movement",), "replicates": 1}
    search(("ticket", "reinit_frozen", "frozen_unless_shrunk"), **small)
    with pytest.raises(AssertionError, match="compiled"):
        search(FROM_ZERO[:1], **small)


def test_the_oracles_search_tells_any_two_arms_apart():
    curves = {
        arm: [
            network(arm, replicate, criterion).curves["validation_loss"][0]
            for replicate in range(searches.REPLICATES)
            for criterion in CRITERIA
        ]
        for arm in CROSSED.values()
    }
    for one, other in itertools.combinations(curves.values(), 2):
        assert not np.allclose(one, other, rtol=1e-4)


def results(arms=actions.ALL, variants=tuple(CRITERIA)):
    """Accuracies that say which arm they are of: hundredths, and tenths by the criterion."""
    dims = ("variant", "arm", "level", "replicate")
    sizes = (len(variants), len(arms), 3, 2)
    values = np.zeros((*sizes, 2))
    for place in np.ndindex(*sizes[:2]):
        values[place] = 0.1 * place[0] + 0.01 * actions.ALL.index(arms[place[1]])
    values[:, :, 2] += 0.5
    values[..., 1] += 0.002
    return xarray.Dataset(
        {
            "test_accuracy": ((*dims, "step"), values),
            "early_stop_step": (dims, np.ones(sizes, int)),
            "valid": (dims, np.ones(sizes, bool)),
            "density": (("variant", "level"), [[1.0, 0.3, 0.09]] * sizes[0]),
        },
        {"variant": list(variants), "arm": list(arms), "level": [0, 1, 2], "step": [0, 1]},
    )


def cells(axes):
    """What is written in a panel, by row and column."""
    return {tuple(reversed(text.get_position())): text.get_text() for text in axes.texts}


@pytest.mark.parametrize(("step", "added"), [("start", 0.0), ("early_stop", 0.2)])
def test_the_heat_map_shows_every_pair_of_every_criterion_at_its_place(step, added):
    titles = {"large_final": "large_final\n(magnitude)"}
    figure = plots.actions_heat_map(results(), 9.0, step=step, titles=titles)
    assert [axes.get_title() for axes in figure.axes] == [titles["large_final"], "movement"]
    names = [list(dict.fromkeys(pair[side] for pair in CROSSED)) for side in (0, 1)]
    for place, axes in enumerate(figure.axes):
        shown = cells(axes)
        assert len(shown) == len(CROSSED)
        for (kept, pruned), arm in CROSSED.items():
            mean = 50 + 10 * place + actions.ALL.index(arm) + added
            at = (names[0].index(kept), names[1].index(pruned))
            assert shown[at] == f"{mean:.1f}"
            assert axes.images[0].get_array()[at] == pytest.approx(mean)
    assert len({axes.images[0].get_clim() for axes in figure.axes}) == 1
    labels = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert labels[:2] == ["rewind", "random_reinit\n(reinit)"]
    below = [tick.get_text() for tick in figure.axes[1].get_xticklabels()]
    assert below == [
        "zero",
        "freeze_init\n(initial)",
        "freeze_init_zero_mask\n(initial_unless_shrunk)",
        "freeze_init_zero_all\n(initial_unless_shrunk_all)",
    ]


def test_a_heat_map_leaves_out_what_was_not_trained_and_marks_what_diverged():
    given = results(("ticket", "frozen", "reinit"))
    given["valid"][0, 1] = False
    axes, _ = plots.actions_heat_map(given, 9.0).axes
    shown = cells(axes)
    assert set(shown) == {(0, 0), (0, 1), (1, 0)}
    assert shown[0, 1] == "—"
    nothing = given.assign(valid=given["valid"] & False)
    assert set(cells(plots.actions_heat_map(nothing, 9.0).axes[0]).values()) == {"—"}
    with pytest.raises(TicketError, match="results: got no arm of crossed actions, expected some"):
        plots.actions_heat_map(given.sel(arm=[]), 9.0)
    with pytest.raises(TicketError, match="unknown metric 'accuracy'"):
        plots.actions_heat_map(given, 9.0, "accuracy")


def test_only_a_run_that_crosses_shows_and_claims_the_cross():
    lines, every = results(actions.LINES), results()
    assert not actions.is_crossed(lines)
    assert actions.of_lines(every)["arm"].values.tolist() == [
        arm for arm in actions.ALL if arm in actions.LINES
    ]
    assert list(deconstructing.draw(lines, None)) == ["supermasks", "criteria", "actions"]
    assert list(deconstructing.draw(every, None))[:2] == ["crossed", "crossed_untrained"]
    assert actions.tables(lines, 9.0) == []
    first, second = actions.tables(every, 9.0)
    assert first.title.startswith("large_final: test accuracy at 9.0 % of the weights")
    (row,) = [n for n, name in enumerate(second.columns[0].cells) if name == "signed_constant"]
    mean = 60.2 + actions.ALL.index("signed_constant_frozen")
    assert list(second.columns[2].cells)[row].startswith(f" {mean:.1f}")


def test_claims_of_zeros_are_made_of_every_action_that_is_crossed():
    made = lambda arms: actions.claims(  # noqa: E731
        SimpleNamespace(config=SimpleNamespace(arms=arms)), "large_final", 9.0
    )
    assert made(actions.LINES) == []
    claims = made(actions.ALL)
    assert len({claim.id for claim in claims}) == len(claims) == 18
    assert len(made([arm for arm in actions.ALL if arm not in FROM_ZERO])) == 12
    given = results()
    # Of the accuracies made up above each arm's is above those before it in the table of arms.
    held = {claim.id: claim.test(given).holds for claim in claims}
    for kept in ("reinit", "signed-constant"):
        assert not held[f"large-final-{kept}-more-than-large-final-{kept}-frozen-9"]
        assert held[f"large-final-{kept}-frozen-unless-shrunk-as-good-as-large-final-{kept}-9"]
        unless = f"large-final-{kept}-frozen-unless-shrunk"
        assert held[f"{unless}-all-as-good-as-{unless}-9"]
