"""Laws of slices of the landscape: parabolas by hand, chosen directions, and many networks."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxticket import Plan, TicketError
from jaxticket.analysis import along_line, grid_around, on_grid, plane_along, plane_through
from jaxticket.population import over, populate

SIZE = 6
FREE = np.array([[True, False, True], [True, True, False]])


def parabola(seed=0):
    """L(θ) = ½ θᵀ A θ + bᵀ θ of a 2 x 3 leaf, on the device and by NumPy in float64."""
    generator = np.random.default_rng(seed)
    root = generator.normal(size=(SIZE, SIZE))
    matrix, slope = root @ root.T, generator.normal(size=SIZE)
    a, b = jnp.float32(matrix), jnp.float32(slope)

    def loss(params):
        flat = params["w"].ravel()
        return {"loss": flat @ a @ flat / 2 + b @ flat}

    def exact(w):
        flat = np.ravel(w).astype(np.float64)
        return flat @ matrix @ flat / 2 + slope @ flat

    return loss, exact


def drawn(number, seed=1):
    generator = np.random.default_rng(seed)
    return [{"w": np.float32(generator.normal(size=(2, 3)))} for _ in range(number)]


def test_a_parabola_is_a_parabola_along_every_line():
    loss, exact = parabola()
    here, way = drawn(2)
    places = np.array([-2.0, -0.5, 0.0, 0.3, 4.0])
    found = jax.jit(lambda *given: along_line(loss, *given))(here, way, places)["loss"]
    # L(θ + s φ) = L(θ) + s (L(θ + φ) − L(θ − φ)) / 2 + s² φᵀ A φ / 2.
    middle, ahead, behind = (exact(here["w"] + s * way["w"]) for s in (0, 1, -1))
    bend = (ahead + behind) / 2 - middle
    expected = middle + places * (ahead - behind) / 2 + places**2 * bend
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert abs(bend) > 1
    nowhere = along_line(lambda params: 1 / params["w"][0, 0], {"w": jnp.zeros((2, 3))}, way, [0.0])
    assert np.isinf(nowhere).all()


def test_a_plane_along_two_directions_is_spanned_by_them_as_they_are():
    loss, exact = parabola()
    here, first, second = drawn(3)
    axes = np.array([-1.0, 0.0, 2.0]), np.array([0.5, -3.0])
    sliced = lambda *given: on_grid(loss, plane_along(*given), *axes)["loss"]  # noqa: E731
    found = jax.jit(sliced)(here, first, second)
    expected = [
        [exact(here["w"] + x * first["w"] + y * second["w"]) for x in axes[0]] for y in axes[1]
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    plane = plane_along(here, first, second)
    for place, point in zip(plane.coordinates, (0, first["w"], second["w"]), strict=True):
        np.testing.assert_allclose(plane.at(*place)["w"], here["w"] + point, rtol=1e-6)
    np.testing.assert_allclose(grid_around(plane, 3, 1.0), [[-1, 0.5, 2]] * 2)


def test_a_plane_stays_in_the_subspace_of_its_mask():
    here, first, second = drawn(3)
    here = {"w": here["w"] * FREE}
    at = plane_along(here, first, second, {"w": FREE}).at(2.0, -1.5)
    np.testing.assert_allclose(
        at["w"], here["w"] + FREE * (2 * first["w"] - 1.5 * second["w"]), 1e-5
    )
    cases.assert_zero_where_pruned(at, {"w": FREE})
    # What is not prunable is free, as everywhere in `analysis.subspace`.
    cases.assert_same_bits(plane_along(here, first, second, {"w": None}).first, first)


def sliced(trio):
    """All slices through three networks."""
    loss, _ = parabola()
    through, chosen = plane_through(*trio), plane_along(*trio, {"w": FREE})
    return {
        "through": through,
        "on_grid": on_grid(loss, through, *grid_around(through, 3, 0.2), at_a_time=2),
        "chosen": on_grid(loss, chosen, jnp.arange(3.0), jnp.arange(2.0)),
        "line": along_line(loss, trio[0], trio[1], jnp.arange(-2.0, 3.0)),
    }


@pytest.mark.parametrize("plan", [Plan("map", devices=2), Plan("vmap")], ids=str)
def test_a_slice_is_the_same_alone_and_in_company(plan):
    trios = [tuple(drawn(3, seed)) for seed in range(3)]
    together = over(populate(sliced, plan), plan.padded(3))(jax.device_get(cases.stack(trios)))
    alone = jax.jit(sliced)
    for index, trio in enumerate(trios):
        cases.assert_close(cases.member(together, index), alone(trio), 1e-4)
    assert len({float(of) for of in together["line"]["loss"][:, 0]}) == 3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda one, other: plane_through(one, one, other),
            r"plane through, first and third: got w: float32\[2, 3\] and float32\[2\], expected",
        ),
        (lambda one, other: plane_along(one, other, one), "plane along, params and first: got w"),
        (lambda one, other: plane_along(one, one, one, other), "mask does not fit params: w: got"),
        (lambda one, other: plane_along(one, one, other), "plane along, params and second: got w"),
    ],
)
def test_networks_without_a_plane_are_refused_by_name(call, message):
    with pytest.raises(TicketError, match=message) as caught:
        call({"w": jnp.zeros((2, 3))}, {"w": jnp.zeros(2)})
    assert "\n" not in str(caught.value)
