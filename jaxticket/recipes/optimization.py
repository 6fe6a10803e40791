"""Optimizers from names and numbers; the numbers may be traced."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import optax

from jaxticket.errors import TicketError, unknown

OPTIMIZERS: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "adam": lambda momentum: optax.scale_by_adam(),
    "adamw": lambda momentum: optax.scale_by_adam(),
    "sgd": lambda momentum: optax.identity(),
    "momentum": lambda momentum: optax.trace(momentum),
    "nesterov": lambda momentum: optax.trace(momentum, nesterov=True),
    "rmsprop": lambda momentum: optax.scale_by_rms(),
}
"""What optimizers do to the gradient before the learning rate, by name, given the momentum."""

WITH_MOMENTUM = ("momentum", "nesterov")
"""Optimizers that have a momentum to choose."""

_DECOUPLED = ("adamw",)


def make_optimizer(
    name: str,
    learning_rate: Any,
    *,
    momentum: Any = 0.9,
    weight_decay: Any = 0.0,
    gradient_clip: Any = None,
) -> optax.GradientTransformation:
    """Makes an optimizer: θ ← θ − η(t) u(g + λ θ), for adamw θ ← θ − η(t) (u(g) + λ θ).

    u is what `OPTIMIZERS` names: for momentum the trace v ← μ v + g, as in PyTorch, not
    multiplied by 1 − μ. λ decays every parameter, biases and scales of normalisation too. The
    gradient is clipped before anything else. What is a Python zero or `None` is left out of the
    chain; what is an array is always in it, so that it may be an axis of a population.

    Args:
      name: a key of `OPTIMIZERS`.
      learning_rate: η, a number or a schedule.
      momentum: μ in [0, 1), of momentum and nesterov alone.
      weight_decay: λ, not negative.
      gradient_clip: largest global norm of the gradient, `None` for any.

    Returns:
      The transformation. A schedule counts in optax's own state.

    Raises:
      TicketError: for an unknown name, or a Python number out of its range.

    Example:
      >>> make_optimizer("adma", 0.1)
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: unknown optimizer 'adma': did you mean 'adam' or 'adamw'? \
Valid: adam, adamw, sgd, momentum, nesterov, rmsprop

    Source: weight decay of torch.optim, which training/optimizers.py in
    https://github.com/facebookresearch/open_lth uses; adamw is 1711.05101 (unverified).
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    _check("--learning-rate", learning_rate, lambda rate: rate > 0, "a positive number")
    _check("--momentum", momentum, lambda share: 0 <= share < 1, "0 to less than 1")
    _check("--weight-decay", weight_decay, lambda rate: rate >= 0, "0 or more")
    _check("--gradient-clip", gradient_clip, lambda norm: norm > 0, "a positive number")
    links = [OPTIMIZERS[name](momentum)]
    if not (is_known(weight_decay) and weight_decay == 0):
        decay = optax.add_decayed_weights(weight_decay)
        links.insert(1 if name in _DECOUPLED else 0, decay)
    if gradient_clip is not None:
        links.insert(0, optax.clip_by_global_norm(gradient_clip))
    return optax.chain(*links, optax.scale_by_learning_rate(learning_rate))


def one_of(
    optimizers: Sequence[optax.GradientTransformation], which: Any
) -> optax.GradientTransformation:
    """Makes an optimizer that is one of several, chosen by a number that may be traced.

    The state holds the states of all; a step changes that of the chosen one alone. So networks
    that differ in their optimizer are one population.

    Args:
      optimizers: at least one.
      which: the place of the chosen one, from 0; a traced one outside is the nearest.

    Returns:
      The transformation; its state is the tuple of theirs.

    Raises:
      TicketError: if there is none, or a Python number is no place.

    Example:
      >>> import jax.numpy as jnp
      >>> tx = one_of([optax.sgd(1.0), optax.sgd(2.0)], 1)
      >>> tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0].tolist()
      [-2.0]
    """
    number = len(optimizers)
    if number < 1 or (is_known(which) and not 0 <= which < number):
        raise TicketError(f"optimizer {which} of {number}: expected 0 to {number - 1}")
    supported = [optax.with_extra_args_support(optimizer) for optimizer in optimizers]

    def init(params: Any) -> tuple[Any, ...]:
        return tuple(optimizer.init(params) for optimizer in supported)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        def chosen(place: int) -> Callable[..., tuple[Any, Any]]:
            def branch(updates: Any, state: Any, params: Any) -> tuple[Any, Any]:
                updates, new = supported[place].update(updates, state[place], params, **extra)
                return updates, (*state[:place], new, *state[place + 1 :])

            return branch

        if is_known(which):
            return chosen(int(which))(updates, state, params)
        branches = [chosen(place) for place in range(number)]
        return jax.lax.switch(which, branches, updates, state, params)

    return optax.GradientTransformationExtraArgs(init, update)


def is_known(number: Any) -> bool:
    """Says whether a number is known when a program is traced, so that it can be checked.

    Args:
      number: anything.

    Returns:
      True for Python's and NumPy's numbers, False for arrays, which may be traced.

    Example:
      >>> is_known(0.1), is_known(jax.numpy.float32(0.1))
      (True, False)
    """
    return isinstance(number, int | float | np.number)


def _check(option: str, value: Any, valid: Callable[[Any], bool], expected: str) -> None:
    """Checks a Python number; schedules and arrays, which may be traced, are taken as they are."""
    if is_known(value) and not (math.isfinite(value) and valid(value)):
        raise TicketError(f"{option}: got {value}, expected {expected}")
