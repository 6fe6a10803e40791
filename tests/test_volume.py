"""Laws of basins and slices: ellipsoids, whose volume and radii are known, and exact planes."""

import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray
from scipy.special import gammaln

from jaxticket import Plan, TicketError, plots
from jaxticket.analysis import (
    basin_radii,
    basin_volume,
    filter_scales,
    grid_around,
    local_dimension,
    on_grid,
    plane_through,
    prunable_share,
    random_direction,
)
from jaxticket.analysis.radii import Radii
from jaxticket.population import over, populate

KEY = jax.random.key(1)
VALUES = np.array([[0.5, 1.0, 2.0], [3.0, 5.0, 9.0]], np.float32)
RISE, DIRECTIONS = 0.3, 400
FREE = np.array([[True, False, True], [True, True, False]])
ALL = np.ones((2, 3), bool)
HERE = np.full((2, 3), 0.7, np.float32)


def bowl(values):
    """A parabola with its minimum at HERE; its eigenvalues are those of the axes."""
    return lambda params: 2 + jnp.sum(values * (params["w"] - HERE) ** 2) / 2


@functools.partial(jax.jit, static_argnames="scaled")
def radii(values, free, scales, scaled=False):
    options = {"scales": {"w": scales}} if scaled else {}
    return basin_radii(
        bowl(values),
        {"w": HERE},
        {"w": free},
        KEY,
        directions=DIRECTIONS,
        rise=RISE,
        tolerance=1e-4,
        at_a_time=50,
        **options,
    )


def log_ellipsoid(values):
    """Log of ω_d Π √(2 ε / λ_i)."""
    d = len(values)
    ball = d / 2 * np.log(np.pi) - gammaln(d / 2 + 1)
    return ball + 0.5 * np.sum(np.log(2 * RISE / np.float64(values)))


@pytest.mark.parametrize("free", [ALL, FREE], ids=["all", "masked"])
def test_the_volume_of_a_bowl_is_that_of_its_ellipsoid(free):
    found = basin_volume(jax.device_get(radii(VALUES, free, VALUES)))
    expected = log_ellipsoid(VALUES[free])
    assert found.dimension == free.sum()
    assert found.reliable
    assert 0 < abs(found.log_volume - expected) < 4 * found.standard_error < 1
    assert found.mean_log_radius * found.dimension < expected
    assert "±" in found.describe()


def test_every_radius_is_that_of_its_direction():
    found = jax.device_get(radii(VALUES, FREE, VALUES))
    each = jax.jit(
        jax.vmap(
            lambda n: random_direction(
                jax.random.fold_in(KEY, n), {"w": jnp.float32(HERE)}, {"w": jnp.asarray(FREE)}
            )["w"]
        )
    )(jnp.arange(DIRECTIONS, dtype=jnp.int32))
    directions = np.float64(each)
    assert not directions[:, ~FREE].any()
    np.testing.assert_allclose(np.sum(directions**2, axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(directions.mean(axis=0), 0, atol=4 / DIRECTIONS**0.5 / 2)
    exact = np.sqrt(2 * RISE / np.sum(VALUES * directions**2, axis=(1, 2)))
    np.testing.assert_allclose(found.radii, exact, rtol=2e-4)


def test_scales_change_the_directions_and_not_the_volume():
    scales = np.float32(1 / np.sqrt(VALUES)) * 3
    found = jax.device_get(radii(VALUES, ALL, scales, scaled=True))
    # In these coordinates the ellipsoid is a ball: every direction is the same, and exact.
    np.testing.assert_allclose(found.radii, (2 * RISE) ** 0.5 / 3, rtol=2e-4)
    assert basin_volume(found).log_volume == pytest.approx(log_ellipsoid(VALUES.ravel()), abs=2e-3)
    without = np.where(FREE, scales, 0)
    left = jax.device_get(radii(VALUES, ALL, without, scaled=True))
    assert left.dimension == FREE.sum()
    assert basin_volume(left).log_volume == pytest.approx(log_ellipsoid(VALUES[FREE]), abs=2e-3)


def test_filters_have_the_root_mean_square_of_their_free_weights():
    params = {"conv": jnp.float32(np.random.default_rng(0).normal(size=(3, 3, 2, 4)))}
    free = np.random.default_rng(1).uniform(size=(3, 3, 2, 4)) < 0.5
    found = np.asarray(filter_scales(params, {"conv": jnp.asarray(free)})["conv"])
    for unit in range(4):
        own = np.asarray(params["conv"])[..., unit][free[..., unit]]
        np.testing.assert_allclose(
            found[..., unit], np.where(free[..., unit], np.sqrt(np.mean(own**2)), 0), rtol=1e-5
        )


def test_a_basin_without_a_border_and_a_network_outside_are_said():
    flat = np.zeros((2, 3), np.float32)
    found = basin_volume(jax.device_get(radii(flat, ALL, flat)))
    assert found.never_left == DIRECTIONS
    assert f"{DIRECTIONS} never left the basin, so all is a lower bound" in found.describe()
    outside = basin_volume(jax.device_get(of_cutoff(1.0)))
    assert outside.log_volume == -np.inf
    assert not outside.reliable
    within = jax.device_get(of_cutoff(2.0 + RISE))
    exact = np.sqrt(2 * RISE / 2)
    np.testing.assert_allclose(within.radii, exact, rtol=0.02)


def of_cutoff(cutoff):
    two = np.full((2, 3), 2.0, np.float32)
    options = {"directions": 2, "cutoff": cutoff, "start": 1e-2}
    return jax.jit(lambda: basin_radii(bowl(two), {"w": HERE}, {"w": ALL}, KEY, **options))()


def test_too_small_a_sample_is_no_number_alone():
    logs = np.random.default_rng(0).normal(size=50) * 0.1
    found = basin_volume(Radii(np.exp(logs), np.zeros(50, bool), np.array(10_000), np.array(0.0)))
    assert found.effective_sample_size < 2
    assert not found.reliable
    assert found.describe().startswith("no volume: effective sample size 1")
    assert np.exp(found.median_log_radius) == pytest.approx(np.median(np.exp(logs)), rel=0.01)
    low = Radii(np.exp(logs), np.zeros(50, bool), np.array(2), np.array(0.0))
    weights = np.exp(2 * logs)
    effective = basin_volume(low).effective_sample_size
    assert effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert basin_volume(low).reliable
    assert not basin_volume(low, least_effective=effective + 1).reliable


@pytest.mark.parametrize("plan", [Plan("map", devices=2), Plan("vmap")], ids=str)
def test_a_network_is_the_same_alone_and_in_company(plan):
    given = [(VALUES * scale, FREE) for scale in np.float32([1, 2, 5])]
    one = lambda network: radii(*network, VALUES)  # noqa: E731
    together = over(populate(one, plan), plan.padded(3))(cases.stack(given))
    for index, network in enumerate(given):
        alone = jax.device_get(one(network))
        cases.assert_close(cases.member(together, index), alone, 1e-5)
    volumes = basin_volume(together)
    assert volumes.log_volume.shape == (3,)
    assert (np.diff(volumes.log_volume) < 0).all()


# The local angular dimension.


def test_the_local_dimension_says_which_random_subspaces_meet_an_ellipsoid():
    """Random affine subspaces of D' dimensions at the distance R, one dimension more at a time."""
    size, distance, tries = 60, 1.5, 15
    generator = np.random.default_rng(0)
    values = np.r_[np.full(20, 1e-2), np.full(20, 2.0), np.full(20, 50.0)]
    local = float(local_dimension(values, RISE, distance, dimension=size))
    where = generator.normal(size=size)
    where *= distance / np.linalg.norm(where)

    def met(dimensions):
        """The least of ½ Σ λ x² over where + the span of random directions, against ε."""
        span = generator.normal(size=(size, dimensions))
        root = np.sqrt(values / 2)
        across = root[:, None] * span
        rest = np.linalg.solve(across.T @ across, -across.T @ (root * where))
        nearest = where + span @ rest
        return 0.5 * np.sum(values * nearest**2) < RISE

    share = {n: np.mean([met(n) for _ in range(tries)]) for n in range(3, size, 3)}
    border = next(n for n, chance in share.items() if chance >= 0.5)
    assert share[3] == 0
    assert share[size - 3] == 1
    assert abs(border - (size - local)) <= 0.1 * size


def test_the_local_dimension_of_a_list_of_a_part_and_of_a_quadrature():
    values = np.array([4.0, 1.0, 0.0, -3.0])
    radii_squared = 2 * RISE / np.array([4.0, 1.0])
    exact = np.sum(radii_squared / (radii_squared + 0.5**2)) + 2
    whole = local_dimension(values, RISE, 0.5, dimension=4)
    assert whole == pytest.approx(exact)
    assert local_dimension(values[:2], RISE, 0.5, dimension=4) == pytest.approx(exact)
    nodes = np.append(values, np.nan)[None]
    weights = np.array([[0.25, 0.25, 0.25, 0.25, 0]])
    found = local_dimension(nodes, RISE, 0.5, dimension=4, weights=weights)
    assert found == pytest.approx(exact)
    assert local_dimension(values, RISE, 0.0, dimension=4) == 4
    assert prunable_share(whole, 4) == pytest.approx(exact / 4)
    several = local_dimension(values[None], RISE, np.array([0.5, 2.0]), dimension=4)
    assert several[0] == pytest.approx(exact)
    assert several[1] < several[0]


# Slices.


def test_a_plane_contains_its_three_points_and_has_orthonormal_axes():
    points = [cases.params(seed) for seed in range(3)]

    @jax.jit
    def slices(*points):
        plane = plane_through(*points)
        axes = grid_around(plane, 4, 0.25)
        evaluate = lambda params: {"loss": jnp.sum(params["output"]["kernel"] ** 2)}  # noqa: E731
        grid = on_grid(evaluate, plane, *axes, at_a_time=3)["loss"]
        at = [plane.at(*place) for place in plane.coordinates]
        return plane, axes, grid, at, [evaluate(plane.at(axes[0][2], axes[1][1]))["loss"]]

    plane, axes, grid, at, alone = jax.device_get(slices(*points))
    for found, point in zip(at, points, strict=True):
        cases.assert_close(found, point, 1e-5)
    flat = lambda tree: np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])  # noqa: E731
    both = np.stack([flat(plane.first), flat(plane.second)]).astype(np.float64)
    np.testing.assert_allclose(both @ both.T, np.eye(2), atol=1e-6)
    distance = np.linalg.norm(flat(points[2]) - flat(points[1]))
    apart = np.linalg.norm(plane.coordinates[2] - plane.coordinates[1])
    assert apart == pytest.approx(distance, rel=1e-5)
    assert grid.shape == (4, 4)
    assert grid[1, 2] == pytest.approx(float(alone[0]), rel=1e-5)
    low, high = plane.coordinates.min(axis=0), plane.coordinates.max(axis=0)
    margin = 0.25 * (high - low).max()
    for n in range(2):
        np.testing.assert_allclose(axes[n][[0, -1]], [low[n] - margin, high[n] + margin], rtol=1e-5)


def test_three_points_on_a_line_give_a_second_axis_of_zero():
    points = [{"w": jnp.array([0.0, n, 2 * n])} for n in (0.0, 1.0, 3.0)]
    plane = jax.device_get(jax.jit(plane_through)(*points))
    assert plane.coordinates[2, 1] == pytest.approx(0, abs=1e-5)
    assert np.isfinite(plane.second["w"]).all()


# Figures.


def test_the_plane_is_drawn_with_its_three_points():
    places = np.array([[[0.0, 0.0], [2.0, 0.0], [1.0, 1.0]]])
    axis = np.linspace(-1, 3, 5)[None]
    values = np.random.default_rng(0).uniform(0.1, 2, (1, 5, 5))
    values[0, 0, 0] = np.nan
    dims = {"plane_loss": ("replicate", "row", "column"), "plane_points": ("replicate", "p", "xy")}
    dims |= {"plane_first": ("replicate", "column"), "plane_second": ("replicate", "row")}
    data = {"plane_loss": values, "plane_points": places}
    data |= {"plane_first": axis, "plane_second": axis}
    results = xarray.Dataset({name: (dims[name], value) for name, value in data.items()})
    results = results.assign_coords(p=("p", list("abc")), replicate=[0]).rename(p="point")
    axes = plots.loss_plane(results).axes[0]
    found = [[line.get_label(), *(float(of[0]) for of in line.get_data())] for line in axes.lines]
    assert found == [["a", 0, 0], ["b", 2, 0], ["c", 1, 1]]


def test_radii_are_drawn_once_a_stage_and_others_results_are_refused():
    radii = np.random.default_rng(0).lognormal(size=(2, 1, 3, 8))
    radii[1] = np.nan
    dims = ("stage", "examined", "replicate", "direction")
    results = xarray.Dataset({"radius": (dims, radii), "examined_density": ("examined", [0.04])})
    results = results.assign_coords(stage=["ticket", "reinit"], examined=[4])
    (axes,) = plots.radius_histogram(results).axes
    assert sum(bar.get_height() for bar in axes.patches) == 24
    median = np.median(radii[0])
    assert axes.lines[0].get_xdata()[0] == pytest.approx(median)
    for draw in (plots.radius_histogram, plots.loss_plane, plots.jumps_and_barriers):
        with pytest.raises(TicketError, match="of the experiment geometry"):
            draw(xarray.Dataset())


# What is refused.


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "got rise None and cutoff None, expected one of them"),
        ({"rise": 1.0, "cutoff": 1.0}, "got rise 1.0 and cutoff 1.0"),
        ({"rise": 0.0}, "got rise 0.0, expected sizes above 0"),
        ({"rise": 1.0, "directions": 0, "tolerance": 0}, "got directions 0, tolerance 0"),
        ({"rise": 1.0, "largest": 0.5}, "got largest 0.5 and start 1.0"),
    ],
    ids=str,
)
def test_sizes_that_make_no_sense_are_one_line(options, message):
    given = {"directions": 2, **options}
    with pytest.raises(TicketError, match=message) as caught:
        basin_radii(bowl(VALUES), {"w": HERE}, {"w": ALL}, KEY, **given)
    assert "\n" not in str(caught.value)


def test_what_is_no_ellipsoid_or_no_plane_is_refused():
    with pytest.raises(TicketError, match="got rise 0 and distance 1"):
        local_dimension([1.0], 0, 1.0, dimension=1)
    with pytest.raises(TicketError, match="got rise 1"):
        local_dimension([1.0], 1.0, -1.0, dimension=1)
    with pytest.raises(TicketError, match="plane through, first and second: got w: float32"):
        plane_through({"w": jnp.zeros(2)}, {"w": jnp.zeros(3)}, {"w": jnp.zeros(2)})
