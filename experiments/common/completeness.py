"""What says that a run is complete, whether it can be believed, and what is done if not."""

from pathlib import Path
from typing import Any

from jaxticket.costs import Costs
from jaxticket.errors import TicketError
from jaxticket.population.pieces import print_note
from jaxticket.runs import (
    CheckpointReader,
    DamagedError,
    RunDirectory,
    read_json,
    read_results,
    set_aside,
)

_NUMBER, _NONE = (int, float), type(None)
_NETWORK = {"arm": str, "level": int, "replicate": int}

SUMMARY_FORM = {
    "seconds": _NUMBER,
    "claims": [
        {
            "id": str,
            "statement": str,
            "measured": (*_NUMBER, str, _NONE),
            "interval": (list, _NONE),
            "exact": bool,
            "holds": (bool, _NONE),
        }
    ],
    "costs": {
        **{name: (*_NUMBER, _NONE) for name in Costs._fields if name not in ("seconds", "notes")},
        "seconds": dict,
        "networks": int,
        "network_steps": int,
        "notes": [str],
    },
    "diverged": [{**_NETWORK, "step": int}],
    "collapsed?": [{**_NETWORK, "layers": [str]}],
    "untrained?": [_NETWORK],
    "undrawn?": str,
    "undefined?": [{"measure": str, "between": str, "alpha": _NUMBER}],
}
"""What is read of a summary; what else it holds is for people."""


def read_summary(path: Path, run: str | None = None) -> dict[str, Any]:
    """Reads the verdicts on a run.

    Args:
      path: a `summary.json`.
      run: which run it must be of, if it says so.

    Returns:
      Its content.

    Raises:
      TicketError: if it is not there, damaged or not of the form, naming the file.
    """
    return read_json(path, SUMMARY_FORM, run)


def set_damaged_aside(directory: RunDirectory) -> bool:
    """Looks at the last files of a run, and clears the way for making a damaged one again.

    Args:
      directory: its directory.

    Returns:
      True if results and summary are there and whole.

    Raises:
      TicketError: if one is damaged or missing and no checkpoint is there to make it from.
    """
    files = {directory.results: read_results, directory.summary: read_summary}
    there = [path for path in files if path.is_file()]
    for path in there:
        try:
            files[path](path, directory.name)
        except DamagedError as error:
            _check_can_be_made(directory, error.said)
            folder = set_aside(directory.path, path)
            print_note(f"{error.said}: set aside in {folder}, and made again from the checkpoints")
            return False
    if there and len(there) < len(files):
        missing = next(path for path in files if path not in there)
        _check_can_be_made(directory, f"{missing}: is missing")
    return len(there) == len(files)


def earlier_account(directory: RunDirectory, costs: dict[str, Any]) -> dict[str, Any]:
    """Finds what a run has cost, for a start that only made its last files again.

    Args:
      directory: its directory.
      costs: of this start.

    Returns:
      `seconds` and `costs` of the summary that is there, if this start trained nothing.
    """
    if costs["networks"] or not directory.summary.is_file():
        return {}
    earlier = read_summary(directory.summary, directory.name)
    return {name: earlier[name] for name in ("seconds", "costs")}


def _check_can_be_made(directory: RunDirectory, said: str) -> None:
    # What measures another run has no checkpoints of its own, and reads that one again.
    if CheckpointReader(directory.checkpoints).steps() or directory.config.get("run"):
        return
    raise TicketError(
        f"{said}, and no checkpoint is there to make it again from; restore it, or start again "
        "with --fresh, which discards all that is there"
    )
