"""Two run directories that must hold the same, bit by bit."""

from pathlib import Path

import numpy as np

from jaxticket.errors import TicketError
from jaxticket.runs import CheckpointStore, differences, read_json
from jaxticket.runs.files import DamagedError
from jaxticket.runs.locking import Lock


def compare(whole: Path, killed: Path) -> list[str]:
    """Compares a run that was killed with one that was not.

    Args:
      whole: the run directory of the one that was not.
      killed: of the other.

    Returns:
      What differs, a line each: nothing, if nothing was lost.
    """
    missing = [name for name in ("results.nc", "summary.json") if not (killed / name).is_file()]
    if missing:
        return [f"{' and '.join(missing)}: not there"]
    faults = []
    if (whole / "results.nc").read_bytes() != (killed / "results.nc").read_bytes():
        faults.append("results.nc differs")
    if extra := sorted(_names(killed) ^ _names(whole)):
        faults.append(f"only one of the two has {', '.join(extra)}")
    said, wanted = (read_json(path / "summary.json") for path in (killed, whole))
    faults += [
        f"summary.json: {name} differs"
        for name in ("claims", "diverged", "figures")
        if said[name] != wanted[name]
    ]
    faults += [
        f"{path.name} differs"
        for path in sorted((killed / "figures").iterdir())
        if path.read_bytes() != _content(whole / "figures" / path.name)
    ]
    return [*faults, *_networks(whole, killed), *_lock(killed)]


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _names(folder: Path) -> set[str]:
    """Lists files, but for what lies within a checkpoint, which Orbax gives random names."""
    found = (path.relative_to(folder) for path in folder.rglob("*"))
    return {str(name) for name in found if len(name.parts) <= 2}


def _networks(whole: Path, killed: Path) -> list[str]:
    first, second = (CheckpointStore(path / "checkpoints") for path in (whole, killed))
    try:
        if first.coordinates() != second.coordinates():
            return ["checkpoints: hold other networks, or in another order"]
        found = [
            str(difference)
            for step in first.steps()
            for difference in differences(first.read(step), second.read(step))
        ]
        begun, also = first.initial_params(), second.initial_params()
        same = all(np.array_equal(begun[path], also[path]) for path in begun)
        return found if same else [*found, "initial params differ"]
    except DamagedError as error:
        return [str(error)]
    finally:
        first.close()
        second.close()


def _lock(folder: Path) -> list[str]:
    try:
        Lock(folder / ".lock").close()
    except TicketError as error:
        return [str(error)]
    return []
