"""Opening a run directory, with nothing but the directory."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxticket.errors import TicketError
from jaxticket.records import Coordinate, Dropped, Record
from jaxticket.result import Network
from jaxticket.runs.directory import CONFIG_FORM, ENVIRONMENT_FORM, check_run
from jaxticket.runs.json_files import read_json
from jaxticket.runs.reader import CheckpointReader
from jaxticket.runs.results_file import read_results

if TYPE_CHECKING:
    import xarray


class Run:
    """A run that was made earlier.

    Attributes:
      path: its directory.
      experiment: the name of what made it.
      config: its configuration, as a dict.
      environment: where it ran, one entry a start.
      name: of experiment and configuration, as its checkpoints carry it.
    """

    def __init__(self, path: Path) -> None:
        """Opens the directory; networks are read when they are asked for.

        Args:
          path: the run directory.

        Raises:
          TicketError: if it is none, or one of its files is damaged, naming it.
        """
        self.path = path
        if path.is_file():
            raise TicketError(f"{path}: is a file, expected the run directory; try {path.parent}")
        check_run(path)
        content = read_json(path / "config.json", CONFIG_FORM)
        self.experiment: str = content["experiment"]
        self.config: dict[str, Any] = content["config"]
        self.name: str = f"{self.experiment} {content['hash']}"
        self.environment: dict[str, Any] = read_json(
            path / "environment.json", ENVIRONMENT_FORM, self.name
        )
        self._store = CheckpointReader(path / "checkpoints", {"run": self.name})
        self._places = self._store.coordinates()
        self._cache: tuple[int, Record] | None = None
        self._leaves: tuple[str, ...] | None = None

    @property
    def results(self) -> "xarray.Dataset":
        """All curves, as `jaxticket.runs.to_dataset` describes them."""
        return read_results(self.path / "results.nc", self.name)

    @property
    def summary(self) -> dict[str, Any]:
        """The verdicts on the claims."""
        return read_json(self.path / "summary.json", {"claims": list}, self.name)

    def network(self, arm: str, level: int, replicate: int, variant: str = "") -> Network:
        """Reads one finished network.

        Args:
          arm: its arm; at level 0 all arms share the dense network.
          level: its level.
          replicate: its replicate.
          variant: of a sweep.

        Returns:
          Mask, trained params (`Dropped` where `--keep` dropped them) and model state as nested
          dicts of NumPy arrays, curves, and their steps.

        Raises:
          TicketError: if the run has no such network (yet), saying what it has.
        """
        wanted = Coordinate("ticket" if level == 0 else arm, level, replicate, variant)
        step, place = self._place(wanted)
        record = self._read(step)
        return Network(
            _nested({path: leaf[place] for path, leaf in record.masks.items()}, self._paths()),
            self._params(record, place),
            _nested({path: leaf[place] for path, leaf in record.model_state.items()}),
            {name: curve[place] for name, curve in record.curves.items()},
            record.steps,
        )

    def mask(self, arm: str, level: int, replicate: int, variant: str = "") -> Any:
        """Reads the mask of one network; see `network`."""
        return self.network(arm, level, replicate, variant).mask

    def params(self, arm: str, level: int, replicate: int, variant: str = "") -> Any:
        """Reads the trained params of one network; see `network`.

        Raises:
          TicketError: also if the run dropped them (`--keep`).
        """
        params = self.network(arm, level, replicate, variant).params
        if isinstance(params, Dropped):
            raise params.error()
        return params

    def initial_params(self, replicate: int, variant: str = "") -> Any:
        """Reads the params at initialisation, θ_0.

        Args:
          replicate: the replicate.
          variant: of a sweep.

        Returns:
          Nested dicts of NumPy arrays.
        """
        step, place = self._place(Coordinate("ticket", 0, replicate, variant))
        initial = self._store.initial_params(step)
        return _nested({path: leaf[place] for path, leaf in initial.items()})

    def records(self, names: Collection[Coordinate] | None = None) -> Iterator[Record]:
        """Reads all finished networks, as many at a time as were saved together.

        Args:
          names: reads only what holds some of these; `None` for all.

        Yields:
          Records whose trees are flat dicts by leaf path.

        Raises:
          TicketError: naming the first that is damaged.
        """
        wanted = self._places if names is None else names
        steps = {step for name, (step, _) in self._places.items() if name in wanted}
        yield from map(self._read, sorted(steps))

    def _params(self, record: Record, place: int) -> Any:
        if isinstance(record.params, Dropped):
            return record.params
        return _nested({path: leaf[place] for path, leaf in record.params.items()})

    def _paths(self) -> Any:
        """Lists the paths of the params, those that are not pruned too; level 0 always has them."""
        if self._leaves is None:
            self._leaves = tuple(self._store.initial_params())
        return self._leaves

    def _place(self, wanted: Coordinate) -> tuple[int, int]:
        if wanted not in self._places:
            raise TicketError(
                f"{self.path}: no network {tuple(wanted)}; there are {len(self._places)}, of the "
                f"arms {sorted({name.arm for name in self._places})}, the variants "
                f"{sorted({name.variant for name in self._places})} and levels 0 to "
                f"{max((name.level for name in self._places), default=-1)}"
            )
        return self._places[wanted]

    def _read(self, step: int) -> Record:
        if self._cache is None or self._cache[0] != step:
            self._cache = (step, self._store.read(step))
        return self._cache[1]


def load(path: str | Path) -> Run:
    """Opens a run directory.

    Args:
      path: e.g. `runs/lenet/0123456789ab`.

    Returns:
      The run: its results, and masks and params of any arm, level and replicate.

    Raises:
      TicketError: if there is no run.

    Example:
      >>> load("/nonexistent")
      Traceback (most recent call last):
      ...
      jaxticket.errors.TicketError: /nonexistent/config.json: not there; is /nonexistent a run \
directory?
    """
    return Run(Path(path))


def _nested(flat: dict[str, np.ndarray], all_paths: Any = ()) -> dict[str, Any]:
    """Makes nested dicts of names joined by `/`; `None` at paths without a leaf."""
    tree: dict[str, Any] = {}
    for path in {**dict.fromkeys(all_paths), **flat}:
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = flat.get(path)
    return tree
