"""`--verify`: a network of a run is trained again and compared with what was kept, bit by bit.

The search itself does it: its store hands out all records but the one of the network that was
drawn, so the search trains that population again, from the same predecessors, states and keys.
"""

import secrets
from collections.abc import Callable
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common.command_line import FAILED
from experiments.common.configuration import Configuration
from jaxticket.errors import TicketError
from jaxticket.imp import Progress
from jaxticket.population import Plan, hosts
from jaxticket.records import Coordinate, Dropped, Origin, Record, Store, Template
from jaxticket.result import Result
from jaxticket.runs import (
    CheckpointReader,
    RunDirectory,
    describe_environment,
    differences,
    environment_differences,
    run_path,
)
from jaxticket.runs.shelf import Shelf

Search = Callable[[Store, Callable[[Progress], None]], Result]


class TrainedAgainError(Exception):
    """Ends a search: the network that was drawn has been trained again.

    Attributes:
      record: the population that it trained in.
    """

    def __init__(self, record: Record) -> None:
        """Makes the exception."""
        super().__init__("trained again")
        self.record = record


class Withholding:
    """A store that keeps the record of one network to itself until it is trained again.

    Attributes:
      drawn: the network, once `load` was called.
      withheld: its record.
    """

    partway = None

    def __init__(self, store: CheckpointReader, seed: int) -> None:
        """Prepares.

        Args:
          store: holds the records; it is only read.
          seed: of the draw.
        """
        self._store, self._seed = store, seed
        self.drawn: Coordinate
        self.withheld: Record

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Gives back what was saved but for one record, drawn uniformly over networks."""
        origins, records = self._store.load(template)
        names = sorted(name for record in records for name in record.coordinates)
        if not names:
            raise TicketError("--verify: no network of this run is finished; run it first")
        self.drawn = names[np.random.default_rng(self._seed).integers(len(names))]
        self.withheld = next(record for record in records if self.drawn in record.coordinates)
        return origins, [record for record in records if record is not self.withheld]

    def save_origin(self, origin: Origin) -> Origin:
        """Keeps nothing: what begins with it is compared."""
        return origin

    def save(self, record: Record) -> Record:
        """Ends the search if the network that was drawn is in the record."""
        if self.drawn in record.coordinates:
            raise TrainedAgainError(record)
        return record


def check_verify(experiment: str, config: Configuration) -> None:
    """Refuses what cannot be verified, before anything is read or written.

    Args:
      experiment: its name.
      config: the configuration.

    Raises:
      TicketError: one line on what is wrong.
    """
    if not config.verify:
        if config.verify_seed is not None:
            raise TicketError("--verify-seed: got no --verify, expected it; give both")
        return
    if not 0 <= (config.verify_seed or 0) < 2**32:
        raise TicketError(f"--verify-seed: got {config.verify_seed}, expected 0 to {2**32 - 1}")
    if config.fresh:
        raise TicketError("--verify: got --fresh, which would discard the run; give one of them")
    if getattr(config, "run", None) is not None:
        raise TicketError(
            "--verify: got --run, whose networks belong to another run; verify that one, by its "
            "own command"
        )
    path = run_path(experiment, config, config.out)
    if not (path / "checkpoints").is_dir():
        raise TicketError(f"--verify: {path} holds no run; run the same command without it first")


def verify(
    directory: RunDirectory,
    search: Search,
    data: dict[str, Any],
    plan: Plan,
    seed: int | None,
    console: Console,
) -> int:
    """Trains one network again, with those beside which it trained, and compares all of them.

    Args:
      directory: of a finished or partial run; nothing in it is changed.
      search: finds the tickets, given a store and a progress callback.
      data: their `sha256` and `source`.
      plan: how populations run.
      seed: of the draw; drawn and printed if `None`.
      console: where to print.

    Returns:
      0 if every bit is the same, 1 if not.
    """
    starts = directory.starts()
    directory.check_data(data, starts)
    drawn_with = hosts.once(lambda: secrets.randbelow(2**32) if seed is None else seed)
    identity = {"run": directory.name, "data": data["sha256"]}
    store = CheckpointReader(directory.checkpoints, identity, Shelf(directory.path).put)
    withholding = Withholding(store, drawn_with)
    trained = _train_again(withholding, search)
    return _report(withholding, trained, starts, plan, drawn_with, console)


def _train_again(withholding: Withholding, search: Search) -> Record:
    try:
        search(withholding, lambda progress: None)
    except TrainedAgainError as trained:
        return trained.record
    raise AssertionError("a search trains what its store does not hold")


def _report(
    withholding: Withholding,
    trained: Record,
    starts: list[dict[str, Any]],
    plan: Plan,
    seed: int,
    console: Console,
) -> int:
    kept, name = withholding.withheld, withholding.drawn
    found = differences(kept, trained)
    others = sum(other in trained.coordinates for other in kept.coordinates) - 1
    who = f"{name.arm} level {name.level} replicate {name.replicate}"
    who += f" of {name.variant}" if name.variant else ""
    how = f"--verify: trained {who} again (--verify-seed {seed}), with {others} others beside it"
    if not found:
        dropped = isinstance(kept.params, Dropped)
        what = "model state" if dropped else "params, model state"
        less = "; params were dropped by --keep" if dropped else ""
        line = f"{how}: masks, {what} and curves are identical{less}"
        console.print(line, markup=False, highlight=False, soft_wrap=True)
        return 0
    now = describe_environment() | {"plan": str(plan)}
    changed = dict.fromkeys(line for then in starts for line in environment_differences(then, now))
    reasons = list(changed) or ["nothing that environment.json knows of has changed"]
    if plan.inside == "vmap":
        reasons.append(
            f"vmap gives the same bits only beside as many networks: {len(kept.arms)} then, "
            f"{len(trained.arms)} now"
        )
    line = f"{how}: {len(found)} leaves differ"
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    _complain(f"{found[0]}; {'; '.join(reasons)}")
    return FAILED


def _complain(message: str) -> None:
    if hosts.is_primary():
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"error: --verify: {message}", markup=False
        )
