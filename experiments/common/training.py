"""Names of optimizers and scopes that the command lines of all experiments understand."""

import math

import optax

from jaxticket import allocate
from jaxticket.allocate.base import Allocation, check_rate
from jaxticket.errors import TicketError, unknown

OPTIMIZERS = {
    "adam": optax.adam,
    "adamw": optax.adamw,
    "sgd": optax.sgd,
    "momentum": lambda learning_rate: optax.sgd(learning_rate, momentum=0.9),
    "rmsprop": optax.rmsprop,
}
"""Optimizers by name, each a function of the learning rate; momentum is 0.9."""

SCOPES = ("layerwise", "global")
"""Where weights compete: within their layer, or in the whole network."""


def make_optimizer(name: str, learning_rate: float) -> optax.GradientTransformation:
    """Makes an optimizer.

    Args:
      name: a key of `OPTIMIZERS`.
      learning_rate: constant, positive.

    Returns:
      The transformation.

    Raises:
      TicketError: for an unknown name or a rate that is not a positive number.

    Example:
      >>> make_optimizer("adma", 0.1)
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: unknown optimizer 'adma': did you mean 'adam' or 'adamw'? \
Valid: adam, adamw, sgd, momentum, rmsprop
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    if not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise TicketError(f"--learning-rate: got {learning_rate}, expected a positive number")
    return OPTIMIZERS[name](learning_rate)


def make_allocation(scope: str, prune_rate: float, output_prune_rate: float) -> Allocation:
    """Makes the allocation that a command line asks for.

    Args:
      scope: `layerwise` or `global`.
      prune_rate: share of the remaining weights that goes at each level.
      output_prune_rate: the same for the output layer; not used under global scope, where all
        layers compete.

    Returns:
      The allocation.

    Raises:
      TicketError: for an unknown scope or a rate outside (0, 1).

    Example:
      >>> make_allocation("global", 0.2, 0.1).following({"*": 100})
      {'*': 80}
    """
    check_rate("--prune-rate", prune_rate)
    check_rate("--output-prune-rate", output_prune_rate)
    if scope == "global":
        return allocate.globally(prune_rate)
    if scope == "layerwise":
        return allocate.layerwise({"*": prune_rate, "output/*": output_prune_rate})
    raise unknown("scope", scope, SCOPES)


def check_positive(**sizes: int) -> None:
    """Checks sizes that must be at least 1, all at once.

    Args:
      **sizes: values by option name.

    Raises:
      TicketError: naming every offender.

    Example:
      >>> check_positive(levels=16, replicates=5)
    """
    wrong = [f"--{n.replace('_', '-')}: got {v}" for n, v in sizes.items() if v < 1]
    if wrong:
        raise TicketError(f"{', '.join(wrong)}, expected at least 1")
