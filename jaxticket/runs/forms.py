"""What is read of a run is of the form that its readers rely on, whoever wrote it."""

import json
from typing import Any, NoReturn

Form = type | tuple[type, ...] | dict[str, Any] | list[Any]
"""What JSON must look like: a type, one of several, a list, a dict with at least these
names, but for those with a question mark."""


def parse(text: bytes) -> Any:
    """Parses JSON of unknown origin.

    Args:
      text: UTF-8.

    Returns:
      Its content.

    Raises:
      ValueError: for what is no JSON, nested too deeply, or meant to steer a terminal.

    Example:
      >>> parse(b'{"levels": 3}')
      {'levels': 3}
    """
    try:
        content = json.loads(text.decode("utf-8"), parse_constant=_not_finite)
        _check_strings(content)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return content


def check_form(content: Any, form: Form, where: str = "it") -> None:
    """Checks that JSON has the form that its reader relies on.

    Args:
      content: from `parse`.
      form: what is expected.
      where: names the place in messages.

    Raises:
      ValueError: naming the first place that has not.

    Example:
      >>> check_form({"starts": [{"plan": 3}]}, {"starts": [{"plan": str}]})
      Traceback (most recent call last):
      ...
      ValueError: starts[0].plan is of type int, expected str
    """
    kinds = _kinds(form)
    # To Python, true is a number, and so of a type derived from another's.
    if type(content) not in kinds:
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{where} is of type {type(content).__name__}, expected {names}")
    if isinstance(form, dict):
        prefix = "" if where == "it" else f"{where}."
        for key, part in form.items():
            name = key.removesuffix("?")
            if name not in content and key != name:
                continue
            if name not in content:
                raise ValueError(f"{where} has no {name}")
            check_form(content[name], part, f"{prefix}{name}")
    elif isinstance(form, list):
        for place, entry in enumerate(content):
            check_form(entry, form[0], f"{where}[{place}]")


def _kinds(form: Form) -> tuple[type, ...]:
    if isinstance(form, tuple):
        return form
    return (form,) if isinstance(form, type) else (type(form),)


def _check_strings(content: Any) -> None:
    if isinstance(content, dict):
        for name, part in content.items():
            _check_strings(name)
            _check_strings(part)
    elif isinstance(content, list):
        for part in content:
            _check_strings(part)
    elif isinstance(content, str):
        check_text(content)


def check_text(text: str) -> None:
    """Refuses characters that a terminal would obey, or that no file can hold.

    Args:
      text: of unknown origin, that may be printed.

    Raises:
      ValueError: if it holds one.

    Example:
      >>> check_text("θ₀ of layer 1")
    """
    strange = [c for c in text if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f"]
    strange += [c for c in text if "\ud800" <= c <= "\udfff"]
    if strange:
        raise ValueError(f"the character {strange[0]!r} in a string")


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
