"""Files that are either whole or absent, and a folder for those that were damaged."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from jaxticket.errors import StorageError, TicketError

SET_ASIDE = "set-aside"
"""Folder of a run directory for what was found damaged; nothing reads it."""

_REMEDIES = {
    errno.ENOSPC: "free some space there",
    errno.EDQUOT: "free some of your quota there",
    errno.EROFS: "make the file system writable",
    errno.EACCES: "make the folder yours to write",
    errno.EPERM: "make the folder yours to write",
    errno.EFBIG: "raise the limit on the size of files",
}


class DamagedError(TicketError):
    """A file of a run that is not what was written.

    Attributes:
      said: which one and why, without what to do.
    """

    def __init__(self, path: Path, why: str, fix: str) -> None:
        """Makes the error.

        Args:
          path: of the file or folder.
          why: what is wrong.
          fix: what to do.
        """
        self.said: str = f"{path}: {why}"
        super().__init__(f"{self.said}; {fix}")


@contextlib.contextmanager
def replacing(path: Path) -> Generator[Path]:
    """Gives a temporary path whose file takes the place of `path` if the block succeeds.

    Args:
      path: the file to be written.

    Yields:
      A path in the same folder, where nothing is.

    Example:
      >>> import tempfile
      >>> target = Path(tempfile.mkdtemp()) / "a.txt"
      >>> with replacing(target) as temporary:
      ...     _ = temporary.write_text("whole")
      >>> target.read_text()
      'whole'
    """
    temporary = path.with_name(f".{path.name}.partial")
    # It could be a link to somewhere else, which writing would follow.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def storing(path: Path) -> Generator[None]:
    """Turns the system's refusal to write into one line with what is free and what to do.

    Args:
      path: of what is written in the block.

    Yields:
      Nothing.

    Raises:
      StorageError: in the place of an `OSError`.

    Example:
      >>> with storing(Path("/nonexistent/a.txt")):
      ...     raise OSError(errno.ENOSPC, "No space left on device")  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      ...
      jaxticket.errors.StorageError: /nonexistent/a.txt: cannot be written (No space left on \
device), ... is free in /; free some space there and rerun the same command, which goes on from \
what is finished: that is whole
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from None


def check_room(folder: Path, size: int) -> None:
    """Checks that a folder can be written to, by reserving the room for a moment.

    Args:
      folder: the folder.
      size: bytes that will be written.

    Raises:
      OSError: as writing them would.
    """
    with tempfile.TemporaryFile(dir=folder, prefix=".room-") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        elif shutil.disk_usage(folder).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def unwritable(path: Path, error: OSError) -> StorageError:
    """Makes the error for what cannot be written.

    Args:
      path: of what was to be written.
      error: what the system said.

    Returns:
      The error, to be raised by the caller.
    """
    place = next(parent for parent in path.absolute().parents if parent.is_dir())
    free = shutil.disk_usage(place).free / 1e6
    remedy = _REMEDIES.get(error.errno or 0, "make room for it")
    return StorageError(
        f"{path}: cannot be written ({error.strerror or error}), {free:,.0f} MB is free in "
        f"{place}; {remedy} and rerun the same command, which goes on from what is finished: that "
        "is whole"
    )


def set_aside(run: Path, *paths: Path) -> Path:
    """Moves what was found damaged out of the way, into a folder of its own.

    Args:
      run: the run directory.
      *paths: files and folders in it; what is not there is left out.

    Returns:
      The folder, `<run>/set-aside/<number>`.

    Example:
      >>> import tempfile
      >>> run = Path(tempfile.mkdtemp())
      >>> _ = (run / "a.json").write_text("{")
      >>> set_aside(run, run / "a.json").relative_to(run).as_posix()
      'set-aside/1'
    """
    folders = (run / SET_ASIDE).glob("*")
    numbers = [int(folder.name) for folder in folders if folder.name.isdecimal()]
    folder = run / SET_ASIDE / str(max(numbers, default=0) + 1)
    with storing(folder):
        # The last one first: what a kill leaves then still begins with the damaged one.
        for path in (path for path in reversed(paths) if path.exists()):
            target = folder / path.relative_to(run)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    return folder


def check_plain(run: Path, *names: str) -> None:
    """Refuses links, pipes and devices, which would read or write elsewhere.

    The directory itself may be reached by a link; what it holds may not.

    Args:
      run: the run directory.
      *names: what is looked at in it, with all that is below; links to nowhere too.

    Raises:
      TicketError: naming the first of them.

    Example:
      >>> check_plain(Path("/nonexistent"), "config.json")
    """
    folders = [run]
    while folders:
        here = folders.pop()
        try:
            with os.scandir(here) as entries:
                found = [entry for entry in entries if here != run or entry.name in names]
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                folders.append(Path(entry.path))
            elif not entry.is_file(follow_symlinks=False):
                kind = "a link" if entry.is_symlink() else "no file or folder"
                raise TicketError(
                    f"{entry.path}: is {kind}, expected a run directory of plain files and "
                    "folders; remove it, or put what it stands for in its place"
                )
