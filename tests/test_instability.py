"""Laws of instability analysis: against copies that are trained and compared by hand."""

import functools

import cases
import jax
import numpy as np
import pytest

from jaxticket import Plan, Protocol, TicketError, train
from jaxticket.analysis import barriers, instability
from jaxticket.learners import TrainState

PROTOCOL = Protocol(steps=12, batch_size=6, evaluate_every=5)
BEGIN, REPLICATES, COPIES = 4, 3, 3
LEARNER = cases.learner(optimizer="adam")
EXAMPLES, TEST = cases.examples(26), cases.examples(40, seed=1)
KEYS = jax.random.split(jax.random.key(7), (REPLICATES, COPIES))
PAIRS = [[0, 1], [0, 2], [1, 2]]


@functools.cache
def beginnings():
    """States at step k, with moments of their own, and the masks of every replicate."""
    masks = cases.stack([cases.mask(seed) for seed in range(REPLICATES)])
    states = jax.jit(jax.vmap(LEARNER.init))(jax.random.split(jax.random.key(0), REPLICATES))
    moved = lambda leaf: leaf + np.asarray(leaf.dtype.kind == "f", leaf.dtype) / 100  # noqa: E731
    states = states._replace(opt_state=jax.tree.map(moved, jax.device_get(states.opt_state)))
    return jax.device_get((states, masks))


def measured(plan=Plan("map"), keys=KEYS, begins=BEGIN, rows=slice(None), **choices):  # noqa: B008
    states, masks = jax.tree.map(lambda leaf: leaf[rows], beginnings())
    given = LEARNER, states, masks, EXAMPLES, TEST, keys, PROTOCOL, plan, begins
    return instability(*given, **{"points": 5, "metric": "loss", **choices})


@functools.cache
def together():
    return measured()


@functools.cache
def by_hand():
    """Every copy of every replicate trained alone, `[replicates][copies]`."""
    states, masks = beginnings()
    data = {"train": EXAMPLES}
    run = jax.jit(lambda *own: train.train(LEARNER, data, *own, PROTOCOL, start=BEGIN)[0].learner)
    own = [(cases.member(states, r), cases.member(masks, r)) for r in range(REPLICATES)]
    return [[jax.device_get(run(*own[r], key)) for key in KEYS[r]] for r in range(REPLICATES)]


def test_it_is_the_barriers_between_copies_that_were_trained_by_hand():
    found, trained = together(), by_hand()
    assert found["pairs"].tolist() == PAIRS
    assert found["barriers"].dtype == np.float64
    for r in range(REPLICATES):
        for place, copy in enumerate(trained[r]):
            ours = cases.member(cases.member(found["copies"], r), place)
            cases.assert_close(ours.params, copy.params, 1e-6)
        one, other = (
            cases.stack([TrainState(trained[r][pair[side]].params, {}, ()) for pair in PAIRS])
            for side in (0, 1)
        )
        expected = barriers(LEARNER, trained[r][0], one, other, TEST, Plan("map"), 5, "loss")
        np.testing.assert_allclose(found["curves"][r], expected["curves"], atol=1e-6)
        np.testing.assert_allclose(found["barriers"][r], expected["barriers"], atol=1e-6)
    # Copies of other keys did go apart, under their mask.
    kernels = found["copies"].params["output"]["kernel"]
    assert np.ptp(kernels, axis=1).max(axis=(1, 2)).min() > 1e-3
    assert found["barriers"].min() > 0
    _, masks = beginnings()
    copied = jax.tree.map(lambda leaf: np.repeat(leaf[:, None], COPIES, axis=1), masks)
    cases.assert_zero_where_pruned(found["copies"].params, copied)


def test_copies_of_one_order_have_no_barrier():
    same = KEYS[:, [0, 0]]
    for metric in ("loss", "accuracy"):
        found = measured(keys=same, metric=metric)
        assert found["barriers"].tolist() == [[0.0]] * REPLICATES
        assert np.ptp(found["curves"], axis=-1).tolist() == [[0.0]] * REPLICATES


@pytest.mark.parametrize("plan", cases.slow_but("map_on_2", ["map_on_2", "vmap_on_1"]))
def test_replicates_are_each_as_alone(plan):
    found = measured(cases.PLANS[plan]())
    compare = cases.assert_same_bits if plan.startswith("map") else cases.assert_close
    names = "barriers", "curves", "copies"
    for r in range(REPLICATES):
        alone = measured(keys=KEYS[r : r + 1], rows=slice(r, r + 1))
        compare(
            *({n: cases.member(of[n], at) for n in names} for of, at in ((found, r), (alone, 0)))
        )


def test_several_steps_k_are_one_population():
    found = measured(begins=[2, BEGIN, 9])
    for r, step in enumerate((2, BEGIN, 9)):
        alone = measured(begins=step, keys=KEYS[r : r + 1], rows=slice(r, r + 1))
        cases.assert_close(found["curves"][r], alone["curves"][0], 1e-6)
        cases.assert_close(
            found["copies"].params["output"]["kernel"][r],
            alone["copies"].params["output"]["kernel"][0],
            1e-6,
        )
    assert not np.allclose(found["curves"][2], together()["curves"][2])


def test_batch_statistics_are_chosen_as_of_any_path():
    ten = lambda params, model_state: model_state  # noqa: E731
    found = measured(statistics="recomputed", recompute=ten)
    np.testing.assert_array_equal(found["curves"], together()["curves"])


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: measured(keys=KEYS[0]),
            r"instability: got keys \[3\], expected \[replicates, cop",
        ),
        (lambda: measured(keys=KEYS[:, :1]), r"got keys \[3, 1\], .* 2 copies or more; make them"),
        (lambda: measured(keys=KEYS[:2]), r"instability: got states of \[3\] along axis 0, expec"),
        (lambda: measured(begins=[1, 2]), r"got begins of \[2\] along axis 0, expected 3, as many"),
        (lambda: measured(begins=[1, 2, 12]), "rewind step: got 12, expected 0 to 11, before the"),
        (lambda: measured(points=1), "points: got 1, expected at least 2"),
    ],
)
def test_what_cannot_be_copied_is_refused_in_one_line(call, message):
    with pytest.raises(TicketError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
