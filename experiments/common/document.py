"""The report as a whole: introduction, overview, sections."""

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.common.finished import FinishedRun
from experiments.common.markdown import NOTHING, anchor, table
from experiments.common.section import REPLICATES, machines, replicates, section


class Entry(NamedTuple):
    """A run with its place in the report.

    Attributes:
      run: the run.
      title: of its section.
      images: where its main figures are copied to, in their order.
    """

    run: FinishedRun
    title: str
    images: list[Path]


def arrange(runs: Sequence[FinishedRun], images: Path) -> list[Entry]:
    """Gives every run a title and its figures names, which tell runs of one experiment apart.

    The default has none of its own; of others it is the preset, or else the hash.

    Args:
      runs: in their order.
      images: the folder for figures.

    Returns:
      One entry a run.
    """
    counts = Counter(run.experiment for run in runs)
    short = ["" if counts[run.experiment] == 1 else _short_name(run) for run in runs]
    counts = Counter(zip((run.experiment for run in runs), short, strict=True))
    entries = []
    for run, name in zip(runs, short, strict=True):
        own = name if counts[run.experiment, name] == 1 else run.hash
        prefix = f"{run.experiment}_{own}" if own else run.experiment
        title = f"{run.experiment} ({own})" if own else run.experiment
        names = [images / f"{prefix}_{figure.name}" for figure in run.figures]
        entries.append(Entry(run, title, names))
    return entries


def _short_name(run: FinishedRun) -> str:
    options = shlex.split(run.command)[3:]
    if not options:
        return ""
    return options[1] if options[0] == "--preset" and len(options) == 2 else run.hash


def document(entries: Sequence[Entry], out: Path, options: Sequence[str] = ()) -> str:
    """Writes the report.

    Args:
      entries: the runs.
      out: the file, from which images are linked.
      options: of the command that writes it, beside the runs.

    Returns:
      Markdown.
    """
    sections = [
        section(entry.run, entry.title, [_link(image, out) for image in entry.images])
        for entry in entries
    ]
    parts = [_introduction(entries, options), _overview(entries), _totals(entries), *sections]
    return "\n\n".join(parts) + "\n"


def count_verdicts(entries: Sequence[Entry]) -> Counter[bool | None]:
    """Counts claims by verdict.

    Args:
      entries: the runs.

    Returns:
      How many hold, fail (`False`) and are undecided (`None`).
    """
    return Counter(claim["holds"] for entry in entries for claim in entry.run.summary["claims"])


def _introduction(entries: Sequence[Entry], options: Sequence[str]) -> str:
    # Not the folders as they were given: those are one machine's, and these are everybody's.
    runs = [f"runs/{entry.run.experiment}/{entry.run.hash}" for entry in entries]
    command = shlex.join(["python", "-m", "experiments.report", *runs, *options])
    return f"""# Results

What the experiments claim and what their runs found. Nothing here is written by hand: this file is
made from the directories of complete runs by

```sh
{command}
```

and each run by the command in its section, which leaves out only what changes no result (where a
run is kept, where its data are, how its networks are shared out). Without `--out` a run is kept in
`runs/<experiment>/<hash>`, as above.

- **Claims** hold or fail by what stands under *expected*; what a run cannot decide is *undecided*.
  What failed is repeated under its table, with what was tried.
- **Intervals** are over replicates. A default run has {REPLICATES} or more; one with fewer says so.
- **p** is that of the test that an interval is, and in brackets the one corrected (Holm) for all
  tests of the run; a claim that a mean decides is no test and has none. What holds by itself alone
  is said to hold, *not corrected*.
- **The paper** is the published number, a dash where the claim records none. It is of the paper's
  own network, data and length of training, which are larger than those of a default run; what was
  not read in the paper itself is *unverified*."""


def _overview(entries: Sequence[Entry]) -> str:
    headers = ("experiment", "hold", "fail", "undecided", "replicates", "seconds", "machine")
    return table(headers, [_line(entry) for entry in entries], right=headers[1:-1])


def _line(entry: Entry) -> list[str]:
    verdicts = count_verdicts([entry])
    return [
        f"[{entry.title}](#{anchor(entry.title)})",
        str(verdicts[True]),
        f"**{verdicts[False]}**" if verdicts[False] else "0",
        str(verdicts[None]),
        str(replicates(entry.run) or NOTHING),
        f"{entry.run.summary['seconds']:,.0f}",
        machines(entry.run),
    ]


def _totals(entries: Sequence[Entry]) -> str:
    verdicts = count_verdicts(entries)
    return f"In all: {verdicts[True]} hold, {verdicts[False]} fail, {verdicts[None]} are undecided."


def _link(image: Path, out: Path) -> str:
    return Path(os.path.relpath(image, out.parent)).as_posix()
