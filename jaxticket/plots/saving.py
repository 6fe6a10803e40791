"""Figures as files: the same figure gives the same bytes."""

from collections.abc import Mapping
from pathlib import Path

from matplotlib.figure import Figure

from jaxticket.runs.files import replacing

DOTS_PER_INCH = 150


def save(figures: Mapping[str, Figure], directory: Path) -> list[Path]:
    """Writes figures as PNG files that are either whole or absent.

    Args:
      figures: by the name of the file, without `.png`.
      directory: where; made if it is not there.

    Returns:
      The files, in the order of the figures.

    Example:
      >>> import tempfile
      >>> [path.name for path in save({"empty": Figure((1, 1))}, Path(tempfile.mkdtemp()))]
      ['empty.png']
    """
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures.items():
        path = directory / f"{name}.png"
        with replacing(path) as temporary:
            # Matplotlib would otherwise write its version into every file.
            figure.savefig(
                temporary,
                format="png",
                dpi=DOTS_PER_INCH,
                facecolor="auto",
                metadata={"Software": None},
            )
        paths.append(path)
    return paths
