"""Slices of the landscape: along a line, in the plane of three networks or of two directions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxticket import masks
from jaxticket.analysis.comparable import check_alike
from jaxticket.analysis.projection import dot
from jaxticket.analysis.subspace import along, norm, scaled
from jaxticket.types import Mask, Params, PyTree

Evaluate = Callable[[Params], Any]
"""`evaluate(params) -> metrics`, or any tree of arrays."""


class Plane(NamedTuple):
    """A plane in the space of params.

    Attributes:
      origin: a point of it, the first of three.
      first: the first axis; of `plane_through` a unit vector, from the first point to the second.
      second: the second axis; of `plane_through` a unit vector orthogonal to the first, on the
        third point's side, zero where the three points lie on a line.
      coordinates: of the three points, `float[3, 2]`; of `plane_along` those of the network and
        of the ends of both directions.
    """

    origin: Params
    first: Params
    second: Params
    coordinates: Float[Array, "3 2"]

    def at(self, first: Any, second: Any) -> Params:
        """Gives the point with these coordinates: origin + x · first + y · second."""
        return along(along(self.origin, self.first, first), self.second, second)


def plane_through(first: Params, second: Params, third: Params) -> Plane:
    """Gives the plane through three networks, with orthonormal axes (Gram-Schmidt).

    Distances in the plane are distances between weights: the axes have one unit.

    Args:
      first: the origin, such as a trained network.
      second: on the first axis, such as the same network pruned.
      third: the pruned network trained again.

    Returns:
      The plane.

    Raises:
      TicketError: for networks of different shapes.

    Example:
      >>> points = [{"w": jnp.array(w)} for w in ([1.0, 1.0], [3.0, 1.0], [2.0, 5.0])]
      >>> plane_through(*points).coordinates.tolist()
      [[0.0, 0.0], [2.0, 0.0], [1.0, 4.0]]

    Source: 1802.10026, section 3, whose curve lies in such a plane (unverified).
    """
    check_alike(first, second, "plane through, first and second")
    check_alike(first, third, "plane through, first and third")
    towards = lambda point: jax.tree.map(jnp.subtract, point, first)  # noqa: E731
    one, width = _unit(towards(second))
    across = towards(third)
    shift = dot(one, across)
    # Twice, as what is taken away once leaves rounding where the third point is near the axis.
    rest = along(across, one, -shift)
    rest = along(rest, one, -dot(one, rest))
    other, height = _unit(rest)
    zero = jnp.zeros_like(width)
    coordinates = jnp.stack([zero, zero, width, zero, shift, height]).reshape(3, 2)
    return Plane(first, one, other, coordinates)


def plane_along(params: Params, first: Params, second: Params, mask: Mask = None) -> Plane:
    """Gives the plane through a network along two directions: θ + x δ + y η.

    The directions stay as they are, neither made orthogonal nor of one length: coordinates count
    in them, so that filter-normalised directions and eigenvectors keep their scale.

    Args:
      params: θ, the origin.
      first: δ, such as `subspace.random_direction` times `subspace.filter_scales`, or an
        eigenvector.
      second: η, likewise.
      mask: which coordinates are free, as in `analysis.subspace`: the directions are zero
        elsewhere, so that what is pruned stays so in all of the plane; every one if `None`.

    Returns:
      The plane.

    Raises:
      TicketError: for directions or a mask of other shapes than the network's.

    Example:
      >>> theta, first, second = ({"w": jnp.array(w)} for w in ([1.0, 0.0], [2.0, 5.0], [0.0, 3.0]))
      >>> plane = plane_along(theta, first, second, {"w": jnp.array([True, False])})
      >>> plane.at(-1.0, 4.0)["w"].tolist()
      [-1.0, 0.0]

    Source: 1712.09913, section 3 (unverified).
    """
    check_alike(params, first, "plane along, params and first")
    check_alike(params, second, "plane along, params and second")
    if mask is not None:
        masks.check(mask, params)
        first, second = (masks.apply(direction, mask) for direction in (first, second))
    return Plane(params, first, second, jnp.array([[0, 0], [1, 0], [0, 1]], jnp.float32))


def along_line(evaluate: Evaluate, params: Params, direction: Params, places: Any) -> PyTree:
    """Evaluates a network along a direction: E(θ + s φ) at every s, one after the other.

    Args:
      evaluate: `evaluate(params) -> metrics`.
      params: θ.
      direction: φ, such as from `subspace.random_direction`, or an eigenvector.
      places: s, `float[points]`.

    Returns:
      `[points]` by metric; not finite where it is not.

    Example:
      >>> bowl = lambda params: {"loss": jnp.sum(params["w"] ** 2)}
      >>> here, way = {"w": jnp.zeros(1)}, {"w": jnp.ones(1)}
      >>> along_line(bowl, here, way, jnp.array([-1.0, 0.0, 2.0]))["loss"].tolist()
      [1.0, 0.0, 4.0]

    Source: 1712.09913, section 3 (unverified).
    """
    places = jnp.asarray(places, jnp.float32)
    return jax.lax.map(lambda place: evaluate(along(params, direction, place)), places)


def on_grid(
    evaluate: Evaluate, plane: Plane, first: Any, second: Any, *, at_a_time: int = 1
) -> PyTree:
    """Evaluates networks on a grid in a plane.

    Args:
      evaluate: `evaluate(params) -> metrics`.
      plane: from `plane_through` or `plane_along`.
      first: coordinates along the first axis, `float[columns]`.
      second: along the second, `float[rows]`.
      at_a_time: networks that are evaluated together.

    Returns:
      `[rows, columns]` of every number that `evaluate` gives, as `matplotlib.axes.Axes.contour`
      takes it; not finite where it is not.

    Example:
      >>> points = [{"w": jnp.array(w)} for w in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0])]
      >>> evaluate = lambda params: {"loss": params["w"][0] + 10 * params["w"][1]}
      >>> on_grid(evaluate, plane_through(*points), [0.0, 1.0], [0.0, 1.0])["loss"].tolist()
      [[0.0, 1.0], [10.0, 11.0]]

    Source: 1802.10026, figure 1 (unverified).
    """
    columns, rows = jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32)
    shape = rows.size, columns.size
    places = jnp.stack(
        [jnp.broadcast_to(columns[None], shape), jnp.broadcast_to(rows[:, None], shape)], axis=-1
    ).reshape(-1, 2)
    values = jax.lax.map(
        lambda place: evaluate(plane.at(place[0], place[1])), places, batch_size=at_a_time
    )
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), values)


def grid_around(plane: Plane, points: int, margin: float) -> tuple[Array, Array]:
    """Gives evenly spaced coordinates around the three points of a plane.

    Args:
      plane: from `plane_through`.
      points: along each axis.
      margin: what lies beyond the points on each side, in their larger extent of the two.

    Returns:
      `float[points]` along the first axis and along the second.

    Example:
      >>> points = [{"w": jnp.array(w)} for w in ([0.0, 0.0], [2.0, 0.0], [0.0, 1.0])]
      >>> [axis.tolist() for axis in grid_around(plane_through(*points), 3, 0.5)]
      [[-1.0, 1.0, 3.0], [-1.0, 0.5, 2.0]]
    """
    low, high = plane.coordinates.min(axis=0), plane.coordinates.max(axis=0)
    beyond = margin * jnp.max(high - low)
    shares = jnp.linspace(0, 1, points, dtype=jnp.float32)[:, None]
    both = (low - beyond)[None] + shares * (high - low + 2 * beyond)[None]
    return both[:, 0], both[:, 1]


def _unit(vector: Params) -> tuple[Params, Float[Array, ""]]:
    """Gives a vector's direction and length; the zero vector of what has no length."""
    length = norm(vector)
    return scaled(vector, jnp.where(length > 0, 1 / jnp.where(length > 0, length, 1), 0)), length
