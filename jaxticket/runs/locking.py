"""One writer a folder: a lock that the operating system takes back when its process ends."""

import fcntl
import json
import os
import socket
import time
import weakref
from collections.abc import Callable
from pathlib import Path

from jaxticket.errors import TicketError
from jaxticket.runs.forms import parse

_LONGEST = 4096
"""Bytes that are read of who holds a lock; what is written is far shorter."""


class Lock:
    """A lock on a folder, held from its making to `close` or the end of the process.

    It is the system's (`flock`), so one that a killed process held is free again; what is written
    in the file only tells people who has it. On a file system without locks it holds nothing.
    """

    def __init__(self, path: Path) -> None:
        """Takes the lock.

        Args:
          path: of its file, made if it is not there and left there.

        Raises:
          TicketError: if another process, or another lock in this one, has it.
          OSError: if the file cannot be written.

        Example:
          >>> import tempfile
          >>> path = Path(tempfile.mkdtemp()) / ".lock"
          >>> first = Lock(path)
          >>> second = Lock(path)  # doctest: +ELLIPSIS
          Traceback (most recent call last):
          ...
          jaxticket.errors.TicketError: ...: is in use by process ... since ...
          >>> first.close()
        """
        # A link would let what follows overwrite a file elsewhere, and a pipe would wait for ever.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(path, flags, 0o666)
        self.close: Callable[[], object] = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(path)
            self.close()
            raise TicketError(
                f"{path.parent}: is in use by {holder}; wait for it to end, or choose another --out"
            ) from None
        except OSError:
            return
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        mine = {"process": os.getpid(), "host": socket.gethostname(), "since": since}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(mine).encode(), 0)


def _holder(path: Path) -> str:
    try:
        with path.open("rb") as file:
            found = parse(file.read(_LONGEST))
        return f"process {found['process']} on {found['host']} since {found['since']}"
    except (ValueError, KeyError, TypeError):
        return "another process"
