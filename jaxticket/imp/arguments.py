"""Whether what a search is given is of the right kind, said before anything is computed."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxticket.allocate.base import Allocation
from jaxticket.criteria.base import Criterion
from jaxticket.errors import TicketError
from jaxticket.imp.scoring import Scoring
from jaxticket.imp.variants import Variant
from jaxticket.keys import is_typed_key
from jaxticket.learners.base import Learner
from jaxticket.population import Plan
from jaxticket.protocol import Protocol
from jaxticket.records import Store


class Kind(NamedTuple):
    """What an argument must be.

    Attributes:
      holds: whether a value is of this kind.
      expected: what is expected, and how one is made.
    """

    holds: Callable[[Any], bool]
    expected: str


def _instance(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _makes_learners(value: Any) -> bool:
    return isinstance(value, Learner) or callable(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


KINDS = {
    "learner": Kind(
        _makes_learners,
        "a Learner, such as learners.supervised(model, optimizer), or a function from "
        "hyperparameters to one",
    ),
    "data": Kind(
        _instance(Mapping),
        "splits by name, such as {'train': images.train, 'test': images.test}",
    ),
    "key": Kind(is_typed_key, "a typed key, such as jax.random.key(0)"),
    "protocol": Kind(
        _instance(Protocol), "a Protocol, such as Protocol(steps=600, batch_size=60, ...)"
    ),
    "allocation": Kind(_instance(Allocation), "an Allocation, such as allocate.globally(0.2)"),
    "levels": Kind(_is_count, "a whole number"),
    "replicates": Kind(_is_count, "a whole number"),
    "criterion": Kind(
        _instance(Criterion, type(None)),
        "a Criterion, such as criteria.magnitude(); criteria.by_name knows them by name",
    ),
    "prunable": Kind(callable, "a function of a path, such as masks.matching('*/kernel')"),
    "arms": Kind(_instance(tuple, list), "a tuple of names, such as ('ticket', 'reinit')"),
    "rewind_step": Kind(_is_count, "a whole number of steps"),
    "scoring": Kind(_instance(Scoring), "a Scoring, such as imp.Scoring(100)"),
    "action": Kind(callable, "an action, such as rewind.reinit"),
    "variants": Kind(_instance(Mapping, type(None)), "imp.Variant by name, or None"),
    "plan": Kind(
        _instance(Plan, type(None)),
        "a Plan or None; Plan.by_name(name, networks) knows them by name",
    ),
    "together": Kind(
        lambda value: value is None or _is_count(value), "a whole number of replicates, or None"
    ),
    "store": Kind(
        _instance(Store, type(None)), "a store, such as runs.CheckpointStore(folder), or None"
    ),
}
"""What `find_tickets` is given, by argument."""

_OF_VARIANTS = ("allocation", "criterion", "rewind_step", "scoring", "action")


def check_kinds(given: Mapping[str, Any]) -> None:
    """Checks that every argument of a search is of its kind.

    Args:
      given: by name; names that are not in `KINDS` are not looked at.

    Raises:
      TicketError: one line on the first that is not.

    Example:
      >>> check_kinds({"criterion": "snip"})
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: criterion: got the text 'snip', expected a Criterion, such as \
criteria.magnitude(); criteria.by_name knows them by name
    """
    for name, value in given.items():
        _check(name, name, value)
    for variant, chosen in (given.get("variants") or {}).items():
        if not isinstance(chosen, Variant):
            raise TicketError(f"variant {variant!r}: got {_told(chosen)}, expected an imp.Variant")
        for name in _OF_VARIANTS:
            if getattr(chosen, name) is not None:
                _check(name, f"{name} of variant {variant!r}", getattr(chosen, name))
        _check_numbers(variant, chosen)


def _check(kind: str, name: str, value: Any) -> None:
    if kind in KINDS and not KINDS[kind].holds(value):
        raise TicketError(f"{name}: got {_told(value)}, expected {KINDS[kind].expected}")


def _check_numbers(name: str, variant: Variant) -> None:
    for leaf in jax.tree.leaves((variant.hyperparameters, variant.retraining_hyperparameters)):
        if np.ndim(leaf) or not np.issubdtype(np.asarray(leaf).dtype, np.number):
            raise TicketError(
                f"hyperparameters of variant {name!r}: got {_told(leaf)}, expected numbers"
            )


def _told(value: Any) -> str:
    """Names a value without printing what may be long."""
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    if value is None or isinstance(value, (bool, int, float, np.number)):
        return str(value)
    if isinstance(value, type) or hasattr(value, "__name__"):
        return f"{value.__name__} itself"
    return f"a {type(value).__name__}"
