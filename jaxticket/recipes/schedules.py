"""Learning rates as functions of the training step, of numbers that may be traced."""

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

Number = Any
"""A Python number or a scalar array, which may be traced: an axis of a population."""

Schedule = Callable[[Any], Float[Array, ""]]
"""`schedule(count) -> float32[]`, with `count` the updates made so far."""


def constant(rate: Number) -> Schedule:
    """Makes the schedule that stays: η(t) = η.

    Args:
      rate: η.

    Returns:
      The schedule.

    Example:
      >>> constant(0.5)(7).item()
      0.5
    """
    return lambda count: _float(rate)


def stepped(rate: Number, drops: Sequence[Number], factor: Number) -> Schedule:
    """Makes the schedule that drops: η(t) = η f^(number of drops d with t ≥ d).

    Args:
      rate: η.
      drops: the steps from which on the rate is lower, increasing.
      factor: f.

    Returns:
      The schedule.

    Example:
      >>> [stepped(1.0, (2, 4), 0.5)(count).item() for count in range(6)]
      [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]

    Source: the milestones of training/optimizers.py in https://github.com/facebookresearch/open_lth.
    """

    def schedule(count: Any) -> Float[Array, ""]:
        value = _float(rate)
        for drop in drops:
            value = value * jnp.where(_float(count) >= _float(drop), _float(factor), 1.0)
        return value

    return schedule


def cosine(rate: Number, steps: int) -> Schedule:
    """Makes the schedule of half a cosine: η(t) = η (1 + cos(π min(t, T) / T)) / 2.

    Args:
      rate: η.
      steps: T, at least 1, from which on the rate is zero.

    Returns:
      The schedule.

    Example:
      >>> [round(cosine(1.0, 4)(count).item(), 4) for count in (0, 2, 4, 5)]
      [1.0, 0.5, 0.0, 0.0]

    Source: 1608.03983, section 3, without restarts (unverified).
    """
    schedule = optax.cosine_decay_schedule(1.0, steps)
    return lambda count: _float(rate) * schedule(_float(count))


def warmed_up(schedule: Schedule, warmup: Number) -> Schedule:
    """Makes a schedule rise from zero: η(t) min(1, t / w); at w = 0 it stays itself.

    The first step of a warm-up has the rate 0. Warm-up multiplies the schedule and does not
    move it.

    Args:
      schedule: η.
      warmup: w, in steps.

    Returns:
      The schedule.

    Example:
      >>> [warmed_up(constant(1.0), 2)(count).item() for count in range(4)]
      [0.0, 0.5, 1.0, 1.0]

    Source: training/optimizers.py in https://github.com/facebookresearch/open_lth.
    """

    def warm(count: Any) -> Float[Array, ""]:
        # At least one: a warm-up of zero steps divides by nothing, and is over at once.
        share = _float(count) / jnp.maximum(_float(warmup), 1.0)
        return schedule(count) * jnp.where(_float(count) < _float(warmup), share, 1.0)

    return warm


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    "constant": lambda rate, steps, drops, factor: constant(rate),
    "step": lambda rate, steps, drops, factor: stepped(rate, drops, factor),
    "cosine": lambda rate, steps, drops, factor: cosine(rate, steps),
}
"""Schedules by name, each a function `(rate, steps, drops, factor)` that uses what it needs."""


def _float(number: Number) -> Float[Array, ""]:
    return jnp.asarray(number, jnp.float32)
