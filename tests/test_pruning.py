"""Masks made at once, before training, in rounds; and the examples that criteria score with."""

import dataclasses
import functools
import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import searches

from jaxticket import Examples, MaskError, TicketError, allocate, criteria, imp, masks, prune
from jaxticket.criteria import Evidence
from jaxticket.imp import Scoring, draw_scoring
from jaxticket.types import Stream

SCORING = Scoring(6)
ARMS = ("ticket", "oneshot")


@functools.cache
def found(pruning):
    return searches.search(arms=ARMS, pruning=pruning)


@pytest.mark.slow
def test_oneshot_pruning_gives_the_masks_of_the_arm_oneshot():
    one = found("oneshot")
    for level, replicate in itertools.product(range(1, one.levels), range(one.replicates)):
        ticket, arm = (one.network(a, level, replicate) for a in ARMS)
        cases.assert_same_bits(ticket.mask, arm.mask)
        cases.assert_same_bits(ticket.params, arm.params)
        other = found("iterative").network("oneshot", level, replicate)
        cases.assert_same_bits(ticket.mask, other.mask)


def test_pruning_at_the_start_prunes_the_initial_weights_at_every_level():
    early = found("at_start")
    allocation = cases.ALLOCATIONS["uniform"]
    for level, replicate in itertools.product(range(1, early.levels), range(early.replicates)):
        initial = cases.member(early.origin.initial, replicate)
        dense = masks.ones(initial)
        evidence = Evidence(initial, initial, jax.random.key(0))
        expected = prune.prune(
            criteria.magnitude(), allocation, evidence, dense, early.counts[level]
        )
        cases.assert_same_bits(early.network("ticket", level, replicate).mask, expected)


# Rounds.


def between(start, end, number, schedule):
    """What each round leaves, by the definition."""
    for index in range(1, number + 1):
        share = index / number
        left = start * (end / start) ** share
        yield int(np.ceil(left if schedule == "exponential" else start + (end - start) * share))


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["exponential", "linear"])
@cases.every(cases.ALLOCATIONS)
def test_rounds_score_anew_what_the_one_before_left(name, schedule):
    allocation, number = cases.ALLOCATIONS[name], 4
    # Scores that change with the mask: a weight is worth its size times what its row keeps.
    score = lambda e: jax.tree.map(  # noqa: E731
        lambda p: jnp.abs(p) * jnp.sum(p != 0, axis=-1, keepdims=True).astype(p.dtype), e.final
    )
    criterion = criteria.iterative(criteria.stateless(score), number, schedule)
    params = cases.params()
    dense = masks.ones(params)
    evidence = Evidence(params, params, jax.random.key(0))
    counts = prune.schedule(allocation, dense, 4)[3]
    expected, start = dense, prune.schedule(allocation, dense, 1)[0]
    rounds = {path: list(between(start[path], counts[path], number, schedule)) for path in counts}
    for index in range(number):
        here = {path: rounds[path][index] for path in counts}
        here = counts if index == number - 1 else here
        scores = score(evidence._replace(final=masks.apply(params, expected)))
        expected = allocation.select(scores, expected, here)
    for compiled in (prune.prune, jax.jit(prune.prune, static_argnums=(0, 1))):
        pruned = compiled(criterion, allocation, evidence, dense, counts)
        cases.assert_same_bits(pruned, expected)
    once = prune.prune(criterion._replace(rounds=None), allocation, evidence, dense, counts)
    # Whole rows or columns are so few here that rounds and one pruning may agree.
    assert name in ("blocks", "units", "units_globally") or not masks.is_subset(pruned, once)


def test_rounds_are_exact_past_what_float32_can_count():
    kept, wanted = 2**24 + 3, 2**24 + 1
    rounds = criteria.Rounds(3)
    left = [int(prune._between(rounds, jnp.int32(i), kept, wanted)) for i in range(3)]
    assert left[-1] == wanted
    assert left == sorted(left, reverse=True)


@pytest.mark.parametrize("rounds", [0, -1])
def test_fewer_than_one_round_is_refused(rounds):
    with pytest.raises(TicketError, match=f"rounds: got {rounds}, expected at least 1"):
        criteria.iterative(criteria.magnitude(), rounds)
    with pytest.raises(TicketError, match="unknown schedule of rounds 'exponentiall': did you"):
        criteria.iterative(criteria.magnitude(), 2, "exponentiall")


# Scoring examples.

KEYS = jax.random.split(jax.random.key(0), 3)
LABELS = np.repeat(np.arange(3), [40, 30, 20]).astype(np.int32)
IMAGES = np.random.default_rng(0).integers(0, 256, (90, 4, 3, 2), np.uint8)
IMAGES[:, 0, 0, 0] = np.arange(90)  # by which each can be told
SPLIT = Examples(IMAGES, LABELS)


def places_of(drawn):
    return np.asarray(drawn.images)[:, :, 0, 0, 0]


def test_scoring_examples_are_balanced_without_repetition_and_differ_between_replicates():
    drawn = draw_scoring(Scoring(30), SPLIT, KEYS)
    assert drawn.images.shape == (3, 30, 4, 3, 2)
    places = places_of(drawn)
    for row in range(3):
        assert len(set(places[row].tolist())) == 30
        np.testing.assert_array_equal(np.bincount(drawn.labels[row]), [10, 10, 10])
        np.testing.assert_array_equal(drawn.labels[row], LABELS[places[row]])
    assert len({tuple(sorted(row)) for row in places.tolist()}) == 3
    cases.assert_same_bits(drawn, draw_scoring(Scoring(30), SPLIT, KEYS))


def test_a_share_of_the_data_and_unbalanced_draws():
    half = places_of(draw_scoring(Scoring(45, balanced=False, share=0.5), SPLIT, KEYS[:1]))[0]
    some = places_of(draw_scoring(Scoring(20, balanced=False, share=0.5), SPLIT, KEYS[:1]))[0]
    assert set(some.tolist()) <= set(half.tolist())
    assert len(set(half.tolist())) == 45


def test_corruptions_spoil_labels_or_pixels_and_nothing_else():
    plain = draw_scoring(Scoring(30), SPLIT, KEYS)
    labels = draw_scoring(Scoring(30, corruption="labels"), SPLIT, KEYS)
    pixels = draw_scoring(Scoring(30, corruption="pixels"), SPLIT, KEYS)
    cases.assert_same_bits(plain.images, labels.images)
    cases.assert_same_bits(plain.labels, pixels.labels)
    # A label is kept by chance once in three times; 90 labels exceed 60 once in 10^9.
    assert 10 < (plain.labels == labels.labels).sum() < 60
    assert not np.array_equal(plain.images, pixels.images)
    by_pixel = lambda images: np.sort(images.reshape(3, 30, 12, 2).view(np.uint16), axis=2)  # noqa: E731
    np.testing.assert_array_equal(by_pixel(plain.images), by_pixel(pixels.images))


STREAM = Stream(90, lambda places: SPLIT.images[places], lambda load, n: map(load, range(n)))


def test_a_single_example_can_be_scored_with():
    assert draw_scoring(Scoring(1, balanced=False), SPLIT, KEYS).labels.shape == (len(KEYS), 1)


@pytest.mark.parametrize(
    ("scoring", "split", "message"),
    [
        (Scoring(0), SPLIT, "scoring: got 0 examples, expected at least 1"),
        (Scoring(30, share=0.0), SPLIT, "scoring: got share 0.0, expected more than 0"),
        (Scoring(30, share=1.5), SPLIT, "scoring: got share 1.5, expected more than 0"),
        (Scoring(31), SPLIT, "got 31 examples of 3 classes, expected a multiple of 3"),
        (Scoring(90), SPLIT, "got 90 examples of 3 classes, expected .* at most 20 of each"),
        (Scoring(91, balanced=False), SPLIT, "got 91 examples, expected at most 90: 1 of the"),
        (Scoring(46, balanced=False, share=0.5), SPLIT, "expected at most 45: 0.5 of the training"),
        (Scoring(30), STREAM, "expected a training split in memory with labels"),
    ],
)
def test_scoring_that_cannot_be_drawn_is_refused(scoring, split, message):
    with pytest.raises(TicketError, match=message):
        draw_scoring(scoring, split, KEYS)


@pytest.mark.usefixtures("unchecked")
def test_an_unknown_corruption_is_refused():
    with pytest.raises(TicketError, match="unknown corruption of scoring 'label': did you"):
        draw_scoring(Scoring(3, corruption="label"), SPLIT, KEYS)


# Mistakes in a search, all of them before anything is trained.

WATCHING = criteria.Criterion(lambda params: params, lambda state, _: state, lambda _, e: e.final)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"pruning": "at_init"}, "unknown pruning 'at_init': did you mean 'at_start'"),
        ({"pruning": "oneshot", "retraining": "learning_rate"}, "expected 'weights': the others"),
        ({"pruning": "at_start", "criterion": WATCHING}, "criterion: it watches training, and"),
        ({"criterion": criteria.snip(), "scoring": Scoring(7)}, "expected a multiple of 3"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_search_that_cannot_run_is_refused(choices, message):
    with pytest.raises(TicketError, match=message):
        searches.search(**choices)


def test_a_learner_without_an_objective_cannot_be_scored_by_its_loss():
    learner = cases.learner()._replace(objective=None)
    with pytest.raises(TicketError, match="criterion: needs the loss's derivatives, and this"):
        searches.search(learner=learner, criterion=criteria.snip(), scoring=SCORING)


def test_layers_are_emptied_only_where_that_was_asked_for():
    def score(evidence):
        worth = lambda path, leaf: jnp.full(leaf.shape, 1.0 if "output" in str(path) else 0.0)  # noqa: E731
        return jax.tree_util.tree_map_with_path(worth, evidence.final)

    choices = {
        "criterion": criteria.stateless(score),
        "allocation": allocate.globally((0.6, 0.2)),
        "arms": ("ticket",),
        "pruning": "at_start",
    }
    with pytest.raises(MaskError, match=r"level 2 empties hidden_0/kernel of replicate 0.*or for"):
        searches.search(**choices)
    result = searches.search(**choices, empty_layers=True)
    counts = masks.counts(result.network("ticket", 2, 0).mask)
    assert counts["hidden_0/kernel"] == 0 < counts["output/kernel"]


@pytest.mark.slow
def test_variants_score_with_examples_of_their_own_but_as_many():
    variant = functools.partial(
        imp.Variant, criterion=criteria.snip(), pruning="at_start", scoring=SCORING
    )
    spoiled = dataclasses.replace(SCORING, corruption="labels")
    variants = {"plain": variant(), "spoiled": variant(scoring=spoiled)}
    result = searches.search(arms=("ticket",), variants=variants)
    one, other = (result.network("ticket", 1, 0, name).mask for name in variants)
    assert float(masks.overlap(one, other)) < 1
    variants["more"] = variant(scoring=Scoring(9))
    with pytest.raises(TicketError, match=r"got scoring with \[6, 9\] examples"):
        searches.search(arms=("ticket",), variants=variants)


def test_a_schedule_may_empty_layers_but_not_the_network():
    allocation, mask = allocate.uniform(0.6), {"a": np.ones(2, bool), "b": np.ones(40, bool)}
    with pytest.raises(MaskError, match=r"empties a at level 2 of 2; .* or for empty layers"):
        prune.schedule(allocation, mask, 3)
    counts = prune.schedule(allocation, mask, 3, empty_layers=True)
    assert [kept["a"] for kept in counts] == [2, 1, 0]
    with pytest.raises(MaskError, match="empties a, b at level 5 of 8"):
        prune.schedule(allocation, mask, 9, empty_layers=True)


def test_a_level_may_prune_nothing_only_where_that_was_asked_for():
    allocation, mask = allocate.globally((0.5, 0.49, 0.1)), {"w": np.ones(10, bool)}
    with pytest.raises(MaskError, match="prunes nothing at level 2 of 3, where 5 weights are left"):
        prune.schedule(allocation, mask, 4)
    counts = prune.schedule(allocation, mask, 4, idle_levels=True)
    assert [kept["*"] for kept in counts] == [10, 5, 5, 1]
    with pytest.raises(MaskError, match=r"empties \* at level 3 of 3"):
        prune.schedule(allocate.globally((0.5, 0.49, 0.01)), mask, 4, idle_levels=True)
