"""The run directory: one configuration, one folder, found again by its hash."""

import shutil
import time
from pathlib import Path
from typing import Any

import jax

from jaxticket.errors import TicketError
from jaxticket.population import hosts
from jaxticket.population.pieces import print_note
from jaxticket.runs.environment import describe_environment
from jaxticket.runs.files import SET_ASIDE, DamagedError, check_plain, set_aside
from jaxticket.runs.json_files import as_json, read_json, write_json
from jaxticket.runs.locking import Lock
from jaxticket.runs.naming import run_hash, run_path, science_fields
from jaxticket.runs.steps import Steps

_PATIENCE = 60.0
"""Seconds that a network file system may take to show a file to another host."""

_LOCK = ".lock"

_OURS = (
    "config.json",
    "environment.json",
    "checkpoints",
    "checkpoints-partway.npz",
    "measures-partway.npz",
    "results.nc",
    "summary.json",
    "figures",
    SET_ASIDE,
)

CONFIG_FORM: dict[str, Any] = {"experiment": str, "hash": str, "config": dict}
ENVIRONMENT_FORM: dict[str, Any] = {"starts": [{"data": {"sha256": str}}]}


def check_run(path: Path) -> None:
    """Refuses a run directory that holds links, pipes or devices in the place of its files.

    Args:
      path: the run directory.

    Raises:
      TicketError: naming the first of them.

    Example:
      >>> check_run(Path("/nonexistent"))
    """
    check_plain(path, *_OURS, _LOCK)


class RunDirectory:
    """A folder that belongs to one experiment and one configuration.

    Attributes:
      path: the folder.
      experiment: its name.
    """

    def __init__(
        self, experiment: str, config: Any, out: Path | None = None, *, fresh: bool = False
    ) -> None:
        """Opens or makes the folder, without writing into a folder that is not ours.

        No other process can open it before `close`. Of several processes of one run all call
        this, and the first one writes.

        Args:
          experiment: its name.
          config: a frozen dataclass with defaults.
          out: the folder; `runs/<experiment>/<hash>` if `None`.
          fresh: discard what an earlier run left there.

        Raises:
          TicketError: if the folder belongs to something else, is in use or cannot be written.
        """
        self.experiment = experiment
        self.path: Path = run_path(experiment, config, out)
        self._config_file = self.path / "config.json"
        self._content = {
            "experiment": experiment,
            "hash": run_hash(config),
            "config": as_json(config),
        }
        hosts.check_same("configuration", f"{experiment} {run_hash(config)}")
        self._lock: Lock | None = None
        hosts.once(lambda: self._open(config, fresh))
        self._check_shared()

    def close(self) -> None:
        """Lets other processes have the folder; a process that ends does so anyway."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @property
    def name(self) -> str:
        """Names experiment and configuration; its checkpoints carry it."""
        return f"{self.experiment} {self._content['hash']}"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration, as JSON has it."""
        return self._content["config"]

    @property
    def checkpoints(self) -> Path:
        """Where the finished networks are."""
        return self.path / "checkpoints"

    @property
    def measures_partway(self) -> Path:
        """File that keeps what is trained to be measured, until the run has ended."""
        return self.path / "measures-partway.npz"

    @property
    def results(self) -> Path:
        """The labelled results, once the run is complete."""
        return self.path / "results.nc"

    @property
    def summary(self) -> Path:
        """The verdicts, written last: a run that has them is complete."""
        return self.path / "summary.json"

    @property
    def figures(self) -> Path:
        """Where the figures are."""
        return self.path / "figures"

    def record_environment(self, **facts: Any) -> None:
        """Appends where this start of the run runs, and checks that the data are the same.

        Args:
          **facts: what the experiment adds; `data` must hold the data's `sha256`.

        Raises:
          TicketError: if an earlier start of the run read other data.
        """
        hosts.once(lambda: self._record_environment(facts))

    def starts(self) -> list[dict[str, Any]]:
        """Reads where each start of the run ran; none before the first."""
        file = self.path / "environment.json"

        def read() -> list[dict[str, Any]]:
            return read_json(file, ENVIRONMENT_FORM, self.name)["starts"] if file.exists() else []

        return hosts.once(read)

    def check_data(self, data: dict[str, Any], starts: list[dict[str, Any]]) -> None:
        """Checks that data are those that the run began with.

        Args:
          data: their `sha256` and `source`.
          starts: from `starts`.

        Raises:
          TicketError: if an earlier start of the run read other data.
        """
        if starts and starts[0]["data"]["sha256"] != data["sha256"]:
            raise TicketError(
                f"{self.path}: the run began with data of sha256 "
                f"{starts[0]['data']['sha256'][:12]} ({starts[0]['data']['source']}), now "
                f"{data['sha256'][:12]} ({data['source']}); give the same data or "
                "another --out, or start again with --fresh"
            )

    def _record_environment(self, facts: dict[str, Any]) -> None:
        file = self.path / "environment.json"
        starts = self._starts(file)
        now = describe_environment() | facts
        self.check_data(now["data"], starts)
        write_json(file, {"starts": [*starts, now]}, self.name)

    def _starts(self, file: Path) -> list[dict[str, Any]]:
        """Reads where the run ran; the data's sha256 is in its checkpoints as well."""
        if not file.exists():
            if Steps(self.checkpoints).numbers():
                print_note(f"{file}: is missing, so where the run began is not known any more")
            return []
        try:
            return read_json(file, ENVIRONMENT_FORM, self.name)["starts"]
        except DamagedError as error:
            print_note(f"{error.said}: set aside in {set_aside(self.path, file)}")
            return []

    def _open(self, config: Any, fresh: bool) -> None:
        self._check_place()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = Lock(self.path / _LOCK)
            self._begin(config, fresh)
        except TicketError:
            self.close()
            raise
        except OSError as error:
            self.close()
            raise TicketError(
                f"--out {self.path}: cannot be written ({error.strerror}); choose a folder of yours"
            ) from None

    def _begin(self, config: Any, fresh: bool) -> None:
        if fresh:
            self._discard()
        elif self._config_file.exists() or self.checkpoints.exists():
            self._check_same(config)
        if not self._config_file.exists():
            write_json(self._config_file, self._content)

    def _check_shared(self) -> None:
        """Checks that what the first process has made is there for this one too."""
        deadline = time.monotonic() + _PATIENCE
        while not self._config_file.exists():
            if time.monotonic() > deadline:
                raise TicketError(
                    f"--out {self.path}: what process 0 wrote there is not seen by process "
                    f"{jax.process_index()}; choose a folder on a file system that all hosts share"
                )
            time.sleep(0.5)

    def _check_place(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise TicketError(f"--out {self.path}: is a file, expected a folder; choose another")
        check_run(self.path)
        strange = self.path.is_dir() and any(self.path.iterdir()) and not self._is_ours()
        if strange:
            raise TicketError(
                f"--out {self.path}: holds other files and no config.json of a run; choose an "
                "empty or new folder"
            )

    def _is_ours(self) -> bool:
        """Says whether a run made the folder; one that it is not sure of is not written to."""
        names = {path.name for path in self.path.iterdir()}
        # A run that was killed while config.json was being written left only these.
        if names <= {_LOCK, ".config.json.partial"}:
            return True
        try:
            read_json(self._config_file, CONFIG_FORM)
        except DamagedError:
            partial = {f".{name}.partial" for name in _OURS}
            return names <= {*_OURS, _LOCK} | partial or self._said() is not None
        except TicketError:
            return self._said() is not None
        return True

    def _said(self) -> str | None:
        """Finds in the first checkpoint whose run this is; `None` if it does not say."""
        try:
            return Steps(self.checkpoints).metadata(0)["identity"]["run"]
        except (TicketError, KeyError):
            return None

    def _check_same(self, config: Any) -> None:
        try:
            there = read_json(self._config_file, CONFIG_FORM)
        except TicketError as error:
            self._identify(error)
            return
        mine = self._content
        names = [field.name for field in science_fields(config)]
        faults = [
            f"{name} {there['config'].get(name)!r} there, {mine['config'][name]!r} now"
            for name in names
            if there["config"].get(name, mine["config"][name]) != mine["config"][name]
        ]
        if there["experiment"] != mine["experiment"]:
            faults = [f"experiment {there['experiment']!r} there"]
        if faults:
            raise TicketError(
                f"--out {self.path}: belongs to another configuration ({'; '.join(faults)}); "
                "choose another folder, or --fresh to discard what is there"
            )

    def _identify(self, error: TicketError) -> None:
        """Makes sure by its checkpoints whose run this is, where its own word is not to be had."""
        said = self._said()
        if said != self.name:
            whose = "do not say whose they are" if said is None else f"are of {said!r}"
            raise TicketError(f"{error}; its checkpoints {whose}, expected {self.name!r}") from None
        folder = set_aside(self.path, self._config_file)
        print_note(
            f"{getattr(error, 'said', error)}: written again, as its checkpoints are of this run "
            f"({said}); set aside in {folder}"
        )

    def _discard(self) -> None:
        for name in _OURS:
            path = self.path / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
