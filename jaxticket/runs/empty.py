"""Arrays without an element, which Orbax refuses: a step says what they are and holds none."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from jaxticket.runs.forms import check_form, check_text

FORM: list[Any] = [{"path": [str], "dtype": str, "shape": [int]}]
"""What a step says of them."""


def take_out(items: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Takes arrays without an element out of what a step is to hold.

    Args:
      items: nested dicts of arrays by item.

    Returns:
      What is left, without the parts that hold nothing any more, and what was taken out, as JSON.

    Example:
      >>> take_out({"params": {"a": np.ones(2), "b": np.ones(0)}})
      ({'params': {'a': array([1., 1.])}}, [{'path': ['params', 'b'], 'dtype': 'float64', \
'shape': [0]}])
    """
    left: dict[str, Any] = {}
    taken: list[dict[str, Any]] = []
    for name, part in items.items():
        if isinstance(part, dict):
            inner, said = take_out(part)
            taken += [one | {"path": [name, *one["path"]]} for one in said]
            if inner:
                left[name] = inner
        elif np.size(part):
            left[name] = part
        else:
            shape = [int(length) for length in np.shape(part)]
            taken.append({"path": [name], "dtype": str(part.dtype), "shape": shape})
    return left, taken


def put_back(
    content: Mapping[str, Any], taken: list[dict[str, Any]], items: Collection[str]
) -> dict[str, Any]:
    """Undoes `take_out`.

    Args:
      content: what a step holds, nested dicts of arrays by item.
      taken: what it says was taken out.
      items: which of its items are wanted.

    Returns:
      The items, whole.

    Example:
      >>> put_back({}, [{"path": ["params", "b"], "dtype": "int32", "shape": [0]}], ["params"])
      {'params': {'b': array([], dtype=int32)}}
    """
    whole = _copied(content)
    for one in taken:
        *parents, name = one["path"]
        node = whole
        if one["path"][0] in items:
            for parent in parents:
                node = node.setdefault(parent, {})
            node[name] = np.zeros(one["shape"], one["dtype"])
    return whole


def check_taken(taken: Any) -> None:
    """Checks what a step says was taken out of it.

    Args:
      taken: of unknown origin.

    Raises:
      ValueError: if it is no list of arrays without an element.

    Example:
      >>> check_taken([{"path": ["params", "b"], "dtype": "int32", "shape": [0]}])
    """
    check_form(taken, FORM, "empty")
    for one in taken:
        for name in one["path"]:
            check_text(name)
        try:
            known = str(np.dtype(one["dtype"])) == one["dtype"]
        except (TypeError, ValueError, SyntaxError):
            known = False
        lengths = one["shape"]
        small = all(0 <= length < 2**31 for length in lengths) and len(lengths) <= 32
        if len(one["path"]) < 2 or not known or not small or math.prod(lengths):
            raise ValueError(f"says that {one} was an array without an element")


def _copied(tree: Any) -> Any:
    """Copies nested dicts, not the arrays in them."""
    if not isinstance(tree, Mapping):
        return tree
    return {name: _copied(part) for name, part in tree.items()}
