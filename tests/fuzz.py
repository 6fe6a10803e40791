"""Every kind of file that is read, damaged at random: `python -m tests.fuzz --mutations 1000`.

The law: a damaged file gives what the whole one gives, or a `TicketError` of one line that names
it, or a note of one line and less than the whole, of which every bit is right. Never another
result, another exception, more lines on stderr from whatever thread, or a process that does not
come back.
"""

import argparse
import collections
import contextlib
import faulthandler
import os
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_kinds
import mutations
from fuzz_kinds import Kind

from experiments.common.quiet import leave_out_repetitions
from jaxticket import TicketError

LIMIT = 120.0
"""Seconds that one reading may take before the process ends with a traceback of where it is."""


class Outcome(NamedTuple):
    """What came of one mutation: its name, and what went wrong if anything did."""

    what: str
    fault: str = ""


def fuzz(name: str, number: int, seed: int) -> Iterator[tuple[str, Outcome]]:
    """Damages the files of one kind.

    Args:
      name: of the kind.
      number: of mutations.
      seed: of their stream.

    Yields:
      The mutation, and what came of it.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    with tempfile.TemporaryDirectory(prefix="jaxticket-fuzz-") as place, stderr() as said:
        pristine, work = Path(place) / "pristine", Path(place) / "work"
        kind = fuzz_kinds.KINDS[name](pristine)
        whole = _given(kind, pristine, work)
        said()
        for _ in range(number):
            file = list(kind.files)[rng.integers(len(kind.files))]
            mutation = mutations.draw(rng)
            before = (pristine / file).read_bytes()
            after = mutations.MUTATIONS[mutation](rng, before, kind.files[file])
            outcome = _judge(kind, pristine, work, file, after, whole, said)
            yield mutation, outcome


def _judge(
    kind: Kind,
    pristine: Path,
    work: Path,
    file: str,
    after: Any,
    whole: Any,
    said: Callable[[], str],
) -> Outcome:
    def damage() -> None:
        (work / file).unlink() if after is None else (work / file).write_bytes(after)

    given, refusal = None, ""
    try:
        given = _given(kind, pristine, work, damage)
    except TicketError as error:
        refusal = str(error)
    except Exception as error:  # what the law forbids
        return Outcome("failed", f"{file}: {type(error).__name__}: {error}")
    text = said()
    lines = text.splitlines()
    if len(lines) > 1:
        return Outcome("told too much", f"{file}: {refusal or given!r:.200}, and says {text!r}")
    if refusal:
        named = (Path(file).parts[0] in refusal or str(work) in refusal) and "\n" not in refusal
        return Outcome("refused", "" if named else f"{file}: {refusal!r} does not name it")
    if fuzz_kinds.same(given, whole):
        return Outcome("set aside" if lines else "the same")
    if kind.less(given, whole, bool(lines), after is None):
        return Outcome("set aside" if lines else "left out")
    return Outcome("wrong", f"{file}: gives {given!r:.200}, and says {text!r}")


def _given(
    kind: Kind, pristine: Path, work: Path, damage: Callable[[], None] = lambda: None
) -> Any:
    """Reads a copy of the folder."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(pristine, work)
    damage()
    faulthandler.dump_traceback_later(LIMIT, exit=True, file=sys.__stdout__)
    try:
        return kind.read(work)
    finally:
        faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def stderr() -> Iterator[Callable[[], str]]:
    """Catches what the process writes to stderr: by Python, by C, by threads that are late.

    Yields:
      A function that gives what came since it was called last.
    """
    hook, kept = sys.unraisablehook, os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        stream = os.fdopen(os.dup(2), "w", buffering=1)
        place = 0

        def said() -> str:
            nonlocal place
            content = os.pread(file.fileno(), 1 << 20, place)
            place += len(content)
            return content.decode(errors="replace")

        try:
            with warnings.catch_warnings(), stream, contextlib.redirect_stderr(stream):
                leave_out_repetitions()
                yield said
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            sys.unraisablehook = hook


def main() -> int:
    """Fuzzes from the command line; exit code 1 if the law was broken."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--mutations", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="*", default=list(fuzz_kinds.KINDS))
    options = parser.parse_args()
    broken = 0
    for name in options.kinds:
        began, counts = time.monotonic(), collections.Counter()
        for place, (mutation, outcome) in enumerate(fuzz(name, options.mutations, options.seed)):
            counts[outcome.what] += 1
            if outcome.fault:
                broken += 1
                print(f"{name} {place} {mutation}: {outcome.fault}", flush=True)
        found = ", ".join(f"{number} {what}" for what, number in sorted(counts.items()))
        print(f"{name}: {found} ({time.monotonic() - began:.0f} s)", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{broken} broke the law; at most {memory:.1f} GB of memory")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
