"""What a benchmark leaves: tables on the terminal, a JSON file, an exit code."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.common import machine
from benchmarks.common.options import Options
from benchmarks.common.targets import Verdict, as_json
from experiments.common.command_line import FAILED
from jaxticket.runs import write_json

Row = dict[str, Any]
"""What was measured of one thing: numbers and names, as they go into JSON."""


class Column(NamedTuple):
    """A column of a table.

    Attributes:
      key: in a row.
      title: above the column.
      form: a format specification, such as `.2f`.
    """

    key: str
    title: str
    form: str = ""


class Findings(NamedTuple):
    """What a benchmark found.

    Attributes:
      benchmark: its name.
      measurements: rows by table.
      verdicts: on the stated ratios.
      not_measured: what could not be measured, and why.
      faults: what makes the measurement worthless, such as sides that trained differently.
    """

    benchmark: str
    measurements: dict[str, list[Row]]
    verdicts: list[Verdict]
    not_measured: list[str]
    faults: list[str]


def table(title: str, columns: Sequence[Column], rows: Sequence[Row], caption: str = "") -> Table:
    """Makes a table of rows; what a row does not have stays empty.

    Args:
      title: above it.
      columns: what is shown.
      rows: what was measured.
      caption: below it.

    Returns:
      A rich table.
    """
    made = Table(title=title, caption=caption or None, box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        numbers = any(isinstance(row.get(column.key), int | float) for row in rows)
        made.add_column(column.title, justify="right" if numbers else "left")
    for row in rows:
        made.add_row(*(_cell(row.get(column.key), column.form) for column in columns))
    return made


def _cell(value: Any, form: str) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else format(value, form)


def finish(console: Console, options: Options, findings: Findings) -> int:
    """Prints the verdicts, writes the JSON file and decides the exit code.

    Args:
      console: where to print.
      options: what was chosen.
      findings: what was found.

    Returns:
      1 if a stated ratio is not reached (never where quick) or there is a fault, else 0.
    """
    if findings.verdicts:
        console.print(_verdict_table(findings.verdicts, quick=options.quick))
    for name in findings.not_measured:
        console.print(f"not measured: {name}", markup=False)
    for fault in findings.faults:
        console.print(f"fault: {fault}", markup=False)
    if options.json is not None:
        write_json(options.json, _content(options, findings))
        console.print(f"everything measured: {options.json}", markup=False)
    missed = [each for each in findings.verdicts if each.holds is False and not options.quick]
    return FAILED if missed or findings.faults else 0


def _verdict_table(verdicts: list[Verdict], *, quick: bool) -> Table:
    rows = [
        {
            **each._asdict(),
            "measured": "not measured" if each.measured is None else f"{each.measured:.3g}",
            "least": "none" if each.least is None else f"{each.least:.3g}",
            "holds": _word(each, quick=quick),
        }
        for each in verdicts
    ]
    columns = [
        Column("target", "ratio"),
        Column("statement", "of what over what"),
        Column("measured", "measured"),
        Column("least", "stated here"),
        Column("holds", "holds"),
    ]
    return table("stated ratios", columns, rows)


def _word(each: Verdict, *, quick: bool) -> str:
    if each.holds is None or quick:
        return "not judged"
    return "yes" if each.holds else "NO"


def _content(options: Options, findings: Findings) -> dict[str, Any]:
    config = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(options).items()
    }
    return {
        "benchmark": findings.benchmark,
        "config": config,
        "machine": machine.describe(),
        "measurements": findings.measurements,
        "targets": as_json(findings.verdicts),
        "not_measured": findings.not_measured,
        "faults": findings.faults,
    }
