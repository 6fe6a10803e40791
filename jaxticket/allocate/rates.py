"""Rates as the user writes them: what counts as a number, its decimal, and what it must be."""

import numbers
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from jaxticket.errors import TicketError

Rate = float | Fraction | np.floating | Float[Array, ""] | Sequence[float]
"""The share of the remaining weights that goes at each level, in (0, 1); or the density of every
level from level 1 on, falling, in (0, 1)."""


def as_number(value: Any) -> float | Fraction | None:
    """Reads one number, whatever holds it: Python, NumPy, or a concrete array without axes.

    Args:
      value: anything.

    Returns:
      The number as the decimal that was written, so that `np.float32(0.2)` is 0.2 and not
      0.20000000298; `None` for what is no number, such as densities or a traced value.

    Example:
      >>> as_number(np.float32(0.2)), as_number((0.5, 0.25))
      (0.2, None)
    """
    if isinstance(value, int | float | Fraction) and not isinstance(value, np.generic):
        return value
    alone = isinstance(value, np.generic) or getattr(value, "ndim", None) == 0
    if not (alone or isinstance(value, numbers.Real)) or isinstance(value, Tracer):
        return None
    try:
        return float(str(np.asarray(value)[()]))
    except ValueError:  # such as a complex number, or a truth value
        return None


def check_rates(name: str, rate: Any) -> None:
    """Checks a rate where an allocation is made; densities are checked when a schedule is.

    Args:
      name: what the rate is called where the user wrote it.
      rate: a number, or densities.

    Raises:
      TicketError: for a number outside (0, 1), and for what is neither.

    Example:
      >>> check_rates("prune rate", np.float32(0.2))
    """
    number = as_number(rate)
    if number is not None:
        check_rate(name, number)
    elif not isinstance(rate, Iterable) or getattr(rate, "ndim", 1) == 0:
        raise TicketError(
            f"{name}: got {type(rate).__name__}, expected a concrete number between 0 and 1, such "
            "as 0.2, or a density for every level after the dense one"
        )


def check_rate(name: str, rate: float | Fraction | np.floating) -> None:
    """Checks that a rate is a share.

    Args:
      name: what the rate is called where the user wrote it.
      rate: the rate.

    Raises:
      TicketError: outside (0, 1).

    Example:
      >>> check_rate("prune rate", 0.2)
    """
    if not 0 < rate < 1:
        raise TicketError(
            f"{name}: got {rate}, expected a share of the remaining weights between 0 and 1, "
            "both excluded, such as 0.2"
        )
