"""Errors that say what was given, what was expected and the fix, in one line."""

import difflib
from collections.abc import Iterable


class TicketError(ValueError):
    """A mistake in what the caller gave: the message is one clear line, meant for people.

    Attributes:
      misuse: whether the caller can mend it by giving something else; a command line tells its
        exit code by it.
    """

    misuse = True


class StorageError(TicketError):
    """What a run had to keep could not be written; nothing that was whole before is harmed."""

    misuse = False


class MaskError(TicketError):
    """A mask that does not fit the params, or a schedule that would empty a layer."""


def unknown(kind: str, given: object, valid: Iterable[str]) -> TicketError:
    """The error for a name that is not in a list, with the nearest valid names first.

    Args:
      kind: what is being named, e.g. `"arm"`.
      given: what the caller wrote.
      valid: the names that exist.

    Returns:
      The error, to be raised by the caller.

    Example:
      >>> print(unknown("arm", "tiket", ["ticket", "reinit"]))
      unknown arm 'tiket': did you mean 'ticket'? Valid: ticket, reinit
    """
    names = list(valid)
    near = difflib.get_close_matches(str(given), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}? " if near else ""
    return TicketError(f"unknown {kind} {given!r}: {hint}Valid: {', '.join(names)}")
