"""One fault in a copy of the project, and the tests that run its line."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from coverage import CoverageData

from .drawing import Mutant, statement


class Suite(NamedTuple):
    """What a run of the whole suite showed of its tests.

    Attributes:
      seconds: each took, by name.
      lines: the tests that run a line, by line, by file.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[int, set[str]]]

    def covering(self, root: Path, mutant: Mutant) -> set[str]:
        """Names the tests that run the statement of a fault; of its file, if none is known to."""
        lines = self.lines.get(mutant.path, {})
        span = statement((root / mutant.path).read_text(), mutant.line)
        found = set().union(*(lines.get(line, ()) for line in span))
        return (found or set().union(*lines.values())) & self.seconds.keys()

    def within(self, names: Iterable[str], seconds: float) -> list[str]:
        """Takes the quickest that take no longer than this together, at least one."""
        chosen: list[str] = []
        for name in sorted(names, key=self.seconds.__getitem__):
            seconds -= self.seconds[name]
            if chosen and seconds < 0:
                break
            chosen.append(name)
        return chosen


class Tried(NamedTuple):
    """What came of a fault.

    Attributes:
      mutant: the fault.
      outcome: "killed", "survived", or "not run" where no test runs its line.
      tests: how many were run at most.
      said: the last line of the last run.
    """

    mutant: Mutant
    outcome: str
    tests: int
    said: str


def read_suite(root: Path, data: Path, report: Path) -> Suite:
    """Reads what pytest wrote with `--cov-context=test` and `--junitxml`.

    Args:
      root: of the project.
      data: of coverage.
      report: of the tests, as xunit1, which names their files.

    Returns:
      Seconds of the tests that passed, and the tests of the lines.
    """
    seconds = {
        f"{case.get('file')}::{case.get('name')}": float(case.get("time") or 0)
        for case in ElementTree.parse(report).iter("testcase")
        if not list(case)
    }
    coverage = CoverageData(str(data))
    coverage.read()
    lines = {}
    for file in coverage.measured_files():
        by_line = coverage.contexts_by_lineno(file)
        lines[str(Path(file).relative_to(root))] = {
            line: {context.rpartition("|")[0] for context in contexts} - {""}
            for line, contexts in by_line.items()
        }
    return Suite(seconds, lines)


def copy_project(root: Path, place: Path) -> Path:
    """Copies all that git knows of: a test that lacks a file would fail without any fault."""
    words = ["git", "ls-files", "-z"]
    listed = subprocess.run(words, cwd=root, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, place / name)
    return place


def attempt(place: Path, mutant: Mutant, suite: Suite, seconds: float) -> Tried:
    """Puts a fault into a copy of the project, runs the tests of its line, and takes it out.

    First the quickest that run the line; if these pass, whole files of tests that run it, since a
    compiled function runs the lines that it was traced from only once.

    Args:
      place: of the copy.
      mutant: the fault.
      suite: what is known of its tests.
      seconds: that all tests of one stage may have taken in the run of the whole suite.

    Returns:
      What came of it.
    """
    file, covering = place / mutant.path, suite.covering(place, mutant)
    if not covering:
        return Tried(mutant, "not run", 0, "")
    files = {name.partition("::")[0] for name in covering}
    beside = {name for name in suite.seconds if name.partition("::")[0] in files}
    whole, ran, said = file.read_text(), 0, ""
    try:
        file.write_text(mutant.source(place))
        for names in (covering, beside - covering):
            chosen = suite.within(names, seconds) if names else []
            if not chosen:
                continue
            ran += len(chosen)
            passed, said = run_tests(place, chosen, limit=120 + 5 * seconds)
            if not passed:
                return Tried(mutant, "killed", ran, said)
    finally:
        file.write_text(whole)
    return Tried(mutant, "survived", ran, said)


def run_tests(place: Path, names: list[str], limit: float) -> tuple[bool, str]:
    """Runs tests until one fails.

    Args:
      place: of the project.
      names: of the tests.
      limit: seconds after which they count as failed: a fault may make a loop endless.

    Returns:
      Whether all passed, and the last line that was printed.
    """
    (place / "names.txt").write_text("\n".join(names))
    words = ["-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=line", "@names.txt"]
    # Options of a pytest that runs this one are not meant for it.
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    environment |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, *words],
            cwd=place,
            env=environment,
            capture_output=True,
            text=True,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return False, f"nothing within {limit:.0f} s"
    said = [line for line in done.stdout.splitlines() if line.strip()]
    failed = [line for line in said if line.startswith(("FAILED", "ERROR"))]
    return done.returncode == 0, (failed or said or [done.stderr[-300:]])[-1]
