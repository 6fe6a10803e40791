"""Measuring the tickets of a finished run: `--run DIR` in the place of a search."""

import dataclasses
import importlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.common.configuration import Config, Configuration, ReadingOne
from experiments.common.listing import questions
from jaxticket.errors import TicketError, unknown
from jaxticket.recipes.reading import read_fields
from jaxticket.records import Dropped, Origin, Record, Template
from jaxticket.result import Result
from jaxticket.runs import CheckpointReader, Run, load
from jaxticket.runs.shelf import Shelf

if TYPE_CHECKING:
    from experiments.common.experiment import Experiment


class Source:
    """A finished run whose networks another experiment measures; a store that is only read.

    Attributes:
      path: its directory.
      experiment: which experiment it is of.
      config: its configuration.
    """

    partway = None

    def __init__(self, path: Path, reads: Collection[str] | None = None) -> None:
        """Opens a run.

        Args:
          path: its directory.
          reads: arms whose trained weights are measured; `None` for all.

        Raises:
          TicketError: if it is none, has not ended, or is of an experiment that is not known.
        """
        run = load(path)
        if not (path / "summary.json").is_file():
            raise TicketError(
                f"--run {path}: has not ended (no summary.json), expected a finished run; run its "
                "own command to the end first"
            )
        self.path, self._reads = path, reads
        self.experiment = _experiment(run)
        self.config: Configuration = _decode(
            type(self.experiment.presets["default"]), run.config, path
        )
        starts = run.environment["starts"]
        if not starts:
            raise TicketError(
                f"--run {path}: its environment.json does not say what data it read; restore it"
            )
        self._sha256 = starts[0]["data"]["sha256"]
        identity = {"run": run.name, "data": self._sha256}
        self._store = CheckpointReader(path / "checkpoints", identity, self._hold)
        self._shelf: Shelf | None = None

    def map_into(self, folder: Path) -> None:
        """Lets networks that memory does not hold be mapped from a disk, as those of a search are.

        Args:
          folder: for files without a name; the run itself is only read.
        """
        self._shelf = Shelf(folder)

    def check_data(self, sha256: str) -> None:
        """Checks that the data are those that the run was made with.

        Args:
          sha256: of the data that were loaded.

        Raises:
          TicketError: if they are others.
        """
        if sha256 != self._sha256:
            raise TicketError(
                f"--run {self.path}: was made with data of sha256 {self._sha256[:12]}, now "
                f"{sha256[:12]}; give the same data by --data-path"
            )

    def load(self, template: Template) -> tuple[list[Origin], list[Record]]:
        """Gives back what the run has kept."""
        origins, records = self._store.load(template)
        dropped = {
            arm: ()
            for record in records
            if isinstance(record.params, Dropped)
            for arm in record.arms
            if self._reads is None or arm in self._reads
        }
        if dropped:
            raise TicketError(
                f"--run {self.path}: the params of its {', '.join(dropped)} were dropped (--keep), "
                "expected those of all levels; make the run again with --keep all and another --out"
            )
        return origins, records

    def _hold(self, tree: Any) -> Any:
        return tree if self._shelf is None else self._shelf.put(tree)

    def save_origin(self, origin: Origin) -> Origin:
        """Refuses: there is nothing to begin with."""
        del origin
        raise TicketError(f"--run {self.path}: its checkpoints are gone; make the run again")

    def save(self, record: Record) -> Record:
        """Refuses what the run should have held already."""
        raise TicketError(
            f"--run {self.path}: lacks {len(record.arms)} networks, {tuple(record.coordinates[0])} "
            "first; run its own command to the end first"
        )


def adopt(config: Config, source: Source) -> Config:
    """Puts into a configuration how the networks of a run were made.

    Args:
      config: what is measured, and how.
      source: the run.

    Returns:
      The configuration with all that the run's and every other experiment's have in common.
    """
    common = [f.name for f in dataclasses.fields(Configuration) if f.metadata.get("science", True)]
    return dataclasses.replace(config, **{name: getattr(source.config, name) for name in common})


def _experiment(run: Run) -> "Experiment":
    """Finds whose run it is, by a name that is looked up and never imported as it stands."""
    names = [name for name in questions(Path(__file__).parents[1]) if name != "report"]
    if run.experiment not in names:
        raise TicketError(
            f"--run {run.path}: is of the experiment {run.experiment!r}, expected one of "
            f"{', '.join(names)}"
        )
    return importlib.import_module(f"experiments.{run.experiment}").EXPERIMENT


def _decode(kind: type, written: dict[str, Any], path: Path) -> Any:
    """Makes a configuration of what was written of it; fields that are newer have their default."""
    science = [f.name for f in dataclasses.fields(kind) if f.metadata.get("science", True)]
    try:
        return read_fields(kind, written, science)
    except (TypeError, ValueError) as error:
        raise TicketError(
            f"--run {path}: its config.json does not read as one of this version ({error}); make "
            "the run again"
        ) from None


def check_choice(config: Any, source: Source | None, names: Collection[str]) -> None:
    """Checks which search of a run is to be measured.

    Args:
      config: any configuration.
      source: the run that is read, if any.
      names: of its variants; none without a sweep.

    Raises:
      TicketError: if there is no such search.
    """
    if not isinstance(config, ReadingOne) or not config.variant:
        return
    if source is None:
        raise TicketError(
            f"--variant {config.variant}: is a search of a finished run; name that run by --run"
        )
    if not names:
        raise TicketError(
            f"--variant {config.variant}: {source.path} holds a single search; leave it out"
        )
    if config.variant not in names:
        raise unknown("variant", config.variant, names)


def one_of(result: Result, config: Any, source: Source | None) -> Result:
    """Gives of a run that is read the one search that is measured, if only one is.

    Args:
      result: all that was read.
      config: any configuration.
      source: the run, if any.

    Returns:
      The result, of one search where the configuration chooses among them.
    """
    if source is None or not isinstance(config, ReadingOne):
        return result
    return result.only(config.variant or result.variants[0])
