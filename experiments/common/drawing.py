"""Figures of a run: one that cannot be drawn costs nothing but figures."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxticket.errors import StorageError
from jaxticket.runs import storing

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figures(folder: Path, draw: Callable[[], "dict[str, Figure]"]) -> dict[str, Any]:
    """Draws figures and writes them as files.

    Args:
      folder: where.
      draw: makes the figures by name, the main one first.

    Returns:
      What a summary says of them: `figures`, the names of those that were written, and
      `undrawn`, why the others were not, if there are any.

    Raises:
      StorageError: if a file cannot be written.
    """
    from jaxticket import plots

    saved: list[str] = []
    try:
        for name, figure in draw().items():
            with storing(folder):
                plots.save({name: figure}, folder)
            saved.append(name)
    except StorageError:
        raise
    except Exception as error:  # whatever Matplotlib makes of strange numbers
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return {"figures": saved, "undrawn": why}
    return {"figures": saved}


def describe_undrawn(why: str, summary: Path) -> str:
    """Says that figures are missing.

    Args:
      why: from `save_figures`.
      summary: the file that says so.

    Returns:
      One line.
    """
    return (
        f"figures: could not be drawn ({why}), results and verdicts are whole; to draw them again, "
        f"remove {summary} and rerun the same command"
    )
