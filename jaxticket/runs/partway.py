"""Where networks in the middle of their training are kept: one file, always whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from jaxticket.archives import UNREADABLE, read_archive
from jaxticket.population import hosts
from jaxticket.population.pieces import print_note
from jaxticket.runs.files import replacing


class PartwayFile:
    """Keeps the newest population that is partway; see `jaxticket.trainer.Keeper`.

    The file is an NumPy archive of plain arrays by path, each with a checksum.
    """

    def __init__(self, path: Path) -> None:
        """Names the file; nothing is made before something is kept.

        Args:
          path: of the file.
        """
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """Gives back what was kept; a line says so where it cannot be read."""
        if not hosts.once(self.path.is_file):
            return None
        try:
            return _nested(read_archive(self.path))
        except (*UNREADABLE, AttributeError) as error:
            print_note(
                f"{self.path}: cannot be read ({type(error).__name__}); the networks that were in "
                "training begin again"
            )
            return None

    def save(self, content: dict[str, Any]) -> None:
        """Keeps a population; returns when it is safe. A line says so where it cannot be."""
        note = hosts.once(lambda: self._write(dict(_flat(content))))
        if note is not None:
            print_note(note)

    def clear(self) -> None:
        """Removes what is kept, once nothing is in training any more."""
        hosts.once(lambda: self.path.unlink(missing_ok=True))

    def _write(self, arrays: dict[str, Any]) -> str | None:
        """Writes the file, or says why not: the other processes wait for a word of this one."""
        try:
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError as error:
            # What is finished is kept elsewhere, so training may go on.
            return f"{self.path}: cannot be written ({error.strerror}); training goes on"
        return None


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, np.ndarray]]:
    for name, part in tree.items():
        if isinstance(part, dict):
            yield from _flat(part, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", np.asarray(part)


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, leaf in flat.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree
