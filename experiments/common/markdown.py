"""Text and tables as Markdown."""

import re
from collections.abc import Sequence

from rich.table import Table

NOTHING = "—"
"""Stands in a cell where there is nothing to show."""

_SPECIAL = str.maketrans({"|": r"\|", "*": r"\*", "<": r"\<", "`": r"\`"})


def text(value: str) -> str:
    """Makes any text safe in a line or a cell: nothing in it is read as Markdown or HTML.

    Args:
      value: the text; line breaks become spaces.

    Returns:
      The text, with a backslash before what would be read otherwise.

    Example:
      >>> print(text("P(loss | mask) < 0.1"))
      P(loss \\| mask) \\< 0.1
    """
    return " ".join(value.split()).translate(_SPECIAL)


def number(value: float | str | None) -> str:
    """Shows a number with four digits, a sentence as it is.

    Args:
      value: what was measured.

    Returns:
      Text for a cell.

    Example:
      >>> number(0.0123456), number("not computable"), number(None)
      ('0.01235', 'not computable', '—')
    """
    if value is None:
        return NOTHING
    return text(value) if isinstance(value, str) else f"{value:.4g}"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """Makes a table.

    Args:
      headers: of the columns.
      rows: cells, which are Markdown already.
      right: headers of the columns that are aligned to the right.

    Returns:
      Its lines.

    Example:
      >>> print(table(["arm", "level"], [["ticket", "3"]], right=["level"]))
      | arm | level |
      | --- | ---: |
      | ticket | 3 |
    """
    rule = ["---:" if header in right else "---" for header in headers]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headers, rule, *rows))


def from_rich(made: Table) -> str:
    """Turns a table for the terminal into Markdown; its title and caption are left out.

    Args:
      made: a table whose cells are plain text.

    Returns:
      Its lines.

    Example:
      >>> made = Table("arm", "level")
      >>> made.add_row("shuffle\\nreinit", "3")
      >>> print(from_rich(made))
      | arm | level |
      | --- | --- |
      | shuffle reinit | 3 |
    """
    headers = [text(str(column.header)) for column in made.columns]
    cells = [[text(str(cell)) for cell in column.cells] for column in made.columns]
    right = [name for name, c in zip(headers, made.columns, strict=True) if c.justify == "right"]
    return table(headers, list(zip(*cells, strict=True)), right)


def anchor(heading: str) -> str:
    """Gives the link to a heading, as GitHub makes it.

    Args:
      heading: its text.

    Returns:
      The part after `#`.

    Example:
      >>> anchor("lenet (76b72b861c2e)")
      'lenet-76b72b861c2e'
    """
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
