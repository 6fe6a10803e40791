"""What cannot be searched for is refused by name, and what just can is let through.

Nothing is trained here: a search that is let through asks its store first.
"""

import dataclasses

import cases
import jax
import numpy as np
import pytest
import searches

from jaxticket import Examples, TicketError, criteria
from jaxticket.imp import Scoring, Variant, draw_scoring
from jaxticket.keys import replicate_keys
from jaxticket.records import Memory
from jaxticket.trainer.placement import as_stream

MOVEMENT = criteria.movement()
KEY = jax.random.key(0)
LAST = searches.PROTOCOL.steps
WATCHING = criteria.koopman_magnitude(every=LAST)
"""It must have watched all of a training."""


class BegunError(Exception):
    """A search was let through."""


class Untouched(Memory):
    """A store that no search gets past."""

    def load(self, template):
        raise BegunError


def begin(**choices):
    searches.search(store=Untouched(), **({"arms": ("ticket",)} | choices))


def let_through(**choices):
    with pytest.raises(BegunError):
        begin(**choices)


def refused(message, **choices):
    with pytest.raises(TicketError, match=message) as caught:
        begin(**choices)
    assert "\n" not in str(caught.value)


# Criteria that watch training.


def test_a_criterion_may_have_watched_just_long_enough():
    let_through(criterion=WATCHING)
    longer = criteria.koopman_magnitude(every=LAST + 1)
    refused(f"watched {LAST + 1} steps .* a training has {LAST};", criterion=longer)


def test_only_trainings_that_are_pruned_from_must_be_watched_long_enough():
    # The dense training is watched whole; of level 1, which begins late, nothing is pruned.
    let_through(criterion=WATCHING, rewind_step=2, levels=2)
    let_through(criterion=WATCHING, rewind_step=2, pruning="oneshot")
    # Another variant may begin later.
    late = {"late": Variant(rewind_step=2), "watching": Variant(criterion=WATCHING)}
    let_through(variants=late)
    shorter = {"whole": Variant(criterion=WATCHING)}
    shorter |= {"late": Variant(criterion=WATCHING, rewind_step=2)}
    refused("criterion of variant 'whole': .* a training has 4", variants=shorter)


@pytest.mark.parametrize("order", [1, -1])
def test_a_criterion_is_held_to_what_its_own_variants_do(order):
    early, moved = Variant(pruning="at_start"), Variant(criterion=MOVEMENT)
    each = [("early", early), ("moved", moved), ("watching", Variant(criterion=WATCHING))]
    let_through(variants=dict(each[::order]))
    wrong = dict([*each, ("wrong", dataclasses.replace(early, criterion=WATCHING))][::order])
    first = "watching" if order == 1 else "wrong"
    refused(f"criterion of variant '{first}': koopman_magnitude watches training", variants=wrong)


def test_a_change_can_be_scored_before_training_where_there_was_some():
    early = Variant(pruning="at_start", criterion=MOVEMENT, rewind_step=2)
    let_through(variants={"early": early, "iterative": Variant(criterion=MOVEMENT)})
    let_through(variants={"early": early})
    refused(
        "criterion of variant 'now': movement scores what training changed",
        variants={"now": dataclasses.replace(early, rewind_step=0)},
    )


def test_the_first_variant_of_a_criterion_is_named():
    longer = criteria.koopman_magnitude(every=LAST + 1)
    variants = {
        "other": Variant(),
        "first": Variant(criterion=longer),
        "second": Variant(criterion=longer),
    }
    refused("^criterion of variant 'first': ", variants=variants, replicates=1)


def test_only_criteria_that_need_the_loss_are_refused_where_it_is_not_known():
    learner = cases.learner()._replace(objective=None)
    let_through(learner=learner)
    needs = {"none": Variant(), "needs": Variant(criterion=criteria.snip(), scoring=Scoring(6))}
    refused("criterion of variant 'needs': needs the loss's", learner=learner, variants=needs)
    let_through(variants=needs)


# Other choices.


def test_of_a_long_text_the_beginning_is_told(unchecked):
    refused(f"allocation: got the text '{'m' * 60}', expected an Alloc", allocation="m" * 99)
    refused("learner: got a Model, expected a Learner", learner=cases.handwritten())


def test_a_learner_that_cannot_be_repelled_is_neither_repelled_nor_attracted():
    learner = cases.learner()._replace(with_penalty=None)
    let_through(learner=learner)
    for strength in (1.0, 0.5, -0.5):
        refused(f"repulsion: got {strength:g}, expected 0", learner=learner, repulsion=strength)
    sweep = {"none": Variant(), "less": Variant(repulsion=-0.5), "more": Variant(repulsion=2.0)}
    refused("repulsion: got -0.5, expected 0", learner=learner, variants=sweep, replicates=1)


@pytest.mark.parametrize("pruning", ["oneshot", "at_start"])
@pytest.mark.parametrize("retraining", ["learning_rate", "fine_tuning"])
def test_only_iterative_pruning_goes_on_from_trained_weights(pruning, retraining):
    refused("expected 'weights': the others go on", pruning=pruning, retraining=retraining)
    let_through(retraining=retraining)
    let_through(pruning=pruning)


def test_hyperparameters_that_a_learner_would_ignore_are_told_by_the_first_variant():
    variants = {name: Variant({"learning_rate": 0.1}) for name in ("first", "second")}
    refused("hyperparameters of 'first' with a learner", variants=variants)


def test_a_learner_that_cannot_hold_weights_prunes_to_zero_alone():
    learner, arms = cases.learner()._replace(hold=None), ("ticket", "shuffle", "frozen")
    refused("arms: got frozen, expected arms that prune to zero", learner=learner, arms=arms)
    let_through(learner=learner, arms=arms[:2])
    let_through(arms=arms)


def test_variants_without_need_of_data_go_along_with_one_that_needs_some():
    needs = Variant(criterion=criteria.snip(), scoring=Scoring(6))
    let_through(variants={"none": Variant(), "needs": needs})
    let_through(variants={"needs": needs, "none": Variant(scoring=Scoring(9))})
    more = dataclasses.replace(needs, scoring=Scoring(9))
    refused(r"got scoring with \[6, 9\] examples", variants={"needs": needs, "more": more})


# Splits.


def test_every_split_is_looked_at_whatever_the_others_are():
    train, validation = cases.data().values()
    labels = validation.labels
    for given, message in (
        (validation._replace(labels=labels[1:]), "arrays have 9 and 10 rows"),
        (validation._replace(labels=np.int32(2)), "arrays have 0 and 10 rows"),
        (Examples(validation.images[:0], labels[:0]), "'validation' without examples"),
        (validation._replace(labels=labels + 3 - labels.max()), "label 3 .* expected 0 to 2: "),
        (validation._replace(labels=labels + 9), "label 11 .* the network has 3 outputs"),
    ):
        for first in (train, as_stream(train)):
            refused(f"data: got .*{message}", data={"train": first, "validation": given})


def test_all_of_a_class_can_be_drawn_and_no_more():
    labels = np.repeat(np.arange(3, dtype=np.int32), [4, 5, 6])
    split, keys = Examples(np.zeros((15, 1, 1, 1), np.uint8), labels), replicate_keys(KEY, 2)
    drawn = draw_scoring(Scoring(12), split, keys).labels
    assert [np.bincount(row).tolist() for row in drawn] == [[4, 4, 4]] * 2
    with pytest.raises(TicketError, match=r"got 15 examples .* at most 4 of each"):
        draw_scoring(Scoring(15), split, keys)
    with pytest.raises(TicketError, match=r"got 11 examples .* at most 3 of each"):
        draw_scoring(Scoring(11), split, keys)
