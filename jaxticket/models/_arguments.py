"""What the factories of this room ask of their arguments and of a module's `__call__`."""

import inspect
import operator
from collections.abc import Callable, Mapping
from typing import Any

from jaxticket.errors import TicketError

# The names under which Flax modules ask whether they train, and what they mean by True.
_TRAIN_FLAGS = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


def train_flags(call: Callable[..., Any], train: bool) -> dict[str, bool]:
    """The keyword arguments that tell `call` whether it trains, among those it names.

    Args:
      call: a module's `__call__`.
      train: whether the module trains.

    Returns:
      Keyword arguments for `call`, `{}` if it asks for none.

    >>> train_flags(lambda x, *, train, deterministic: x, True)
    {'train': True, 'deterministic': False}
    """
    by_keyword = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(call).parameters
    return {
        name: train == when_training
        for name, when_training in _TRAIN_FLAGS.items()
        if name in parameters and parameters[name].kind in by_keyword
    }


def positive_integers(caller: str, argument: str, sizes: Any) -> tuple[int, ...]:
    """`sizes` as a tuple of Python integers, each at least 1.

    Args:
      caller: the factory's name, for the error.
      argument: the argument's name, for the error.
      sizes: integers, of Python or NumPy.

    Returns:
      The same integers.

    Raises:
      TicketError: `sizes` is not a sequence of positive integers; it is shown whole.

    >>> positive_integers("mlp", "widths", (300, 0))
    Traceback (most recent call last):
        ...
    jaxticket.errors.TicketError: mlp: widths=(300, 0), expected a sequence of positive integers
    """
    try:
        integers = tuple(map(operator.index, sizes))
    except TypeError:
        integers = None
    if integers is None or min(integers, default=1) < 1:
        raise TicketError(
            f"{caller}: {argument}={sizes!r}, expected a sequence of positive integers"
        )
    return integers


def positive_integer(caller: str, argument: str, size: int) -> int:
    """`size` as a Python integer, at least 1, or a TicketError as of `positive_integers`."""
    try:
        (integer,) = positive_integers(caller, argument, (size,))
    except TicketError:
        message = f"{caller}: {argument}={size!r}, expected a positive integer"
        raise TicketError(message) from None
    return integer


def plain_dict(tree: Any) -> Any:
    """`tree` with every mapping in it, `FrozenDict` say, turned into a plain dict."""
    if isinstance(tree, Mapping):
        return {name: plain_dict(branch) for name, branch in tree.items()}
    return tree


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
