"""Writes a report of run directories: what was claimed, measured and found.

Claim: none of its own; it shows the verdicts of the runs it is given, failed ones included.

Command: `python -m experiments.report RUN...`, seconds. A RUN is the directory of a complete run,
such as runs/lenet/<hash>. It writes results.md and the folder images where it is called; --out and
--images name other places. The same runs give the same bytes, in whatever order they are given.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from experiments.common.command_line import run_main
from experiments.common.document import Entry, arrange, count_verdicts, document
from experiments.common.finished import FinishedRun, read_finished
from experiments.common.misuse import refusals
from jaxticket.errors import TicketError
from jaxticket.runs.files import replacing


@dataclasses.dataclass(frozen=True)
class Config:
    """What can be chosen; the text under each field is its help on the command line."""

    runs: Annotated[tyro.conf.Positional[tuple[Path, ...]], tyro.conf.arg(metavar="RUN...")] = ()
    """Directories of complete runs."""
    out: Path = Path("results.md")
    """The Markdown file."""
    images: Path = Path("images")
    """Folder that the main figures are copied to."""


def read_all(paths: Sequence[Path]) -> list[FinishedRun]:
    """Reads runs.

    Args:
      paths: their directories.

    Returns:
      The runs, ordered by experiment; of one experiment the default first.

    Raises:
      TicketError: naming every directory that is no complete run, or two of the same run.

    Example:
      >>> read_all([])
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: RUN: got none, expected directories such as runs/lenet/<hash>
    """
    if not paths:
        raise TicketError("RUN: got none, expected directories such as runs/lenet/<hash>")
    found, faults = [], []
    for path in paths:
        try:
            found.append(read_finished(path))
        except TicketError as error:
            faults.append(str(error))
    if faults:
        raise TicketError("; ".join(faults))
    # The default first, whose command is the shortest.
    ordered = sorted(found, key=lambda run: (run.experiment, run.command, run.hash))
    first: dict[tuple[str, str], Path] = {}
    for run in ordered:
        path = first.setdefault((run.experiment, run.hash), run.path)
        if path is not run.path:
            raise TicketError(
                f"{path} and {run.path}: are the same configuration of {run.experiment}, "
                "expected each once; give one of them"
            )
    return ordered


def write(entries: Sequence[Entry], config: Config) -> None:
    """Copies the figures and writes the report, each file whole or not at all.

    Args:
      entries: the runs.
      config: what was chosen.

    Raises:
      TicketError: where a file cannot be written.
    """
    files = {
        image: figure
        for entry in entries
        for image, figure in zip(entry.images, entry.run.figures, strict=True)
    }
    contents = {image: figure.read_bytes() for image, figure in files.items()}
    contents[config.out] = document(entries, config.out, _options(config)).encode()
    for path, content in contents.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise TicketError(
                f"{path}: cannot be written ({error.strerror}); choose another --out or --images"
            ) from None


def _options(config: Config) -> list[str]:
    usual = Config()
    words = ["--out", str(config.out)] if config.out != usual.out else []
    return words + (["--images", str(config.images)] if config.images != usual.images else [])


def main(arguments: list[str] | None = None, console: Console | None = None) -> int:
    """Writes the report.

    Args:
      arguments: the command line, `sys.argv[1:]` if `None`.
      console: where to print.

    Returns:
      The exit code, 0 whatever the verdicts: a failed claim is a result.
    """
    program = "python -m experiments.report"
    with refusals(program):
        config = tyro.cli(Config, args=arguments, description=__doc__, prog=program)
    entries = arrange(read_all(config.runs), config.images)
    write(entries, config)
    verdicts = count_verdicts(entries)
    found = f"{verdicts[True]} claims hold, {verdicts[False]} fail, {verdicts[None]} are undecided"
    count = f"{len(entries)} run{'s' if len(entries) > 1 else ''}"
    console = console or Console(soft_wrap=True, highlight=False)
    console.print(f"{config.out}: {count}; {found}", markup=False)
    return 0


if __name__ == "__main__":
    run_main(main)
