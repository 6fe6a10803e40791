"""Synaptic flow is conserved, needs no data, and empties no layer."""

import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import searches

from jaxticket import Examples, Model, TicketError, allocate, criteria, learners, masks, prune
from jaxticket.criteria import Evidence
from jaxticket.imp import Scoring
from jaxticket.types import Objective

NAMES = [f"layer_{index}" for index in range(5)]
WIDTHS = (6, 4, 20, 20, 4, 3)
KEEP = masks.matching("layer_*")


def chain():
    """A deep thin perceptron of ReLUs without biases."""

    def init(key):
        generator = np.random.default_rng(0)
        sizes = itertools.pairwise(WIDTHS)
        drawn = [generator.normal(size=size) / np.sqrt(size[0]) for size in sizes]
        return dict(zip(NAMES, (jnp.asarray(w, jnp.float32) for w in drawn), strict=True)), {}

    def apply(params, model_state, x, *, train, key=None):
        x = x.reshape(x.shape[0], -1)
        for name in NAMES[:-1]:
            x = jax.nn.relu(x @ params[name])
        return x @ params[NAMES[-1]], model_state

    return Model(init, apply)


def given(seed=0):
    params, _ = chain().init(jax.random.key(0))
    objective = learners.supervised(chain(), optax.sgd(0.1)).objective
    examples = jax.tree.map(jnp.asarray, cases.examples(9, seed))
    dense = masks.ones(params, KEEP)
    return Evidence(params, params, jax.random.key(0), dense, {}, examples, objective)


@pytest.mark.parametrize("name", ["synflow", "signed_snip"])
def test_what_flows_into_a_unit_flows_out_of_it(name):
    scores = [criteria.by_name(name).score((), given())[layer] for layer in NAMES]
    largest = max(float(jnp.abs(score).max()) for score in scores)
    for before, after in itertools.pairwise(scores):
        arriving, leaving = before.sum(axis=0), after.sum(axis=1)
        np.testing.assert_allclose(arriving, leaving, rtol=1e-5, atol=1e-5 * largest)
        assert np.abs(arriving).max() > 0.1 * largest
    sums = np.array([score.sum() for score in scores])
    np.testing.assert_allclose(sums, sums[0], rtol=1e-5, atol=1e-5 * largest)


def test_synflow_is_the_share_of_all_paths():
    """Written from the definition: the sum over the paths that go through a weight."""
    evidence = given()
    sizes = [np.abs(np.asarray(evidence.final[name], np.float64)) for name in NAMES]
    scores = criteria.synflow().score((), evidence)
    for index, name in enumerate(NAMES):
        before, after = np.ones(WIDTHS[0]), np.ones(WIDTHS[-1])
        for size in sizes[:index]:
            before = before @ size
        for size in reversed(sizes[index + 1 :]):
            after = size @ after
        expected = before[:, None] * sizes[index] * after[None]
        np.testing.assert_allclose(scores[name], expected, rtol=1e-5)


def test_synflow_reads_no_data():
    one, other = (criteria.synflow().score((), given(seed)) for seed in (0, 1))
    cases.assert_same_bits(one, other)


def test_synflow_keeps_a_weight_of_every_layer_where_one_round_does_not():
    evidence = given()
    dense = masks.ones(evidence.final, KEEP)
    layers, size = len(NAMES), sum(masks.sizes(dense).values())
    allocation = allocate.globally((layers / size,))
    counts = prune.schedule(allocation, dense, 2)[1]
    assert counts == {"*": layers}

    def left(criterion):
        pruned = jax.jit(lambda: prune.prune(criterion, allocation, evidence, dense, counts))
        return list(masks.counts(pruned()).values())

    assert left(criteria.synflow()) == [1] * layers
    for once in (criteria.snip(), criteria.synflow(rounds=1)):
        kept = left(once)
        assert min(kept) == 0
        assert sum(kept) == layers


def test_normalisation_evaluates_with_the_magnitudes_of_its_state():
    model = cases.MODELS["linen_with_batch_statistics"]()
    params, _ = model.init(jax.random.key(0))
    mean = jnp.array([-0.5, 0.1, -0.2, 0.3, 0.0])
    state = {"batch_stats": {"norm": {"mean": mean, "var": jnp.arange(1.0, 6)}}}
    objective = learners.supervised(model, optax.sgd(0.1)).objective
    examples = jax.tree.map(jnp.asarray, cases.examples(9))
    evidence = Evidence(params, params, jax.random.key(0), None, state, examples, objective)
    scores = criteria.synflow().score((), evidence)
    first, last = (np.abs(np.asarray(params[n]["kernel"])) for n in ("hidden_0", "output"))
    gain = 1 / np.sqrt(np.arange(1.0, 6) + 1e-5)
    hidden = np.maximum((first.sum(axis=0) - np.abs(mean)) * gain, 0)
    assert (hidden > 0).any()
    np.testing.assert_allclose(scores["output"]["kernel"], hidden[:, None] * last, rtol=1e-4)
    through = np.where(hidden > 0, gain * last.sum(axis=1), 0)
    np.testing.assert_allclose(scores["hidden_0"]["kernel"], first * through, rtol=1e-4)


def test_a_scale_brings_a_flow_back_that_left_the_range_of_float32():
    evidence = given()
    large = evidence._replace(final=jax.tree.map(lambda leaf: leaf * 2.0**27, evidence.final))
    with pytest.raises(TicketError, match="synflow: R left the range of float32 with scale 1; "):
        criteria.synflow().score((), large)
    scaled = criteria.synflow(scale=2.0**-50).score((), large)
    plain = criteria.synflow().score((), evidence)
    # All scores have one weight of every layer as factors, and the scale twice.
    expected = jax.tree.map(lambda leaf: leaf * 2.0 ** (27 * 5 - 100), plain)
    cases.assert_same_bits(scaled, expected)


@pytest.mark.parametrize("scale", [1.0, pytest.param(2.0**-50, marks=pytest.mark.slow)])
def test_a_search_ends_where_a_flow_leaves_the_range_of_float32_and_a_scale_brings_it_back(scale):
    learner = learners.supervised(chain(), optax.sgd(0.1))
    objective = learner.objective
    # Only what is scored is so large: the networks that train are sound.
    large = lambda params: jax.tree.map(lambda leaf: leaf * 2.0**27, params)  # noqa: E731
    scored = objective._replace(
        apply=lambda params, *given, **options: objective.apply(large(params), *given, **options)
    )
    choices = {
        "learner": learner._replace(objective=scored),
        "prunable": KEEP,
        "criterion": criteria.synflow(rounds=2, scale=scale),
        "pruning": "at_start",
        "scoring": Scoring(6),
        "allocation": allocate.globally(0.5),
        "arms": ("ticket",),
        "levels": 2,
        "replicates": 1,
    }
    if scale < 1:
        mask = searches.search(**choices).network("ticket", 1, 0).mask
        assert sum(masks.counts(mask).values()) == sum(masks.sizes(mask).values()) // 2
    else:
        with pytest.raises(TicketError, match=r"criterion synflow: \d+ scores of layer_0 of repl"):
            searches.search(**choices)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: criteria.synflow(0), "rounds: got 0, expected at least 1"),
        (lambda: criteria.synflow(scale=-1.0), r"synflow: got scale -1\.0, expected more than 0"),
    ],
)
def test_a_synflow_that_cannot_be_is_refused(make, message):
    with pytest.raises(TicketError, match=message):
        make()


def test_inputs_that_ones_cannot_stand_for_are_refused():
    tokens = Objective(lambda batch: batch.labels, chain().apply, lambda outputs, batch: outputs)
    with pytest.raises(
        TicketError, match=r"synflow: the network's inputs are int32\[9\], expected"
    ):
        criteria.synflow().score((), given()._replace(objective=tokens))


def test_examples_of_another_number_give_the_same_scores():
    few = given()._replace(examples=Examples(*(leaf[:2] for leaf in given().examples)))
    cases.assert_same_bits(*(criteria.synflow().score((), e) for e in (few, given())))
