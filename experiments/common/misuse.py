"""What the parser of the command line refuses, said in one line."""

import contextlib
import io
import itertools
import re
from collections.abc import Generator

from jaxticket.errors import TicketError

_CONVERSIONS = re.compile(
    r"(?:invalid literal for int\(\) with base 10|could not convert string to float|"
    r"Could not find valid parse for arguments): "
)
_REFUSED = 2


@contextlib.contextmanager
def refusals(program: str) -> Generator[None]:
    """Turns what a parser prints before it exits with 2 into an error.

    Args:
      program: how it is called, e.g. `python -m experiments.lenet`.

    Yields:
      Nothing.

    Raises:
      TicketError: one line: what was given, what was expected, and where all options are listed.

    Example:
      >>> import tyro
      >>> with refusals("prog"):
      ...     tyro.cli(int, args=["three"], prog="prog")
      Traceback (most recent call last):
      jaxticket.errors.TicketError: INT: got 'three', expected INT (see prog --help)
    """
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            yield
    except SystemExit as end:
        if end.code != _REFUSED:
            raise
        raise TicketError(f"{_one_line(printed.getvalue())} (see {program} --help)") from None


def _one_line(printed: str) -> str:
    """Takes from a box of several lines what is wrong, and what is near or expected instead."""
    sections = _sections(printed)
    # The title is in the upper edge, or, drawn without box characters, a section of its own.
    message, *more = sections if printed.lstrip().startswith("╭") else sections[1:]
    message = _CONVERSIONS.sub("got ", message.removeprefix("Error parsing ").removesuffix("."))
    if re.search(r"Unrecognized options: (it|ep)\b", message):
        return f"{message}; write a number and its unit without a space, such as 600it"
    for section in more:
        options = re.findall(r"(?<!\S)--[\w.-]+", section)
        if section.startswith("Perhaps you meant") and options:
            return f"{message}; did you mean {' or '.join(dict.fromkeys(options))}?"
        if section.startswith("Argument helptext") and "expected" not in message:
            return f"{message}, expected {_usage(section)}"
    return message


def _sections(printed: str) -> list[str]:
    """Gives the text between the rules of a box, each section as one line."""
    lines = [line.strip(" │") for line in printed.splitlines()]
    groups = itertools.groupby(lines, lambda line: line[:1] in "╭╰" or not line.strip("─-"))
    return [" ".join(" ".join(group).split()) for rule, group in groups if not rule]


def _usage(section: str) -> str:
    """Gives `--levels INT` from the help of one option."""
    usage = re.match(r"Argument helptext: ((?:--\S+ )?(?:\[.*?\]\]|\S+))", section)
    return usage[1] if usage else section
