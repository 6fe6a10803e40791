"""Do the tests notice faults in the code? `python -m tests.mutants --number 200`.

Small faults (another operator, number, comparison or condition, a loop that is left out) are put
one by one into what decides results: masks, allocation, rewinding, training and the search. A
fault is killed if a test fails that runs its line. Which tests run which line comes from a run of
the whole suite, which is made first if its two files are not there:

    pytest --slow --cov=jaxticket --cov-branch --cov-context=test --junitxml=build/tests.xml \
        -o junit_family=xunit1
"""

import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import tyro
from rich.console import Console

from .drawing import Mutant, draw
from .trying import Suite, Tried, attempt, copy_project, read_suite

ROOT = Path(__file__).parents[2]
PACKAGES = ("masks", "allocate", "rewind.py", "train", "trainer", "imp")


@dataclasses.dataclass(frozen=True)
class Options:
    """What can be chosen."""

    number: int = 200
    """How many faults; all places if there are fewer."""
    after: int = 0
    """How many of the draw are left out: with the same seed, those that were tried before."""
    seed: int = 0
    """Of the draw."""
    packages: tuple[str, ...] = PACKAGES
    """Of jaxticket, which they are put into."""
    seconds: float = 60
    """Of tests for each fault, in each of two stages."""
    workers: int = 2
    """Copies of the project."""
    coverage: Path = ROOT / ".coverage"
    """Which tests run which lines."""
    report: Path = ROOT / "build" / "tests.xml"
    """How long tests take."""
    json: Path | None = None
    """Where everything is written, after every fault."""


def main() -> int:
    """Runs from the command line.

    Returns:
      1 if less than nine in ten faults were killed, 0 otherwise.
    """
    options, console = tyro.cli(Options, description=__doc__), Console()
    if not (options.coverage.is_file() and options.report.is_file()):
        console.print("running the whole suite first, to see which tests run which lines")
        run_suite(options)
    suite = read_suite(ROOT, options.coverage, options.report)
    drawn = draw(ROOT, files(options.packages), options.after + options.number, options.seed)
    found = try_all(options, suite, drawn[options.after :], console)
    killed = sum(row.outcome == "killed" for row in found)
    console.print(f"{killed} of {len(found)} faults were killed ({killed / len(found):.1%})")
    return int(killed < 0.9 * len(found))


def files(packages: tuple[str, ...]) -> list[str]:
    """Lists the files of packages, from the root."""
    places = [ROOT / "jaxticket" / name for name in packages]
    each = [[place] if place.is_file() else sorted(place.rglob("*.py")) for place in places]
    return [str(path.relative_to(ROOT)) for paths in each for path in paths]


def run_suite(options: Options) -> None:
    """Runs all tests, and writes down what they run and how long they take."""
    options.report.parent.mkdir(exist_ok=True)
    words = ["--slow", "--cov=jaxticket", "--cov-branch", "--cov-context=test", "--cov-report="]
    words += [f"--junitxml={options.report}", "-o", "junit_family=xunit1"]
    subprocess.run([sys.executable, "-m", "pytest", *words], cwd=ROOT, check=True)


def try_all(options: Options, suite: Suite, drawn: list[Mutant], console: Console) -> list[Tried]:
    """Tries faults, several at a time, and tells how far it is and what no test notices.

    Args:
      options: what was chosen.
      suite: what is known of its tests.
      drawn: the faults.
      console: where survivors are told.

    Returns:
      What came of each.
    """
    places: queue.Queue[Path] = queue.Queue()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="jaxticket-mutants-") as folder:
        os.environ["JAX_COMPILATION_CACHE_DIR"] = f"{folder}/programs"
        for number in range(options.workers):
            places.put(copy_project(ROOT, Path(folder, str(number))))

        def one(mutant: Mutant) -> Tried:
            place = places.get()
            try:
                return attempt(place, mutant, suite, options.seconds)
            finally:
                places.put(place)

        found = []
        with ThreadPoolExecutor(options.workers) as pool:
            for done in as_completed([pool.submit(one, mutant) for mutant in drawn]):
                found.append(done.result())
                _tell(console, found, len(drawn), time.monotonic() - began)
                _write(options.json, found)
    return found


def _tell(console: Console, found: list[Tried], number: int, seconds: float) -> None:
    row, killed = found[-1], sum(row.outcome == "killed" for row in found)
    text = f"{len(found)} of {number}, {killed} killed, {seconds:.0f} s"
    if row.outcome != "killed":
        text += f"; {row.outcome}: {describe(row.mutant)}"
    console.print(text, soft_wrap=True, markup=False, highlight=False)


def _write(path: Path | None, found: list[Tried]) -> None:
    if path is not None:
        rows = [row.mutant._asdict() | {"outcome": row.outcome, "said": row.said} for row in found]
        path.write_text(json.dumps(rows, indent=1))


def describe(mutant: Mutant) -> str:
    """Says in a line what a fault does."""
    before = (ROOT / mutant.path).read_text().splitlines()
    after = mutant.source(ROOT).splitlines()
    old, new = next((a, b) for a, b in zip(before, after, strict=False) if a != b)
    return f"{mutant.path}:{mutant.line}: {old.strip()}  ->  {new.strip()}"


if __name__ == "__main__":
    sys.exit(main())
