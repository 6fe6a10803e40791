"""How much memory does a search take? That of its process, by groups of replicates.

A search of LeNet-300-100 with two controls, two steps a level, whose finished networks are all
mapped from the disk: what is left is what is in training. It is made with one group of replicates,
with several groups of that size, and with as many replicates at once, each in a process of its own.
Measured is the most memory that the process has of its own (RssAnon, which only Linux tells), and
compared with what `jaxticket.imp.groups` expects of a replicate. Of what all benchmarks take,
`--models`, `--rounds` and `--device` change nothing here.

Command: `python -m benchmarks.memory`
"""

import dataclasses
import multiprocessing
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import jax
import optax
from rich.console import Console

from benchmarks.common import machine
from benchmarks.common.benchmark import make_main
from benchmarks.common.options import Options
from benchmarks.common.report import Column, Findings, Row, table
from benchmarks.common.targets import verdict
from experiments.common.command_line import run_main
from experiments.common.configuration import check_positive
from jaxticket import Protocol, allocate, data, find_tickets, learners, models
from jaxticket.errors import TicketError
from jaxticket.imp.groups import COPIES
from jaxticket.runs import CheckpointStore

_STATUS = Path("/proc/self/status")
_EVERY = 0.02
"""Seconds between two looks at the memory."""
_EXAMPLES = 200
"""Of each split: what a step needs is the same for any number."""


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """What can be chosen; the text under each field is its help on the command line."""

    together: int = 50
    """Replicates that are searched at a time."""
    groups: int = 4
    """Groups of replicates, one after the other."""
    levels: int = 3
    """Levels, the dense one included."""


def quick(config: Config) -> Config:
    """Makes the configuration small."""
    return dataclasses.replace(config, together=2, groups=2, levels=2)


def check(config: Config) -> None:
    """Refuses what cannot be measured.

    Args:
      config: what was chosen.

    Raises:
      TicketError: with what was expected.
    """
    check_positive(together=config.together, levels=config.levels)
    if config.groups < 2:
        raise TicketError(f"--groups: got {config.groups}, expected at least 2, to compare with 1")


def measure_all(config: Config, findings: Findings, console: Console) -> None:
    """Measures, and prints the table.

    Args:
      config: what was chosen.
      findings: appended to.
      console: where tables go.
    """
    if not _STATUS.exists():
        findings.not_measured.append("memory: this system does not tell what a process has")
        return
    one, many = config.together, config.together * config.groups
    rows = [_measure(config, *sizes) for sizes in ((one, one), (many, one), (many, many))]
    findings.measurements["memory"] = rows
    columns = [
        Column("replicates", "replicates"),
        Column("together", "at a time"),
        Column("mebibytes", "MiB of its own", ",.0f"),
        Column("seconds", "s", ".1f"),
    ]
    console.print(table("a search of LeNet-300-100", columns, rows))
    alone, grouped, at_once = (row["mebibytes"] for row in rows)
    a_replicate = (at_once - alone) / (many - one)
    expected = COPIES * _network_bytes() / 2**20
    line = f"a replicate in training: {a_replicate:.1f} MiB, {expected:.1f} are expected"
    console.print(line, markup=False)
    kind = machine.kind()
    findings.verdicts.append(verdict("memory.groups", alone / grouped, kind))
    findings.verdicts.append(verdict("memory.expected", expected / a_replicate, kind))


def _measure(config: Config, replicates: int, together: int) -> Row:
    """Measures a search in a process of its own, which has the memory of no other one."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as process:
        given = replicates, together, config.levels, config.seed
        before, peak, seconds = process.submit(search, *given).result()
    return {
        "replicates": replicates,
        "together": together,
        "mebibytes": peak / 2**20,
        "mebibytes_before": before / 2**20,
        "seconds": seconds,
    }


def search(replicates: int, together: int, levels: int, seed: int) -> tuple[int, int, float]:
    """Makes a search, and watches the memory of this process.

    Args:
      replicates: how many.
      together: of them at a time.
      levels: the dense one included.
      seed: of all networks.

    Returns:
      Bytes of its own before and at most, and seconds.
    """
    machine.start("cpu")
    peak, done = [own_bytes()], threading.Event()

    def watch() -> None:
        while not done.wait(_EVERY):
            peak.append(max(peak.pop(), own_bytes()))

    watcher, before, began = threading.Thread(target=watch), peak[0], time.perf_counter()
    watcher.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            _find(Path(folder), replicates, together, levels, seed)
    finally:
        done.set()
        watcher.join()
    return before, peak[0], time.perf_counter() - began


def own_bytes() -> int:
    """Reads what memory this process has of its own: not files that it has mapped.

    Returns:
      Bytes.
    """
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    [kilobytes] = [line.split()[1] for line in lines if line.startswith("RssAnon:")]
    return 1024 * int(kilobytes)


def _find(folder: Path, replicates: int, together: int, levels: int, seed: int) -> None:
    dataset = data.load("fashion_mnist_5k")
    cut = lambda split: jax.tree.map(lambda leaf: leaf[:_EXAMPLES], split)  # noqa: E731
    with CheckpointStore(folder / "checkpoints", held_bytes=0) as store:
        find_tickets(
            learners.supervised(models.lenet_300_100(), optax.adam(1.2e-3)),
            {"train": cut(dataset.train), "test": cut(dataset.test)},
            jax.random.key(seed),
            Protocol(steps=2, batch_size=60, evaluate_every=2),
            allocate.uniform(0.2),
            levels=levels,
            replicates=replicates,
            together=together,
            arms=("ticket", "reinit", "shuffle"),
            store=store,
        )


def _network_bytes() -> int:
    """Counts the bytes of a network's weights, moments and mask."""
    params = jax.eval_shape(models.lenet_300_100().init, jax.random.key(0))[0]
    moments = jax.eval_shape(optax.adam(1.2e-3).init, params)
    kernels = sum(leaf.size for leaf in jax.tree.leaves(params) if leaf.ndim > 1)
    return kernels + sum(4 * leaf.size for leaf in jax.tree.leaves((params, moments)))


main = make_main("memory", __doc__, Config(), quick, check, measure_all)

if __name__ == "__main__":
    run_main(main)
