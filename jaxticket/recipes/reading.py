"""What JSON says of a configuration, read back by the types of its fields."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from jaxticket.errors import TicketError
from jaxticket.recipes.recipe import Recipe
from jaxticket.recipes.step import Step

Read = TypeVar("Read")

_TAKEN: dict[type, tuple[type, ...]] = {
    float: (float, int),
    int: (int,),
    bool: (bool,),
    str: (str,),
}
"""What JSON may hold where a plain value is expected."""


def from_config(config: Mapping[str, Any]) -> Recipe:
    """Makes the recipe of a finished run from what its configuration says.

    Args:
      config: such as `jaxticket.runs.load(directory).config`. What is no field of a recipe (data
        set, levels, seed ...) is left out, and a field that is not there has its default.

    Returns:
      The recipe, from which `make_learner` makes what the run trained.

    Raises:
      TicketError: naming the field that does not read.

    Example:
      >>> recipe = from_config({"model": "conv_2", "steps": "5ep", "drops": ["3ep"], "seed": 1})
      >>> recipe.model, str(recipe.steps), [str(step) for step in recipe.drops]
      ('conv_2', '5ep', ['3ep'])
      >>> from_config({"steps": 600})
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: steps: got 600, expected a number with a unit, such as 600it \
or 3ep
    """
    return read_fields(Recipe, config, [field.name for field in dataclasses.fields(Recipe)])


def read_fields(kind: type[Read], written: Mapping[str, Any], names: Iterable[str]) -> Read:
    """Makes a dataclass from JSON values.

    Args:
      kind: the dataclass; its fields are plain values, paths, steps, tuples of those, or `None`.
      written: values by field.
      names: of the fields that are read where they are written; all others have their default.

    Returns:
      The dataclass.

    Raises:
      TicketError: naming the field that does not read.

    Example:
      >>> read_fields(Recipe, {"drops": ["2ep"]}, ["drops"]).drops
      (Step(amount=Fraction(2, 1), unit='ep'),)
    """
    hints = typing.get_type_hints(kind)
    return kind(**{name: _field(name, hints[name], written) for name in names if name in written})


def _field(name: str, hint: Any, written: Mapping[str, Any]) -> Any:
    try:
        return _value(hint, written[name])
    except (TypeError, ValueError) as error:
        raise TicketError(f"{name}: {error}") from None


def _value(hint: Any, written: Any) -> Any:
    """Reads one value by the type of its field."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return None if written is None else _value(inner[0], written)
    if typing.get_origin(hint) is tuple:
        if not isinstance(written, (list, tuple)):
            raise TicketError(f"got {written!r}, expected a list")
        return tuple(_value(typing.get_args(hint)[0], one) for one in written)
    if hint is Step:
        return Step.parse(str(written))
    # To Python, though not to JSON, true is a whole number.
    fits = isinstance(written, _TAKEN.get(hint, (object,)))
    if not fits or isinstance(written, bool) != (hint is bool):
        raise TicketError(f"got {written!r}, expected {hint.__name__}")
    return hint(written)
