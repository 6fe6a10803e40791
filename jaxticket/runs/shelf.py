"""Finished networks in files without a name, where the memory of the host would not hold them."""

import math
import mmap
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxticket.population import hosts
from jaxticket.population.memory import host_memory, readable
from jaxticket.population.pieces import print_note
from jaxticket.runs.files import storing

SHARE = 0.25
"""Of the host's memory, what finished networks may take; this project's own choice."""

_ALIGNED, _SMALL = 64, 2**16

_FILES = 2**16
"""How many files a process is allowed to have open, where the system lets it choose."""


def held_bytes() -> float:
    """Says how much of finished networks a process holds in memory.

    Returns:
      A quarter of the host's memory in bytes, shared by all processes of a run, as if they were on
      one host; infinite where the host does not tell.

    Example:
      >>> held_bytes() > 0
      True
    """
    whole = host_memory()[1]
    return math.inf if whole is None else SHARE * whole / hosts.number()


class Shelf:
    """Holds trees of arrays, and from some size on maps them from the disk.

    A mapped array is read like any other one. The system keeps of it in memory what is read, as
    long as nobody else wants the place; the file is gone when the process ends, however it does.

    Example:
      >>> shelf = Shelf(Path(tempfile.mkdtemp()), limit=0)
      >>> shelf.put({"w": np.arange(20_000)})["w"][-1]
      np.int64(19999)
    """

    def __init__(self, folder: Path, limit: float | None = None) -> None:
        """Makes an empty one.

        Args:
          folder: on what disk; made if it is not there.
          limit: bytes that are held in memory; `held_bytes()` if `None`.
        """
        self._folder, self._limit = folder, held_bytes() if limit is None else limit
        self._held, self._mapped = 0, False

    def put(self, tree: Any) -> Any:
        """Takes a tree, and gives it back: as it is, or with the same arrays mapped from a file.

        Args:
          tree: leaves of any kind; NumPy arrays of 64 KiB and more are what may be mapped.

        Returns:
          The tree. Mapped arrays are read-only.

        Raises:
          StorageError: if the disk has no room.
        """
        leaves, structure = jax.tree.flatten(tree)
        large = [place for place, leaf in enumerate(leaves) if _is_large(leaf)]
        size = sum(leaves[place].nbytes for place in large)
        if not large or self._held + size <= self._limit:
            self._held += size
            return tree
        self._tell()
        mapped = _map([leaves[place] for place in large], self._folder)
        for place, leaf in zip(large, mapped, strict=True):
            leaves[place] = leaf
        return jax.tree.unflatten(structure, leaves)

    def _tell(self) -> None:
        if self._mapped:
            return
        self._mapped = True
        allow_files()
        if hosts.is_primary():
            print_note(
                f"memory: finished networks take more than {readable(self._limit)}; the others of "
                f"this run are read from files in {self._folder}, which are gone when it ends"
            )


def allow_files() -> None:
    """Lets this process have as many files open as it may.

    Each mapping holds one, and Orbax some for each checkpoint that it saves or reads.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _is_large(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.nbytes >= _SMALL


def _map(arrays: list[np.ndarray], folder: Path) -> list[np.ndarray]:
    """Writes arrays to a file without a name, and maps it."""
    with storing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        # Written and not copied into a mapping: a full disk is an error then, and no signal.
        with tempfile.TemporaryFile(dir=folder, prefix=".shelf-") as file:
            starts = []
            for array in arrays:
                starts.append(file.seek(math.ceil(file.tell() / _ALIGNED) * _ALIGNED))
                # As bytes, which all types have; those of bfloat16 have no buffer of their own.
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
            file.flush()
            whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    places = zip(arrays, starts, strict=True)
    return [np.ndarray(array.shape, array.dtype, whole, start) for array, start in places]
