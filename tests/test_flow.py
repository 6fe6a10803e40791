"""Laws of the flow of iterative pruning: what is planted is found, what is not learned is null."""

import functools
import itertools

import cases
import jax
import numpy as np
import pytest
from scipy import stats

from jaxticket import TicketError, allocate, criteria, masks, prune
from jaxticket.analysis.flow import (
    fit_flow,
    flow_distance,
    flow_distances,
    flow_intervals,
    magnitude_shares,
    sign_pattern,
    untrained_masks,
)

DENSITIES = 0.8 ** np.arange(8)
LAYERS = {"a": (30, 40), "b": (40, 20), "c": (20, 10)}
SCALES = {"a": 0.3, "b": 1.0, "c": 2.0}


def planted(*exponents):
    """Shares that grow as the scale to these powers; a last layer holds what is left."""
    grows = 0.1 * DENSITIES[:, None] ** -np.array(exponents)
    return np.concatenate([grows, 1 - grows.sum(axis=1, keepdims=True)], axis=1)


# Shares.


def test_shares_are_the_definition_and_sum_to_one():
    params, mask = cases.params(0), cases.mask(1)
    found = magnitude_shares(params, mask)
    assert found.names == ("hidden_0/kernel", "output/kernel")
    kernels = [(params[n]["kernel"], mask[n]["kernel"]) for n in ("hidden_0", "output")]
    sums = [
        sum(abs(float(p)) for p, m in zip(np.ravel(p), np.ravel(m), strict=True) if m)
        for p, m in kernels
    ]
    np.testing.assert_allclose(found.values, np.array(sums) / sum(sums), rtol=1e-12)
    assert abs(found.values.sum() - 1) < 1e-15


def test_many_networks_are_each_as_alone():
    params = cases.stack([cases.stack([cases.params(s + r) for s in (0, 3)]) for r in range(3)])
    mask = cases.stack([cases.stack([cases.mask(s + r) for s in (0, 3)]) for r in range(3)])
    found = magnitude_shares(params, mask, axes=2).values
    assert found.shape == (3, 2, 2)
    for r, s in itertools.product(range(3), range(2)):
        alone = magnitude_shares(cases.params(3 * s + r), cases.mask(3 * s + r))
        np.testing.assert_allclose(found[r, s], alone.values, rtol=1e-12)
    flow = fit_flow(np.stack([planted(0.5), planted(-0.2)]), DENSITIES)
    for row, sigma in enumerate((0.5, -0.2)):
        alone = fit_flow(planted(sigma), DENSITIES)
        np.testing.assert_array_equal(flow.exponents[row], alone.exponents)
        np.testing.assert_array_equal(flow.r_squared[row], alone.r_squared)


def test_sums_are_exact_where_float32_is_not():
    weights = np.concatenate([[2.0**24], np.ones(2**10)]).astype(np.float32)
    params = {"a": weights, "b": np.float32([2.0**24 + 2**10])}
    found = magnitude_shares(params, jax.tree.map(lambda leaf: np.ones(leaf.shape, bool), params))
    assert found.values.tolist() == [0.5, 0.5]


def test_leaves_are_grouped_into_blocks_by_their_paths():
    params, mask = cases.params(0), cases.mask(0)
    each = magnitude_shares(params, mask).values
    named = magnitude_shares(params, mask, blocks={"*": "rest", "output/*": "last"})
    assert named.names == ("rest", "last")
    np.testing.assert_array_equal(named.values, each)
    whole = magnitude_shares(params, mask, blocks={"*": "whole"})
    assert (whole.names, whole.values.tolist()) == (("whole",), [1.0])


def test_what_is_not_finite_and_what_is_empty_is_shown():
    params = {"a": np.float32([1, np.nan]), "b": np.float32([1, 3])}
    kept = np.ones(2, bool)
    assert np.isnan(magnitude_shares(params, {"a": kept, "b": kept}).values).all()
    without = magnitude_shares(params, {"a": np.array([True, False]), "b": kept}).values
    assert without.tolist() == [0.2, 0.8]
    assert magnitude_shares(params, {"a": ~kept, "b": kept}).values.tolist() == [0, 1]
    assert np.isnan(magnitude_shares(params, {"a": ~kept, "b": ~kept}).values).all()


# Exponents.


@pytest.mark.parametrize("sigma", [0.7, -0.4, 0.0])
def test_a_planted_eigenvalue_is_recovered(sigma):
    flow = fit_flow(planted(sigma), DENSITIES)
    np.testing.assert_allclose(flow.exponents[0], sigma, atol=1e-12)
    np.testing.assert_allclose(flow.eigenvalues[0], 1.25**sigma, rtol=1e-12)
    assert flow.scale == pytest.approx(1.25)
    assert flow.residuals[0] < 1e-12 < flow.residuals[1] or sigma == 0
    assert np.isnan(flow.r_squared[0]) if sigma == 0 else flow.r_squared[0] == pytest.approx(1)
    assert flow.intercepts[0] == pytest.approx(np.log(0.1))


def test_the_fit_is_that_of_scipy_on_the_level_and_on_unequal_steps():
    noise = np.random.default_rng(0).normal(0, 0.1, (8, 3))
    shares = np.exp(noise) / np.exp(noise).sum(axis=1, keepdims=True)
    flow = fit_flow(shares, DENSITIES, window=(2, 7))
    for layer in range(3):
        line = stats.linregress(np.arange(2, 7), np.log(shares[2:7, layer]))
        assert np.log(flow.eigenvalues[layer]) == pytest.approx(line.slope)
        assert flow.exponents[layer] == pytest.approx(line.slope / np.log(1.25))
        assert flow.r_squared[layer] == pytest.approx(line.rvalue**2)
    densities = np.array([1, 0.9, 0.5, 0.45, 0.1])
    uneven = np.stack([0.2 * densities**-0.3, 1 - 0.2 * densities**-0.3], axis=1)
    assert fit_flow(uneven, densities).exponents[0] == pytest.approx(0.3)
    assert fit_flow(uneven, densities).scale == pytest.approx(10**0.25)


def test_a_share_that_is_no_eigenfunction_shows_in_the_fit():
    bent = 0.1 + 0.3 * np.sin(np.arange(8)) ** 2
    flow = fit_flow(np.stack([bent, 1 - bent], axis=1), DENSITIES)
    assert flow.r_squared[0] < 0.5
    assert flow.residuals[0] > 0.3


def test_an_emptied_layer_has_no_exponent_and_says_at_which_level():
    shares = planted(0.5, -0.5)
    shares[5:, 1] = 0
    flow = fit_flow(shares, DENSITIES)
    assert flow.emptied.tolist() == [-1, 5, -1]
    assert np.isnan(flow.exponents).tolist() == [False, True, False]
    before = fit_flow(shares, DENSITIES, window=(0, 5))
    assert before.exponents[1] == pytest.approx(-0.5)
    assert sign_pattern(np.array([[0.5, np.nan], [0.6, -0.5]])) == ("marginal", "emptied")


def test_a_diverged_replicate_empties_no_layer():
    shares = np.stack([planted(0.5, -0.5), planted(0.6, -0.4), np.full((8, 3), np.nan)])
    flow = fit_flow(shares, DENSITIES)
    assert (flow.emptied == -1).all()
    assert sign_pattern(flow.exponents) == ("undecided",) * 3
    shares[1, 5:, 1] = 0
    exponents = fit_flow(shares, DENSITIES).exponents
    assert sign_pattern(exponents) == ("undecided", "emptied", "undecided")


def test_signs_are_those_of_the_interval():
    exponents = np.array([[1.0, -1.0, 0.1], [1.1, -1.2, -0.1], [0.9, -1.1, 0.05]])
    assert sign_pattern(exponents) == ("relevant", "irrelevant", "marginal")
    assert sign_pattern(exponents[:1]) == ("undecided",) * 3


def test_intervals_are_those_of_scipy_and_say_of_how_many_replicates():
    shares = np.stack([planted(*pair) for pair in ((0.5, -0.4), (0.7, -0.1), (0.6, -0.3))])
    flow = fit_flow(shares, DENSITIES)
    for values, confidence in ((flow.exponents, 0.95), (flow.eigenvalues, 0.8)):
        found = flow_intervals(values, confidence)
        expected = stats.t.interval(confidence, 2, values.mean(axis=0), stats.sem(values))
        ends = np.array([one[:3] for one in found]).T
        np.testing.assert_allclose(ends, [values.mean(axis=0), *expected], rtol=1e-10)
        assert [one.number for one in found] == [3, 3, 3]
    assert (ends[1] < ends[0]).all()
    shares[1, 5:, 1] = 0
    shares[2] = np.nan
    found = flow_intervals(fit_flow(shares, DENSITIES).exponents)
    assert [one.number for one in found] == [2, 1, 2]
    assert np.isinf(found[1].high)


# Nulls.


@functools.cache
def untrained(name, number=100):
    """Shares over levels of many untrained networks, pruned globally by a criterion."""
    allocation = allocate.globally(0.2)
    dense = {path: np.ones(shape, bool) for path, shape in LAYERS.items()}
    counts = prune.schedule(allocation, dense, len(DENSITIES))
    criterion = criteria.by_name(name)

    generator = np.random.default_rng(0)
    params = {
        path: generator.normal(0, SCALES[path], (number, *shape)).astype(np.float32)
        for path, shape in LAYERS.items()
    }
    one = lambda key, params: untrained_masks(key, params, dense, criterion, allocation, counts)  # noqa: E731
    keys = jax.random.split(jax.random.key(1), number)
    made = jax.device_get(jax.jit(jax.vmap(one))(keys, params))
    repeated = jax.tree.map(lambda leaf: np.repeat(leaf[:, None], len(DENSITIES), 1), params)
    return params, made, counts, magnitude_shares(repeated, made, axes=2).values


@pytest.mark.parametrize("name", ["random", "magnitude"])
def test_untrained_masks_are_nested_exact_and_the_criterions_own(name):
    params, made, counts, _ = untrained(name)
    for level, wanted in enumerate(counts):
        here = {path: leaf[0, level] for path, leaf in made.items()}
        assert sum(masks.counts(here).values()) == wanted["*"]
        if level:
            assert masks.is_subset(here, {path: leaf[0, level - 1] for path, leaf in made.items()})
    if name == "magnitude":
        last = np.concatenate([np.abs(params[path][0])[made[path][0, -1]] for path in LAYERS])
        gone = np.concatenate([np.abs(params[path][0])[~made[path][0, -1]] for path in LAYERS])
        assert last.min() > gone.max()


@pytest.mark.parametrize("name", ["random", "magnitude"])
def test_many_untrained_flows_are_each_as_alone(name):
    params, made, counts, _ = untrained(name)
    dense = {path: np.ones(shape, bool) for path, shape in LAYERS.items()}
    choices = criteria.by_name(name), allocate.globally(0.2), counts
    one = jax.jit(lambda key, params: untrained_masks(key, params, dense, *choices))
    keys = jax.random.split(jax.random.key(1), 100)
    for place in (0, 57, 99):
        alone = one(keys[place], cases.member(params, place))
        cases.assert_same_bits(cases.member(made, place), alone)


def test_random_pruning_is_a_fixed_point_at_the_rate_of_its_interval():
    shares = untrained("random")[-1]
    np.testing.assert_allclose(shares.sum(axis=-1), 1, atol=1e-6)
    exponents = fit_flow(shares, DENSITIES).exponents.reshape(20, 5, 3)
    marginal = [sign == "marginal" for group in exponents for sign in sign_pattern(group)[:2]]
    # 40 intervals of 95 %, two layers of three, since the sum fixes the third.
    low, high = stats.binom.interval(0.999, 40, 0.95)
    assert low <= sum(marginal) <= high
    moved = shares[:, -1] - shares[:, 0]
    assert (np.abs(moved.mean(axis=0)) < 4 * moved.std(axis=0) / 100**0.5).all()
    assert moved.std(axis=0).min() > 1e-3


def test_magnitude_pruning_without_training_is_its_closed_form():
    """Gaussian layers: Σ|θ| above a threshold t is N s √(2/π) exp(−t²/2s²), N 2Φ(−t/s) are left."""
    number = np.array([np.prod(shape) for shape in LAYERS.values()])
    scale = np.array([SCALES[path] for path in LAYERS])
    left = lambda t: (number * 2 * stats.norm.sf(t / scale)).sum() / number.sum()  # noqa: E731
    grid = np.linspace(0, 8, 100_001)
    kept = np.array([left(t) for t in grid[::100]])
    thresholds = np.interp(DENSITIES, kept[::-1], grid[::100][::-1])
    mass = number * scale * np.exp(-(thresholds[:, None] ** 2) / (2 * scale**2))
    expected = mass / mass.sum(axis=1, keepdims=True)
    found = untrained("magnitude")[-1].mean(axis=0)
    np.testing.assert_allclose(found, expected, atol=0.004)
    flow = fit_flow(untrained("magnitude")[-1][:5], DENSITIES)
    # The layer of the smallest weights goes first; the flow comes of the scales alone.
    assert sign_pattern(flow.exponents) == ("irrelevant", "relevant", "relevant")


# Distances.


def test_distances_are_the_root_mean_square_over_layers():
    first, second = np.random.default_rng(0).normal(size=(2, 4, 3))
    found = flow_distances(first, second)
    for r, s in itertools.product(range(4), range(4)):
        expected = np.sqrt(sum((first[r] - second[s]) ** 2) / 3)
        assert found[r, s] == pytest.approx(expected)
    assert np.diag(flow_distances(first, first)).tolist() == [0] * 4


@pytest.mark.parametrize("paired", [False, True])
def test_the_squared_distance_is_free_of_noise_in_the_mean_and_its_interval_holds_it(paired):
    generator, found = np.random.default_rng(3), []
    means = np.array([0.5, -0.2, 0.1]), np.array([0.1, 0.1, -0.3])
    truth = ((means[0] - means[1]) ** 2).mean()
    for _ in range(400):
        shared = generator.normal(0, 0.3, (6, 3)) * paired
        samples = [shared + generator.normal(mean, 0.1, (6, 3)) for mean in means]
        found.append(flow_distance(*samples, paired=paired))
    mean = np.mean([one.mean for one in found])
    error = np.std([one.mean for one in found]) / 20
    assert abs(mean - truth) < 4 * error
    covered = np.mean([one.low <= truth <= one.high for one in found])
    assert covered > 0.9
    assert found[0].number == (6 if paired else 12)


def test_no_distance_is_nothing_in_the_mean():
    generator = np.random.default_rng(5)
    draws = [flow_distance(*generator.normal(0, 1, (2, 5, 3))) for _ in range(400)]
    values = np.array([one.mean for one in draws])
    assert abs(values.mean()) < 4 * values.std() / 20
    assert (values < 0).mean() > 0.3
    naive = np.mean(
        [((a.mean(0) - b.mean(0)) ** 2).mean() for a, b in generator.normal(0, 1, (400, 2, 5, 3))]
    )
    assert naive > 0.3


def test_a_distance_with_too_few_replicates_or_an_emptied_layer_is_no_number_alone():
    sigma = np.array([[0.5, 0.1], [0.4, 0.2], [0.6, 0.3]])
    assert np.isinf(flow_distance(sigma[:2], sigma).high)
    assert np.isnan(flow_distance(sigma[:1], sigma).mean)
    gone = sigma.copy()
    gone[0, 1] = np.nan
    assert np.isnan(flow_distance(gone, sigma).mean)
    assert np.isnan(flow_distances(gone, sigma)).tolist() == [[True] * 3, [False] * 3, [False] * 3]


# What is refused.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fit_flow(planted(0.1), DENSITIES[:5]), r"got shares \[8, 2\] and densities \[5\]"),
        (lambda: fit_flow(planted(0.1), DENSITIES[::-1]), "densities: got .* each below the one"),
        (lambda: fit_flow(planted(0.1), DENSITIES, (3, 4)), r"window: got \(3, 4\), expected at"),
        (lambda: sign_pattern(np.zeros(3)), r"exponents: got shape \[3\], expected \[replicates"),
        (lambda: flow_intervals(np.zeros(3)), r"exponents: got shape \[3\], expected \[replicates"),
        (lambda: flow_distance(np.zeros((3, 2)), np.zeros((3, 4))), "flows: got 2 and 4 layers"),
        (
            lambda: flow_distance(np.zeros((3, 2)), np.zeros((4, 2)), paired=True),
            "got 3 and 4 replicates, expected as many",
        ),
        (lambda: magnitude_shares({"a": np.ones(2)}, {"a": None}), "without prunable leaves"),
        (
            lambda: magnitude_shares(cases.params(), cases.mask(), blocks={"output/*": "last"}),
            "blocks .*no pattern for .'hidden_0/kernel'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, message):
    with pytest.raises(TicketError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
