"""Laws of distances between networks and masks: known vectors, exact chance, NumPy's own SVD."""

import itertools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxticket import MaskError, TicketError, masks
from jaxticket.analysis import (
    angular_distance,
    hamming_distance,
    l2_distance,
    overlap_against_chance,
    principal_components,
    relative_distance,
)

FIRST, SECOND = cases.params(0), cases.params(1)
M1, M2 = cases.mask(0), cases.mask(1, 0.7)


def kernels(tree):
    return np.concatenate([np.ravel(tree[n]["kernel"]) for n in ("hidden_0", "output")])


# Angles and distances.


@pytest.mark.parametrize(
    ("second", "expected"), [((2, 0), 0), ((1, 1), 0.5), ((0, 3), 1), ((-1, 0), 2), ((-1, 1), 1.5)]
)
def test_the_angle_of_known_vectors(second, expected):
    kept = {"w": jnp.ones(2, bool)}
    vectors = {"w": jnp.array([5.0, 0.0])}, {"w": jnp.array(second, jnp.float32)}
    np.testing.assert_allclose(angular_distance(*vectors, kept, kept), expected, atol=1e-6)


def test_the_angle_is_that_of_what_both_masks_keep():
    both = kernels(M1) & kernels(M2)
    assert both.any()
    assert not both.all()
    one, other = kernels(FIRST).astype(float) * both, kernels(SECOND).astype(float) * both
    cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    found = angular_distance(FIRST, SECOND, M1, M2)
    np.testing.assert_allclose(found, 2 * np.arccos(cosine) / np.pi, rtol=1e-5)


def test_small_angles_keep_their_digits():
    drawn = np.random.default_rng(0).normal(size=(2, 1000))
    across = drawn[1] - drawn[0] * (drawn[0] @ drawn[1]) / (drawn[0] @ drawn[0])
    across *= 1e-4 * np.linalg.norm(drawn[0]) / np.linalg.norm(across)
    kept = {"w": jnp.ones(1000, bool)}
    turned = {"w": jnp.float32(drawn[0] + across)}
    found = angular_distance({"w": jnp.float32(drawn[0])}, turned, kept, kept)
    np.testing.assert_allclose(found, 2 * np.arctan(1e-4) / np.pi, rtol=0.01)


def test_there_is_no_angle_to_nothing():
    none = jax.tree.map(jnp.zeros_like, M1)
    assert np.isnan(angular_distance(FIRST, SECOND, none, M2))


def test_euclidean_distances_are_numpys_over_all_weights_or_a_mask():
    flat = [
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(t)]) for t in (FIRST, SECOND)
    ]
    np.testing.assert_allclose(
        l2_distance(FIRST, SECOND), np.linalg.norm(flat[0] - flat[1]), rtol=1e-5
    )
    gap = (kernels(FIRST) - kernels(SECOND)) * kernels(M1)
    np.testing.assert_allclose(l2_distance(FIRST, SECOND, M1), np.linalg.norm(gap), rtol=1e-5)
    assert float(l2_distance(FIRST, FIRST)) == 0


def test_distances_are_relative_to_travel():
    starts = cases.params(2), cases.params(3)
    lengths = [
        np.linalg.norm((kernels(a) - kernels(b)) * kernels(M1))
        for a, b in ((FIRST, SECOND), (FIRST, starts[0]), (SECOND, starts[1]))
    ]
    expected = lengths[0] / (0.5 * (lengths[1] + lengths[2]))
    np.testing.assert_allclose(relative_distance(FIRST, SECOND, *starts, M1), expected, rtol=1e-5)
    assert np.isnan(relative_distance(FIRST, FIRST, FIRST, FIRST))


def test_masks_differ_where_one_keeps_and_the_other_does_not():
    differ = kernels(M1) != kernels(M2)
    np.testing.assert_allclose(hamming_distance(M1, M2), differ.mean(), rtol=1e-6)
    assert float(hamming_distance(M1, M1)) == 0
    assert float(hamming_distance(M1, jax.tree.map(jnp.logical_not, M1))) == 1


def every_distance(first, second, one, other):
    """All distances of two networks and their masks, from starts that are theirs."""
    starts = jax.tree.map(lambda leaf: leaf / 2, second), jax.tree.map(jnp.sin, first)
    return (
        angular_distance(first, second, one, other),
        l2_distance(first, second),
        l2_distance(first, second, one),
        relative_distance(first, second, *starts, one),
        hamming_distance(one, other),
        masks.overlap(one, other),
    )


def test_many_pairs_are_each_as_alone():
    pairs = [
        (cases.params(s), cases.params(s + 2), cases.mask(s), cases.mask(s + 5, 0.7))
        for s in range(2)
    ]
    together = jax.jit(jax.vmap(every_distance))(*cases.stack(pairs))
    for place, pair in enumerate(pairs):
        alone = every_distance(*pair)
        cases.assert_close(cases.member(together, place), alone)
        cases.assert_same_bits(cases.member(together, place)[4:], alone[4:])
    assert all(len(set(np.asarray(of).tolist())) == 2 for of in together)


# Overlap against chance.


def small(a, b):
    return {"a": np.array(a, bool), "b": np.array(b, bool), "bias": None}


def every_mask(size, kept):
    for chosen in itertools.combinations(range(size), kept):
        yield np.isin(np.arange(size), chosen)


def test_the_law_of_chance_is_that_of_all_masks_one_by_one():
    first = small([1, 1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0])
    seconds = [small(a, b) for a in every_mask(7, 4) for b in every_mask(5, 2)]
    shared = np.array(
        [
            [(first[n] & s[n]).sum() for n in "ab"] + [sum((first[n] & s[n]).sum() for n in "ab")]
            for s in seconds
        ]
    )
    for confidence in (0.5, 0.83, 0.95):
        found = overlap_against_chance(first, seconds[0], confidence)
        assert found.names == ("a", "b", "total")
        assert found.shared.tolist() == shared[0].tolist()
        np.testing.assert_allclose(found.expected, shared.mean(axis=0), rtol=1e-12)
        tail = (1 - confidence) / 2
        for row in range(3):
            low, high = found.low[row], found.high[row]
            assert (shared[:, row] < low).mean() <= tail < (shared[:, row] <= low).mean()
            assert (shared[:, row] > high).mean() <= tail < (shared[:, row] >= high).mean()


def test_independent_masks_are_inside_at_the_stated_rate():
    dense = {"a": np.zeros((30, 20), bool), "b": np.zeros(100, bool)}
    first = jax.tree.map(
        lambda leaf: np.arange(leaf.size).reshape(leaf.shape) < leaf.size // 5, dense
    )
    generator = np.random.default_rng(0)
    draw = lambda leaf: generator.permutation(leaf.ravel()).reshape(leaf.shape)  # noqa: E731
    found = [overlap_against_chance(first, jax.tree.map(draw, first)) for _ in range(300)]
    inside = np.mean([(one.low <= one.shared) & (one.shared <= one.high) for one in found], axis=0)
    law = stats.hypergeom(600, 120, 120)
    rate = law.cdf(found[0].high[0]) - law.cdf(found[0].low[0] - 1)
    assert 0.95 <= rate < 0.99
    low, high = stats.binom.interval(0.999, 300, rate)
    assert low <= 300 * inside[0] <= high
    assert (inside > 0.9).all()
    assert (inside < 1).any()


def test_the_total_of_large_leaves_is_that_of_the_normal_law():
    generator = np.random.default_rng(0)
    first, second = (
        {n: generator.permutation(size) < size // 10 for n, size in (("a", 200_000), ("b", 30_000))}
        for _ in range(2)
    )
    found = overlap_against_chance(first, second)
    variance = sum(stats.hypergeom(n, n // 10, n // 10).var() for n in (200_000, 30_000))
    half = stats.norm.ppf(0.975) * variance**0.5
    np.testing.assert_allclose(found.low[-1], 2300 - half, atol=2)
    np.testing.assert_allclose(found.high[-1], 2300 + half, atol=2)
    assert found.low[-1] <= found.shared[-1] <= found.high[-1]


def test_overlaps_of_many_pairs_are_each_as_alone():
    made = [[(cases.mask(3 * n + r), cases.mask(9, 0.3 + r / 5)) for r in range(3)] for n in (0, 1)]
    firsts, seconds = cases.stack([cases.stack(row) for row in made])
    found = overlap_against_chance(firsts, seconds, 0.8, axes=2)
    assert found.names == ("hidden_0/kernel", "output/kernel", "total")
    for n, r in itertools.product(range(2), range(3)):
        alone = overlap_against_chance(*made[n][r], 0.8)
        cases.assert_same_bits(cases.member(cases.member(found[1:], n), r), alone[1:])
    assert len(np.unique(found.expected[0, :, -1])) == 3


def test_levels_of_one_ticket_share_more_than_chance_and_nothing_can_be_shared():
    outer, inner = np.arange(1000) < 500, np.arange(1000) < 400
    found = overlap_against_chance({"w": outer}, {"w": inner})
    assert found.shared[0] == 400 > found.high[0]
    none = overlap_against_chance({"w": np.zeros(5, bool)}, {"w": np.ones(5, bool)})
    assert [part.tolist() for part in none[1:]] == [[0, 0]] * 4


# Trajectories.


def walk(times=5, offset=0.0):
    drawn = np.random.default_rng(0).normal(size=(times, 40)).astype(np.float32)
    drawn = np.float32(offset) + drawn * np.float32(1e-3 if offset else 1)
    return {"a": drawn[:, :24].reshape(times, 6, 4), "b": drawn[:, 24:]}


@pytest.mark.parametrize("offset", [0.0, 10.0])
def test_components_are_those_of_the_singular_values(offset):
    points = walk(offset=offset)
    flat = np.concatenate([leaf.reshape(5, -1) for leaf in points.values()], axis=1).astype(float)
    flat -= flat.mean(axis=0)
    u, s, _ = np.linalg.svd(flat, full_matrices=False)
    found = principal_components(points, 4)
    np.testing.assert_allclose(
        np.abs(found.coordinates), np.abs(u * s)[:, :4], rtol=1e-6, atol=1e-9
    )
    np.testing.assert_allclose(found.explained, (s**2 / (s**2).sum())[:4], rtol=1e-8)
    for column in found.coordinates.T:
        assert column[np.abs(column).argmax()] > 0


def test_all_components_together_keep_every_distance():
    points = walk(3)
    flat = np.concatenate([leaf.reshape(3, -1) for leaf in points.values()], axis=1).astype(float)
    found = principal_components(points, 2)
    for i, j in itertools.combinations(range(3), 2):
        expected = np.linalg.norm(flat[i] - flat[j])
        np.testing.assert_allclose(
            np.linalg.norm(found.coordinates[i] - found.coordinates[j]), expected
        )
    assert found.explained.sum() == pytest.approx(1)


def test_many_walks_are_each_as_alone_and_what_is_not_finite_shows():
    bad = walk()
    bad["b"] = bad["b"].copy()
    bad["b"][2, 3] = np.inf
    walks = [walk(), jax.tree.map(lambda leaf: leaf[::-1] ** 2, walk()), bad]
    together = principal_components(cases.stack(walks), 3, axes=1)
    for place, one in enumerate(walks):
        alone = principal_components(one, 3)
        np.testing.assert_allclose(together.coordinates[place], alone.coordinates, atol=1e-12)
        np.testing.assert_allclose(together.explained[place], alone.explained, atol=1e-12)
    assert np.isnan(together.coordinates[2]).all()
    assert np.isfinite(together.coordinates[:2]).all()
    still = principal_components({"w": np.ones((3, 2))})
    assert not still.coordinates.any()
    assert np.isnan(still.explained).all()


# What is refused.


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: angular_distance(FIRST, {"w": jnp.ones(2)}, M1, M2),
            "angular distance, first and second: got .*hidden_0/bias",
        ),
        (
            lambda: l2_distance({"w": jnp.ones(2)}, {"w": jnp.ones(3)}),
            r"l2 distance, first and second: got w: float32\[2\] and float32\[3\], expected",
        ),
        (
            lambda: relative_distance(FIRST, FIRST, {"w": jnp.ones(2)}, FIRST),
            "relative distance, first and first_start: got",
        ),
        (
            lambda: relative_distance(FIRST, FIRST, FIRST, {"w": jnp.ones(2)}),
            "relative distance, second and second_start: got",
        ),
        (
            lambda: angular_distance(FIRST, SECOND, M1, M1["output"]),
            "angular distance, first_mask and second_mask: got masks over",
        ),
        (
            lambda: angular_distance(FIRST, SECOND, *[{**M1, "output": M1["hidden_0"]}] * 2),
            r"mask does not fit params: output/kernel: got bool\[6, 5\], expected bool\[5, 3\]",
        ),
        (lambda: l2_distance(FIRST, SECOND, {"w": None}), "mask does not fit .* w: not in params"),
        (lambda: hamming_distance({"w": jnp.ones(2, bool)}, {"w": jnp.ones(3, bool)}), "hamming d"),
        (lambda: hamming_distance(M1, {"w": None}), "and over nothing, expected"),
        (lambda: overlap_against_chance(M1, M2, 1.0), "confidence: got 1.0"),
        (lambda: overlap_against_chance(M1, {"w": np.ones(2, bool)}), "expected the same prunable"),
        (lambda: principal_components(walk(), 5), "components: got 5 of 5 points, expected 1 to 4"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call, message):
    with pytest.raises(TicketError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_leaves_without_weights_change_no_comparison():
    first, second = np.arange(40) < 20, np.arange(40) % 2 < 1
    empty = np.ones((0, 3), bool)
    found = overlap_against_chance({"e": empty, "w": first}, {"e": empty, "w": second})
    alone = overlap_against_chance({"w": first}, {"w": second})
    for column, wanted in zip(found[1:], alone[1:], strict=True):
        assert column.tolist() == [0, *wanted.tolist()]
    assert hamming_distance({"e": empty, "w": first}, {"e": empty, "w": second}) == 0.5


@pytest.mark.parametrize("mask", [{"w": None}, {"w": np.ones((0, 3), bool)}], ids=["none", "empty"])
@pytest.mark.parametrize("compare", [hamming_distance, overlap_against_chance])
def test_masks_without_prunable_weights_have_no_distance(compare, mask):
    with pytest.raises(MaskError, match="got masks without prunable weights"):
        compare(mask, mask)
