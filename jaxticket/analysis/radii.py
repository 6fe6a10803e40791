"""How far the basin that a network lies in reaches: radii in random directions."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from jaxticket.analysis.losses import Loss
from jaxticket.analysis.subspace import along, dimension, random_direction
from jaxticket.errors import TicketError
from jaxticket.keys import derive
from jaxticket.types import Mask, Params


class Radii(NamedTuple):
    """How far a basin reaches in random directions.

    Attributes:
      radii: `float[directions]`, to the tolerance that was asked for; 0 where the loss is above
        the cut-off at once; the largest radius that was tried where it never is.
      never_left: `bool[directions]`, where the loss stayed below the cut-off all the way.
      dimension: d, the number of coordinates that directions lie in, `int32[]`.
      log_scale: the sum of log scales, `float[]`, which takes the volume to the original
        coordinates; 0 without scales.
    """

    radii: Float[Array, " directions"]
    never_left: Bool[Array, " directions"]
    dimension: Int[Array, ""]
    log_scale: Float[Array, ""]


def basin_radii(
    loss: Loss,
    params: Params,
    mask: Mask,
    key: PRNGKeyArray,
    *,
    directions: int,
    rise: float | None = None,
    cutoff: float | None = None,
    start: float = 1.0,
    largest: float = 1e4,
    tolerance: float = 0.01,
    scales: Params | None = None,
    at_a_time: int = 1,
) -> Radii:
    """Measures how far the loss stays below a cut-off in random directions.

    r(φ) = sup {r : L(θ + r' φ) < c for the r' ≤ r that were tried}, with φ uniform on the unit
    sphere of the masked subspace and c = L(θ) + ε or a given c. From `start` the radius is
    doubled (halved, where it is outside already) until the border is between two of them, then
    bisected to the tolerance; a loss that is not finite is outside. A border that lies between
    two radii that are inside is not seen.

    Args:
      loss: `loss(params) -> float[]`.
      params: θ.
      mask: which coordinates are free, as in `analysis.subspace`.
      key: a typed key.
      directions: how many, K.
      rise: ε, for the cut-off L(θ) + ε; this or `cutoff`.
      cutoff: c, for all networks the same.
      start: the first radius that is tried.
      largest: radii are tried up to the first `start · 2^n` not below it, and down to the first
        `start / 2^n` not above `start² / largest`.
      tolerance: of radii, relative.
      scales: positive numbers by which the coordinates of a direction are multiplied, such as
        `subspace.filter_scales`; 0 takes a coordinate away. Radii are then in units of them.
      at_a_time: directions that are evaluated together.

    Returns:
      The radii.

    Raises:
      TicketError: for both or neither of `rise` and `cutoff`, or sizes that are not positive.

    Example:
      >>> bowl = lambda params: jnp.sum(params["w"] ** 2) / 2
      >>> given = bowl, {"w": jnp.zeros(3)}, {"w": None}, jax.random.key(0)
      >>> found = basin_radii(*given, directions=2, rise=2.0, tolerance=1e-4)
      >>> found.radii.round(2).tolist(), int(found.dimension)  # √(2 · 2)
      ([2.0, 2.0], 3)

    Source: 1906.03291, section 4 (unverified); expanding and bisecting are this project's.
    """
    _check(directions, rise, cutoff, start, largest, tolerance, at_a_time)
    log_scale = jnp.float32(0)
    if scales is not None:
        mask = jax.tree.map(lambda s, m: s > 0 if m is None else (s > 0) & m, scales, mask)
        logs = jax.tree.map(lambda s, free: jnp.sum(jnp.log(jnp.where(free, s, 1))), scales, mask)
        log_scale = jnp.sum(jnp.stack(jax.tree.leaves(logs)))
    border = jnp.float32(cutoff) if rise is None else loss(params) + rise

    def radius(index: Array) -> tuple[Array, Array]:
        direction = random_direction(derive(key, index), params, mask)
        if scales is not None:
            direction = jax.tree.map(jnp.multiply, direction, scales)
        inside = lambda r: loss(along(params, direction, r)) < border  # noqa: E731
        return _border(inside, start, largest, tolerance)

    indices = jnp.arange(directions, dtype=jnp.int32)
    radii, never_left = jax.lax.map(radius, indices, batch_size=at_a_time)
    return Radii(radii, never_left, dimension(params, mask), log_scale)


def _border(
    inside: Callable[[Array], Array], start: float, largest: float, tolerance: float
) -> tuple[Array, Array]:
    """Finds where a ray leaves, and whether it never does."""
    furthest = math.ceil(math.log2(largest / start))
    halvings = max(0, math.ceil(math.log2(math.log(2) / math.log1p(tolerance))))
    first = jnp.float32(start)
    within = inside(first)
    factor = jnp.where(within, jnp.float32(2), jnp.float32(0.5))

    def searching(carry: tuple[Array, Array, Array]) -> Array:
        tries, _, crossed = carry
        return ~crossed & (tries < furthest)

    def further(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        tries, radius, _ = carry
        return tries + 1, radius * factor, inside(radius * factor) != within

    begin = jnp.int32(0), first, jnp.zeros((), bool)
    _, last, crossed = jax.lax.while_loop(searching, further, begin)

    def halve(_: Any, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        middle = jnp.sqrt(ends[0] * ends[1])
        kept = inside(middle)
        return jnp.where(kept, middle, ends[0]), jnp.where(kept, ends[1], middle)

    ends = jnp.where(within, last / 2, last), jnp.where(within, last, last * 2)
    low, high = jax.lax.fori_loop(0, jnp.where(crossed, halvings, 0), halve, ends)
    never = jnp.where(within, last, 0)
    return jnp.where(crossed, jnp.sqrt(low * high), never), ~crossed & within


def _check(
    directions: int,
    rise: float | None,
    cutoff: float | None,
    start: float,
    largest: float,
    tolerance: float,
    at_a_time: int,
) -> None:
    if (rise is None) == (cutoff is None):
        raise TicketError(
            f"basin_radii: got rise {rise} and cutoff {cutoff}, expected one of them: the loss "
            "above the network's own, or the same loss for all networks"
        )
    sizes = {"directions": directions, "start": start, "tolerance": tolerance}
    sizes |= {"at_a_time": at_a_time} | ({} if rise is None else {"rise": rise})
    wrong = [f"{name} {value}" for name, value in sizes.items() if not value > 0]
    if wrong or not largest > start:
        raise TicketError(
            f"basin_radii: got {', '.join(wrong) or f'largest {largest} and start {start}'}, "
            "expected sizes above 0, and a largest radius above the first"
        )
